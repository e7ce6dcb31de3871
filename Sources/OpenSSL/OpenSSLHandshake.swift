// One DTLS 1.2 handshake run by OpenSSL, and its end: keys for culvert's own record layer.
//
// OpenSSL is never asked to send or read data, to shut down or to renegotiate. Once it is done, the SSL is freed, so
// that nothing can write in epoch 1 beside the record layer that goes on from the numbers reported here. Records of
// epoch 1 that come early are kept here rather than in OpenSSL, which would spend 18 KiB on each.

internal import COpenSSL
public import DTLS
internal import Wire

/// The handshake engine of libssl. Not to be shared between threads.
@safe
public final class OpenSSLHandshake: HandshakeEngine {
    /// What protects the records afterwards.
    public typealias Protection = OpenSSLRecordProtection

    /// The sizes of datagram that ``datagramSize`` is kept within: below, OpenSSL sends nothing; above, it would tear
    /// records apart.
    public static let datagramSizes = 208...4000

    /// The session, for the next handshake with the same server; nil unless this is a client's handshake, it is done
    /// and the server has given a ticket.
    public private(set) var session: ClientSession?

    let context: HandshakeContext
    /// What a callback found wrong: the reason behind the error that OpenSSL then reports.
    var fault: HandshakeFailure?
    /// The pre-shared key identity that the client has claimed, and whether it is known here.
    var claimedIdentity: (name: String, isKnown: Bool)?

    /// What the peer's hello said about heartbeats.
    var peerHeartbeatMode: HeartbeatMode?

    /// The name that a client asks for by SNI.
    private var requestedName: String?

    private let transport: DatagramBIO
    private var messages: HandshakeMessageFilter
    private var ssl: OpaquePointer?
    private var awaitsVerifiedHello: Bool
    /// Records of epoch 1 that OpenSSL cannot read yet.
    private var early: [[UInt8]] = []
    /// Records of epoch 1 that OpenSSL has been given; it does not say which of them were authentic.
    private var given: [[UInt8]] = []

    /// Makes a client's handshake with the server that `name` names.
    public convenience init(
        client context: HandshakeContext, verifying name: PeerName, resuming session: ClientSession? = nil,
        datagramSize: Int
    ) throws(OpenSSLError) {
        try self.init(context, cookieVerified: false, datagramSize: datagramSize)
        try setPeerName(name)
        guard let session else { return }
        try OpenSSLError.check("offering a session") { unsafe SSL_set_session(ssl, session.pointer) }
    }

    /// Makes a server's handshake. With `cookieVerified`, the first record is one that answers a HelloVerifyRequest
    /// (message number 1) with a cookie that has been checked; without, it is a first ClientHello, which is answered
    /// at once.
    public convenience init(
        server context: HandshakeContext, cookieVerified: Bool, datagramSize: Int
    ) throws(OpenSSLError) {
        try self.init(context, cookieVerified: cookieVerified, datagramSize: datagramSize)
    }

    private init(_ context: HandshakeContext, cookieVerified: Bool, datagramSize: Int) throws(OpenSSLError) {
        self.context = context
        awaitsVerifiedHello = cookieVerified
        transport = DatagramBIO(datagramSize: 0)
        messages = HandshakeMessageFilter(role: context.role)
        let ssl = try unsafe OpenSSLError.wrap("making a handshake") { unsafe SSL_new(context.pointer) }
        do throws(OpenSSLError) {
            let bio = try unsafe transport.makeBIO()
            // One reference serves both directions.
            unsafe SSL_set_bio(ssl, bio, bio)
        } catch {
            unsafe SSL_free(ssl)
            throw error
        }
        unsafe self.ssl = unsafe ssl
        unsafe culvert_set_owner(ssl, Unmanaged.passUnretained(self).toOpaque())
        switch context.role {
        case .client: unsafe SSL_set_connect_state(ssl)
        case .server: unsafe SSL_set_accept_state(ssl)
        }
        self.datagramSize = datagramSize
    }

    deinit {
        free()
    }

    /// The most bytes a datagram of a flight may have, kept within ``datagramSizes``.
    public var datagramSize: Int {
        get { transport.datagramSize }
        set {
            transport.datagramSize = min(max(newValue, Self.datagramSizes.lowerBound), Self.datagramSizes.upperBound)
            guard let ssl = unsafe ssl else { return }
            unsafe culvert_set_mtu(ssl, transport.datagramSize)
        }
    }

    /// When the last flight is to be sent again. OpenSSL keeps the moment as a time of the wall clock's, so one that is set
    /// back makes the wait longer; by more than a second beyond the longest it cannot be a rounding of it.
    public var flightTimer: FlightTimer {
        guard let ssl = unsafe ssl else { return .stopped }
        let microseconds = unsafe culvert_timer(ssl)
        guard microseconds >= 0 else { return .stopped }
        let wait = Duration.microseconds(microseconds)
        return wait > Self.longestWait + .seconds(1) ? .unreliable : .due(in: wait)
    }

    /// OpenSSL takes a timer with less than 15 ms left for one that has run out, and looks at it whenever it reads.
    public static var earliness: Duration { .milliseconds(15) }

    /// The next datagram to send.
    public func pollTransmit() -> [UInt8]? {
        guard let datagram = transport.pollTransmit() else { return nil }
        messages.noteSent(datagram)
        return datagram
    }

    /// Sends the ClientHello.
    public func start() -> HandshakeProgress<OpenSSLRecordProtection> { advance() }

    /// Why a handshake record in the clear is not given to OpenSSL.
    public func objection(to record: borrowing RawSpan) -> DropReason? {
        guard let header = RecordHeader(record, at: 0), header.type == .handshake, header.number.epoch == 0 else {
            return nil
        }
        return messages.objection(to: record)
    }

    /// Takes one record of the peer's and answers what can be answered.
    public func receive(_ record: borrowing RawSpan) -> HandshakeProgress<OpenSSLRecordProtection> {
        guard let header = RecordHeader(record, at: 0), header.length == record.byteCount - RecordHeader.size,
            header.version.isDTLS, [.handshake, .changeCipherSpec, .alert].contains(header.type)
        else { return .waiting }
        switch header.number.epoch {
        case 0:
            transport.feed(record.copied())
            let progress = awaitsVerifiedHello ? acceptVerifiedHello() : advance()
            guard case .waiting = progress else { return progress }
            return readProtectedRecords()
        case 1:
            if early.count == Self.maximumEarlyRecords { early.removeFirst() }
            early.append(record.copied())
            let progress = readProtectedRecords()
            // Not already when a ChangeCipherSpec lets strangers' records be read: the Finished comes right behind it.
            guard case .waiting = progress, let failure = judgeUnreadable() else { return progress }
            free()
            return .failed(failure)
        default:
            return .waiting
        }
    }

    /// Sends the last flight again if that is due by the wall clock.
    public func handleTimeout() -> HandshakeProgress<OpenSSLRecordProtection> {
        guard let ssl = unsafe ssl else { return .waiting }
        ERR_clear_error()
        let result = unsafe culvert_handle_timer(ssl)
        let error = OpenSSLError(takenDuring: "repeating a flight")
        transport.flush()
        return result < 0 ? fail(error) : .waiting
    }

    // MARK: The handshake

    /// The longest that OpenSSL ever waits for an answer (RFC 6347 §4.2.4.1).
    private static var longestWait: Duration { .seconds(60) }

    /// More than a peer sends in a flight; a stranger's records push each other out.
    private static let maximumEarlyRecords = 16

    /// Has OpenSSL go on as far as it can.
    private func advance() -> HandshakeProgress<OpenSSLRecordProtection> {
        guard let ssl = unsafe ssl else { return .waiting }
        ERR_clear_error()
        let result = unsafe SSL_do_handshake(ssl)
        let meaning = unsafe SSL_get_error(ssl, result)
        let error = OpenSSLError(takenDuring: "the handshake")
        transport.flush()
        if result == 1 { return unsafe establish(ssl) }
        return fault == nil && meaning == SSL_ERROR_WANT_READ ? .waiting : fail(error)
    }

    /// Begins in the middle: OpenSSL takes the cookie exchange as done and goes on from the numbers of the record that
    /// it is given. A plain SSL_do_handshake would wait for ever for message 0.
    private func acceptVerifiedHello() -> HandshakeProgress<OpenSSLRecordProtection> {
        guard let ssl = unsafe ssl else { return .waiting }
        ERR_clear_error()
        let address = unsafe BIO_ADDR_new()
        defer { unsafe BIO_ADDR_free(address) }
        guard unsafe address != nil, unsafe DTLSv1_listen(ssl, address) == 1 else {
            return fail(OpenSSLError(takenDuring: "accepting a ClientHello"))
        }
        awaitsVerifiedHello = false
        return advance()
    }

    /// Gives OpenSSL the records of epoch 1 as soon as it can read them, that is after the peer's ChangeCipherSpec.
    private func readProtectedRecords() -> HandshakeProgress<OpenSSLRecordProtection> {
        while let ssl = unsafe ssl, !early.isEmpty,
            [TLS_ST_SR_CHANGE, TLS_ST_CR_CHANGE].contains(unsafe SSL_get_state(ssl))
        {
            let record = early.removeFirst()
            guard unsafe isLongEnough(record, ssl) else { continue }
            given.append(record)
            transport.feed(record)
            let progress = advance()
            guard case .waiting = progress else { return progress }
            if given.count == Self.maximumEarlyRecords { given.removeFirst() }
        }
        return .waiting
    }

    /// A record without room for nonce and tag, which anybody can send, would not be dropped by OpenSSL but end the
    /// handshake with an internal error.
    private func isLongEnough(_ record: [UInt8], _ ssl: OpaquePointer) -> Bool {
        guard let algorithm = unsafe SSL_get_pending_cipher(ssl).flatMap({ unsafe CipherSuite($0)?.algorithm }) else {
            return false
        }
        return record.count > RecordHeader.size + algorithm.explicitNonceLength + algorithm.tagLength
    }

    /// OpenSSL drops a Finished that does not open without a word, and where keys are pre-shared that is all there is
    /// to see of a wrong one. The peer repeats it; from the third on it is not chance any more. An unknown identity
    /// has been given a random key and ends in the same way, at the same time (RFC 4279 §2).
    private func judgeUnreadable() -> HandshakeFailure? {
        guard let claimedIdentity, given.count >= 3 else { return nil }
        sendInTheClear(Alert(.fatal, .decryptError))
        transport.flush()
        let name = claimedIdentity.name.debugDescription
        return claimedIdentity.isKnown
            ? HandshakeFailure(
                .preSharedKey, .otherPreSharedKey,
                detail: "the peer's pre-shared key for the identity \(name) is not the one known here")
            : HandshakeFailure(
                .preSharedKey, .unknownPreSharedKey,
                detail: "the peer's pre-shared key identity \(name) is not known here")
    }

    // MARK: The hand-over

    private func establish(_ ssl: OpaquePointer) -> HandshakeProgress<OpenSSLRecordProtection> {
        // The session stays good for resumption, although nobody shut the connection down.
        defer { free() }
        guard let cipher = unsafe SSL_get_current_cipher(ssl), let suite = unsafe CipherSuite(cipher) else {
            return .failed(HandshakeFailure(.local, detail: "the cipher suite that was chosen is not supported"))
        }
        let isResumed = unsafe SSL_session_reused(ssl) == 1
        let protection: OpenSSLRecordProtection
        do throws(OpenSSLError) {
            protection = try unsafe KeySchedule.protection(of: ssl, suite: suite, isServer: context.role == .server)
        } catch {
            return .failed(HandshakeFailure(.local, detail: error.description))
        }
        let endsHandshake = (context.role == .server) != isResumed
        let finalFlight = unsafe endsHandshake ? finalFlight(ssl) : nil
        if context.options.requiresExtendedMasterSecret, unsafe culvert_has_extended_master_secret(ssl) == 0 {
            return refuseOldMasterSecret(protection, endsHandshake: endsHandshake)
        }
        if context.role == .client, let session = unsafe SSL_get1_session(ssl) {
            let isResumable = unsafe SSL_SESSION_is_resumable(session) == 1 && SSL_SESSION_has_ticket(session) == 1
            let kept = unsafe ClientSession(adopting: session)
            if isResumable { self.session = kept }
        }
        var result = HandshakeResult(
            protection: protection, nextSequence: transport.nextSequence[1],
            receivedSequences: authenticSequences(protection), finalFlight: finalFlight,
            peer: unsafe context.shared(PeerIdentity(of: ssl)), cipherSuite: suite.name, isResumed: isResumed,
            peerHeartbeatMode: peerHeartbeatMode, applicationProtocol: unsafe applicationProtocol(ssl),
            serverName: unsafe context.role == .client ? requestedName : serverName(ssl))
        let asked = unsafe Int(culvert_max_fragment_length(ssl))
        if asked > 0 { result.maximumPlaintext = asked }
        return .established(result)
    }

    /// What both ends agreed on; a server's answer that nobody asked for is none.
    private func applicationProtocol(_ ssl: OpaquePointer) -> String? {
        var start: UnsafePointer<UInt8>?
        var length: UInt32 = 0
        unsafe SSL_get0_alpn_selected(ssl, &start, &length)
        let selected = unsafe UnsafeBufferPointer(start: start, count: Int(length))
        guard let own = context.options.applicationProtocol, unsafe selected.elementsEqual(own.utf8) else { return nil }
        return own
    }

    /// The name that a client asked for, or had asked for when the session began; nil also for what is no host name.
    func serverName(_ ssl: OpaquePointer) -> String? {
        guard let text = unsafe SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) else { return nil }
        let name = unsafe String(cString: text).lowercased()
        let isHostName = name.utf8.allSatisfy {
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                || [UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_")].contains($0)
        }
        return isHostName && !name.isEmpty ? name : nil
    }

    /// The last flight as it has to be sent again if it gets lost.
    private func finalFlight(_ ssl: OpaquePointer) -> FinalFlight {
        var verifyData = [UInt8](repeating: 0, count: 64)
        let length = unsafe min(SSL_get_finished(ssl, &verifyData, 64), 64)
        let header = HandshakeHeader(type: .finished, length: length, sequence: transport.lastMessageSequence &+ 1)
        var finished = [UInt8](repeating: 0, count: HandshakeHeader.size)
        finished.withMutableBytes { _ = header.write(into: &$0, at: 0) }
        return FinalFlight(
            sessionTicket: context.role == .server ? transport.sessionTicket : nil,
            finished: finished + verifyData.prefix(length), nextSequence: transport.nextSequence[0])
    }

    /// Which of the records that OpenSSL was given were the peer's: a forged number must not move the replay window.
    private func authenticSequences(_ protection: OpenSSLRecordProtection) -> [UInt64] {
        given.compactMap { record in
            var record = record
            guard let header = RecordHeader(record.bytes, at: 0) else { return nil }
            let opened = record.withMutableBytes { protection.open(&$0, header: header) }
            return opened == nil ? nil : header.number.sequence
        }
    }

    private func refuseOldMasterSecret(
        _ protection: OpenSSLRecordProtection, endsHandshake: Bool
    ) -> HandshakeProgress<OpenSSLRecordProtection> {
        let alert = Alert(.fatal, .handshakeFailure)
        if endsHandshake {
            // The peer still reads epoch 0, as long as this end's last flight does not leave.
            transport.discardTransmits()
            sendInTheClear(alert)
        } else {
            let number = RecordNumber(epoch: 1, sequence: transport.nextSequence[1])
            var record = [UInt8](repeating: 0, count: RecordHeader.size + Alert.size + protection.expansion)
            let length = record.withMutableBytes {
                protection.seal(.alert, number: number, plaintext: alert.bytes.bytes, into: &$0)
            }
            if length != nil { transport.send(record.bytes) }
        }
        transport.flush()
        return .failed(
            HandshakeFailure(
                .mismatch, .noExtendedMasterSecret,
                detail: "the peer does not support the extended master secret (RFC 7627)"))
    }

    private func sendInTheClear(_ alert: Alert) {
        let number = RecordNumber(epoch: 0, sequence: transport.nextSequence[0])
        var record = [UInt8](repeating: 0, count: RecordHeader.size)
        let header = RecordHeader(type: .alert, number: number, length: Alert.size)
        record.withMutableBytes { _ = header.write(into: &$0) }
        transport.send((record + alert.bytes).bytes)
    }

    private func fail(_ error: OpenSSLError) -> HandshakeProgress<OpenSSLRecordProtection> {
        free()
        return .failed(fault ?? HandshakeFailure(error))
    }

    // MARK: Set-up and end

    private func setPeerName(_ name: PeerName) throws(OpenSSLError) {
        let parameters = unsafe SSL_get0_param(ssl)
        switch name {
        case .host(let host):
            requestedName = host
            try OpenSSLError.check("asking for the server name '\(host)'") { unsafe culvert_set_server_name(ssl, host) }
            unsafe X509_VERIFY_PARAM_set_hostflags(parameters, UInt32(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS))
            try OpenSSLError.check("expecting the server name '\(host)'") {
                unsafe X509_VERIFY_PARAM_set1_host(parameters, host, host.utf8.count)
            }
        case .address(let address):
            let bytes = address.networkBytes
            try OpenSSLError.check("expecting the server address \(address)") {
                unsafe X509_VERIFY_PARAM_set1_ip(parameters, bytes, bytes.count)
            }
        }
    }

    private func free() {
        guard let ssl = unsafe ssl else { return }
        unsafe self.ssl = nil
        early = []
        // Without this, OpenSSL takes a session that was never shut down for a broken one.
        unsafe SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN)
        unsafe SSL_free(ssl)
    }
}

extension Alert.Description {
    /// No acceptable set of parameters.
    static let handshakeFailure = Alert.Description(rawValue: 40)
    /// A Finished or a signature did not verify; also what hides an unknown pre-shared key identity.
    static let decryptError = Alert.Description(rawValue: 51)
}
