// An `[identity.NAME]` section: who this end is.

/// What this end shows to its peers.
public struct IdentitySettings: Equatable, Sendable {
    /// How this end proves who it is.
    public enum Credential: Equatable, Sendable {
        /// Files in PEM: the certificate with its chain, and its private key.
        case certificate(Located<String>, privateKey: Located<String>)
        /// The identity sent to a server, and the file that holds the key.
        case preSharedKey(identity: Located<String>, file: Located<String>)
    }

    /// The longest identity of a pre-shared key in bytes; RFC 4279 §5.3 makes every implementation take that much.
    public static let maximumPSKIdentityLength = 128

    /// The NAME.
    public var name: String
    /// How this end proves who it is.
    public var credential: Credential

    /// Makes an identity.
    public init(name: String, credential: Credential) {
        self.name = name
        self.credential = credential
    }
}

extension IdentitySettings {
    /// The files of a certificate; nil for an identity of another kind.
    var certificate: (chain: Located<String>, privateKey: Located<String>)? {
        if case .certificate(let chain, let privateKey) = credential { (chain, privateKey) } else { nil }
    }

    /// The parts of a pre-shared key; nil for an identity of another kind.
    var preSharedKey: (identity: Located<String>, file: Located<String>)? {
        if case .preSharedKey(let identity, let file) = credential { (identity, file) } else { nil }
    }

    /// Reads the section; nil if it is not a complete identity, which is reported.
    init?(name: String, _ table: TableReader) {
        let certificate = table.path("certificate")
        let privateKey = table.path("private_key")
        let pskIdentity = table.string("psk_identity")
        let pskFile = table.path("psk_file")
        let log = table.log
        if let pskIdentity, pskIdentity.value.utf8.count > Self.maximumPSKIdentityLength {
            let message = "'psk_identity' is longer than \(Self.maximumPSKIdentityLength) bytes"
            log.error(message, at: pskIdentity.location)
        }
        let hasCertificate = table.has("certificate") || table.has("private_key")
        let hasKey = table.has("psk_identity") || table.has("psk_file")
        guard hasCertificate || hasKey else {
            let help = "give 'certificate' and 'private_key', or 'psk_identity' and 'psk_file'"
            log.missing("\(table.title) is empty; \(help)", at: table.location)
            return nil
        }
        for (one, other) in [("certificate", "private_key"), ("psk_identity", "psk_file")] {
            for (given, missing) in [(one, other), (other, one)] where table.has(given) && !table.has(missing) {
                let message = "\(table.title) has '\(given)' but no '\(missing)'; the two go together"
                log.missing(message, at: table.location(of: given))
            }
        }
        guard !(hasCertificate && hasKey) else {
            let help = "make two identities and name one in each tunnel"
            let message = "\(table.title) has both a certificate and a pre-shared key; \(help)"
            log.error(message, at: table.location(of: table.has("psk_identity") ? "psk_identity" : "psk_file"))
            return nil
        }
        if let certificate, let privateKey {
            self.init(name: name, credential: .certificate(certificate, privateKey: privateKey))
        } else if let pskIdentity, let pskFile {
            self.init(name: name, credential: .preSharedKey(identity: pskIdentity, file: pskFile))
        } else {
            return nil
        }
    }
}
