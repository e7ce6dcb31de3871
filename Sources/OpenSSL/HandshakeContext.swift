// What all handshakes of one kind share: who this end is, whom it believes and what it offers; an SSL_CTX. It is
// made once per tunnel and never changed, so any number of threads may start handshakes from it.
//
// Fixed for every tunnel: DTLS 1.2 alone (RFC 9325; a newer OpenSSL would choose 1.3, whose keys differ), no
// renegotiation, no compression, AEAD suites only, no session cache.

internal import COpenSSL
internal import DTLS
internal import Synchronization
public import Wire

/// The shared half of handshakes.
@safe
public final class HandshakeContext: @unchecked Sendable {
    /// Which end of the handshake this is.
    public enum Role: Sendable {
        /// Sends the ClientHello.
        case client
        /// Answers it.
        case server
    }

    /// What can be chosen.
    public struct Options: Sendable {
        /// The certificate that this end shows.
        public var credential: Credential?
        /// Whose certificates are believed; with nil, ``pins`` stand alone.
        public var trust: TrustAnchors?
        /// Keys of which the peer's certificate must hold one; with none, any will do that ``trust`` believes.
        public var pins: Set<PublicKeyPin> = []
        /// The identity and key that a client shows. It then offers no suite with certificates.
        public var preSharedKey: PreSharedKey?
        /// The identities and keys that a server knows.
        public var preSharedKeys: PreSharedKeys?
        /// Whether a server insists on a certificate, unless there is a pre-shared key. If not, one that is shown is
        /// checked all the same.
        public var requiresPeerCertificate = true
        /// The cipher suites in OpenSSL's notation; nil for the default, AEADs with forward secrecy. Suites without
        /// an AEAD are left out whatever it says.
        public var ciphers: String?
        /// Whether a peer without the extended master secret (RFC 7627) is refused.
        public var requiresExtendedMasterSecret = true
        /// What this end says about heartbeats (RFC 6520); nil to say nothing.
        public var heartbeatMode: HeartbeatMode?
        /// The application protocol that a client offers and a server selects where it is offered (RFC 7301), 1 to 255
        /// bytes; nil for none. Without agreement the handshake goes on all the same.
        public var applicationProtocol: String?
        /// Whether a server ends handshakes in which ``applicationProtocol`` is not offered. A client finds out what
        /// was agreed on from the result.
        public var requiresApplicationProtocol = false
        /// The host names by which a server's clients tell its tunnels apart, in lower case. A client is told that its name
        /// was understood (RFC 6066 §3) only if it is one of them.
        public var serverNames: Set<String> = []
        /// Whether sessions may be resumed by tickets (RFC 5077) under a key that is made with the context.
        public var usesSessionTickets = false
        /// Takes the lines of a key log (`SSLKEYLOGFILE`), from any thread. Whoever reads them can read everything.
        public var keyLog: (@Sendable (String) -> Void)?

        /// The defaults, which believe nobody.
        public init() {}
    }

    /// Which end of a handshake this is for.
    public let role: Role
    let options: Options
    let pointer: OpaquePointer
    /// The application protocol as ALPN's list of one, its length in front; empty for none.
    let protocolList: [UInt8]
    /// The heartbeat extension's one byte, where libssl reads it for each hello.
    private let heartbeatByte = UnsafeMutablePointer<UInt8>.allocate(capacity: 1)
    /// Who the peer of the last handshake was. See ``shared(_:)``.
    private let lastPeer = Mutex(PeerIdentity())

    /// Makes a context; throws where OpenSSL does not accept a key, a certificate or the cipher list.
    public init(_ role: Role, _ options: Options) throws(OpenSSLError) {
        self.role = role
        self.options = options
        protocolList = options.applicationProtocol.map { [UInt8(truncatingIfNeeded: $0.utf8.count)] + $0.utf8 } ?? []
        unsafe pointer = try unsafe OpenSSLError.wrap("making a DTLS context") {
            unsafe SSL_CTX_new(role == .client ? DTLS_client_method() : DTLS_server_method())
        }
        try setProtocol()
        try setCiphers()
        try setCredential()
        try setTrust()
        setCallbacks()
        try setHeartbeat()
        try setApplicationProtocol()
    }

    deinit {
        unsafe SSL_CTX_free(pointer)
        unsafe heartbeatByte.deallocate()
    }

    /// The certificate that this end shows, with its key.
    public var credential: Credential? { options.credential }

    /// The cipher suites on offer by OpenSSL's names, the most wanted first.
    public var cipherSuites: [String] { unsafe Self.suites(pointer).map(\.name) }

    /// The same identity, in the memory of the last peer's where they are equal: thousands of associations of a tunnel may
    /// be one peer's.
    func shared(_ peer: PeerIdentity) -> PeerIdentity {
        lastPeer.withLock { last in
            if last != peer { last = peer }
            return last
        }
    }

    /// Bytes of the longest handshake message that is taken: enough for chains of large RSA keys. OpenSSL keeps that much
    /// for each stranger who begins a handshake.
    static let maximumMessageLength = 32 * 1024

    /// AES-GCM in front, for it is three times as quick where the processor helps; a client that cannot hope for that
    /// help puts ChaCha20 first, and is then followed.
    public static let defaultCiphers = [
        "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305",
        "ECDHE-PSK-CHACHA20-POLY1305",
    ].joined(separator: ":")

    private func setProtocol() throws(OpenSSLError) {
        try OpenSSLError.check("choosing DTLS 1.2") { unsafe culvert_pin_dtls12(pointer) }
        var flags =
            culvert_op_no_query_mtu | culvert_op_no_compression | culvert_op_no_renegotiation
            | culvert_op_server_preference | culvert_op_prioritize_chacha
        if !options.usesSessionTickets { flags |= culvert_op_no_ticket }
        unsafe SSL_CTX_set_options(pointer, flags)
        unsafe culvert_disable_session_cache(pointer)
        unsafe culvert_set_max_cert_list(pointer, Self.maximumMessageLength)
        unsafe SSL_CTX_set_verify_depth(pointer, 6)
        try OpenSSLError.check("choosing groups") { unsafe culvert_set_groups(pointer, "X25519:P-256:P-384") }
        // A server that asks for certificates takes no sessions without it. Tickets of other contexts are foreign by
        // their key.
        try OpenSSLError.check("naming sessions") {
            unsafe SSL_CTX_set_session_id_context(pointer, Array("culvert".utf8), 7)
        }
    }

    private func setCiphers() throws(OpenSSLError) {
        let list = options.ciphers ?? Self.defaultCiphers
        try OpenSSLError.check("setting the cipher suites '\(list)'") { unsafe SSL_CTX_set_cipher_list(pointer, list) }
        let usesKeyOnly = role == .client && options.preSharedKey != nil
        let usable = unsafe Self.suites(pointer).filter { $0.isPreShared || !usesKeyOnly }
        try OpenSSLError.check("setting the cipher suites '\(list)', of which none is an AEAD suite that can be used") {
            unsafe usable.isEmpty
                ? 0 : SSL_CTX_set_cipher_list(pointer, usable.map(\.name).joined(separator: ":"))
        }
    }

    private func setCredential() throws(OpenSSLError) {
        guard let credential = options.credential else { return }
        // A root in the flight would be bytes for nothing: who does not have it does not believe it.
        unsafe culvert_disable_chain_building(pointer)
        try OpenSSLError.check("using the certificate of \(credential.certificate.subject)") {
            unsafe SSL_CTX_use_certificate(pointer, credential.certificate.pointer)
        }
        try OpenSSLError.check("using the private key for \(credential.certificate.subject)") {
            unsafe SSL_CTX_use_PrivateKey(pointer, credential.privateKey.pointer)
        }
        for certificate in credential.intermediates {
            try OpenSSLError.check("using the certificate of \(certificate.subject)") {
                unsafe culvert_add_chain_certificate(pointer, certificate.pointer)
            }
        }
    }

    private func setTrust() throws(OpenSSLError) {
        if let trust = options.trust {
            guard let store = unsafe SSL_CTX_get_cert_store(pointer) else { return }
            try unsafe trust.add(to: store)
        }
        var mode = SSL_VERIFY_NONE
        if role == .client || options.trust != nil || !options.pins.isEmpty { mode |= SSL_VERIFY_PEER }
        if role == .server, options.requiresPeerCertificate {
            mode |= SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
        }
        unsafe SSL_CTX_set_verify(pointer, mode, nil)
    }

    private func setCallbacks() {
        unsafe SSL_CTX_set_cert_verify_callback(pointer, OpenSSLHandshake.verifyCertificate, nil)
        if role == .client, options.preSharedKey != nil {
            unsafe SSL_CTX_set_psk_client_callback(pointer, OpenSSLHandshake.giveKey)
        }
        if role == .server {
            if options.preSharedKeys != nil {
                unsafe SSL_CTX_set_psk_server_callback(pointer, OpenSSLHandshake.findKey)
            }
            // Cookies have been checked before a handshake is made; one that has none here is an error.
            unsafe SSL_CTX_set_cookie_verify_cb(pointer) { _, _, _ in 1 }
            unsafe SSL_CTX_set_cookie_generate_cb(pointer) { _, _, _ in 0 }
            unsafe culvert_judge_server_names(pointer, OpenSSLHandshake.judgeName)
        }
        if options.keyLog != nil { unsafe SSL_CTX_set_keylog_callback(pointer, OpenSSLHandshake.logKeys) }
    }

    private func setHeartbeat() throws(OpenSSLError) {
        guard let mode = options.heartbeatMode else { return }
        unsafe heartbeatByte.initialize(to: mode.rawValue)
        try OpenSSLError.check("offering heartbeats") {
            unsafe culvert_add_byte_extension(
                pointer, UInt32(HeartbeatMode.extensionType), heartbeatByte, OpenSSLHandshake.readHeartbeatMode)
        }
    }

    private func setApplicationProtocol() throws(OpenSSLError) {
        guard let name = options.applicationProtocol else { return }
        let list = protocolList
        try OpenSSLError.check("using the application protocol '\(name)'") {
            // Unlike all others, this function answers zero where all is well.
            unsafe (2...256).contains(list.count) && SSL_CTX_set_alpn_protos(pointer, list, UInt32(list.count)) == 0
                ? 1 : 0
        }
        guard role == .server else { return }
        unsafe SSL_CTX_set_alpn_select_cb(pointer, OpenSSLHandshake.selectProtocol, nil)
        if options.requiresApplicationProtocol {
            unsafe SSL_CTX_set_client_hello_cb(pointer, OpenSSLHandshake.requireProtocol, nil)
        }
    }

    private static func suites(_ context: OpaquePointer) -> [CipherSuite] {
        guard let list = unsafe SSL_CTX_get_ciphers(context) else { return [] }
        return unsafe (0..<culvert_cipher_count(list)).compactMap { index in
            unsafe culvert_cipher_at(list, index).flatMap { unsafe CipherSuite($0) }
        }
    }
}

/// Whom a client means to reach: what a server's certificate has to name.
public enum PeerName: Hashable, Sendable {
    /// A DNS name; it is asked for by SNI (RFC 6066 §3).
    case host(String)
    /// An IP address, which SNI cannot carry.
    case address(IPAddress)

    /// An address if `text` is one, a name otherwise; a name's final dot is left out.
    public init(_ text: String) {
        if let address = IPAddress(text) {
            self = .address(address)
        } else {
            self = .host(text.hasSuffix(".") ? String(text.dropLast()) : text)
        }
    }
}

/// A session that a client may resume. It holds secrets.
@safe
public final class ClientSession: @unchecked Sendable {
    /// The SSL_SESSION; shared for reading only.
    let pointer: OpaquePointer

    /// Takes over `pointer`.
    init(adopting pointer: OpaquePointer) { unsafe self.pointer = unsafe pointer }

    deinit { unsafe SSL_SESSION_free(pointer) }
}
