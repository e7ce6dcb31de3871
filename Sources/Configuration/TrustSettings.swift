// A `[trust.NAME]` section: whom this end believes.

/// What a peer must show.
public struct TrustSettings: Equatable, Sendable {
    /// Where the certificates of the authorities are.
    public enum Authorities: Equatable, Sendable {
        /// The system's store.
        case system
        /// A file in PEM, or a directory of such files under their subject hashes.
        case path(Located<String>)
    }

    /// The NAME.
    public var name: String
    /// The authorities, if certificates are verified by a chain.
    public var authorities: Authorities?
    /// A file of revocation lists in PEM.
    public var revocationList: Located<String>?
    /// SHA-256 digests of public keys (SubjectPublicKeyInfo), 32 bytes each. Without authorities they stand alone.
    public var pins: [[UInt8]]
    /// On the server side: a file of lines with identity, colon and key in hexadecimal digits.
    public var preSharedKeys: Located<String>?

    /// Makes a trust section.
    public init(
        name: String, authorities: Authorities? = nil, revocationList: Located<String>? = nil, pins: [[UInt8]] = [],
        preSharedKeys: Located<String>? = nil
    ) {
        self.name = name
        self.authorities = authorities
        self.revocationList = revocationList
        self.pins = pins
        self.preSharedKeys = preSharedKeys
    }

    /// Whether a certificate can be believed at all.
    public var acceptsCertificates: Bool { authorities != nil || !pins.isEmpty }
}

extension TrustSettings {
    /// Reads the section; nil if it trusts nothing, which is reported.
    init?(name: String, _ table: TableReader) {
        self.init(name: name)
        KeyTable.trust.read(from: table, into: &self)
        if table.has("crl"), !table.has("ca") {
            let message = "\(table.title) has 'crl' but no 'ca'; a revocation list is checked against its authority"
            table.log.missing(message, at: table.location(of: "crl"))
        }
        guard table.has("ca") || table.has("pins") || table.has("psk_file") else {
            if !table.has("crl") {
                table.log.missing("\(table.title) is empty; give 'ca', 'pins' or 'psk_file'", at: table.location)
            }
            return nil
        }
    }
    static func authorities(_ table: TableReader, _ key: String) -> Authorities? {
        guard let name = table.string(key) else { return nil }
        if name.value == "system" { return .system }
        return .path(Located(name.location.resolve(path: name.value), at: name.location))
    }
}
