// Who a peer has proven to be. One object serves all associations with the same peer: thousands of copies would be felt.

public import Wire

/// Who a peer has proven to be. A peer that shows neither certificate nor pre-shared key has no identity.
public struct PeerIdentity: Hashable, Sendable {
    private struct Names: Hashable, Sendable {
        var commonName: String?
        var dnsNames: [String]
        var addresses: [IPAddress]
        var publicKeyHash: [UInt8]?
        var pskIdentity: String?
    }

    private final class Storage: Sendable {
        let names: Names

        init(_ names: Names) { self.names = names }
    }

    private var storage: Storage

    /// Puts an identity together.
    public init(
        commonName: String? = nil, dnsNames: [String] = [], addresses: [IPAddress] = [],
        publicKeyHash: [UInt8]? = nil, pskIdentity: String? = nil
    ) {
        storage = Storage(
            Names(
                commonName: commonName, dnsNames: dnsNames, addresses: addresses, publicKeyHash: publicKeyHash,
                pskIdentity: pskIdentity))
    }

    private var names: Names {
        get { storage.names }
        set { storage = Storage(newValue) }
    }

    /// The certificate subject's common name.
    public var commonName: String? {
        get { names.commonName }
        set { names.commonName = newValue }
    }
    /// The certificate's DNS names, in lower case.
    public var dnsNames: [String] {
        get { names.dnsNames }
        set { names.dnsNames = newValue }
    }
    /// The certificate's IP addresses.
    public var addresses: [IPAddress] {
        get { names.addresses }
        set { names.addresses = newValue }
    }
    /// SHA-256 of the certificate's SubjectPublicKeyInfo, 32 bytes.
    public var publicKeyHash: [UInt8]? {
        get { names.publicKeyHash }
        set { names.publicKeyHash = newValue }
    }
    /// The pre-shared key's identity.
    public var pskIdentity: String? {
        get { names.pskIdentity }
        set { names.pskIdentity = newValue }
    }

    /// Whether the peer has proven to be somebody.
    public var isAuthenticated: Bool { names != PeerIdentity().names }

    /// Whether both have the same names.
    public static func == (left: PeerIdentity, right: PeerIdentity) -> Bool {
        left.storage === right.storage || left.names == right.names
    }

    /// By its names.
    public func hash(into hasher: inout Hasher) { hasher.combine(names) }
}

extension PeerIdentity: CustomStringConvertible {
    /// The most telling name there is, in the notation of `allow_peers`; `anonymous` without any.
    public var description: String {
        if let pskIdentity { return "psk:\(pskIdentity)" }
        if let name = dnsNames.first { return "DNS:\(name)" }
        if let commonName { return "CN:\(commonName)" }
        if let address = addresses.first { return "IP:\(address)" }
        if let publicKeyHash {
            return "sha256:\(Self.base64(publicKeyHash))"
        }
        return "anonymous"
    }

    /// RFC 4648 §4, with padding.
    private static func base64(_ bytes: [UInt8]) -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
        var text = ""
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start...].prefix(3)
            let bits = group.reduce(0) { $0 << 8 | Int($1) } << (8 * (3 - group.count))
            for place in 0..<4 { text.append(place <= group.count ? alphabet[bits >> (18 - 6 * place) & 63] : "=") }
        }
        return text
    }
}
