// Who this end is: a certificate chain with its private key, loaded and checked together, so that
// everything wrong with the pair is said at once, before any peer sees it.

/// What a credential is going to be used for.
public struct CredentialRoles: OptionSet, Sendable {
    /// The bits.
    public let rawValue: UInt8
    /// Makes a set from its bits.
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    /// Shown by a server, to its clients.
    public static let server = CredentialRoles(rawValue: 1)
    /// Shown by a client, to its servers.
    public static let client = CredentialRoles(rawValue: 2)
}

/// A certificate chain and the private key of its first certificate.
public struct Credential: Sendable {
    /// The node's own certificate.
    public let certificate: Certificate
    /// The certificates between it and a root, in the file's order; often none.
    public let intermediates: [Certificate]
    /// The private key of `certificate`.
    public let privateKey: PrivateKey

    /// Puts together what belongs together; the caller has checked that it does.
    public init(certificate: Certificate, intermediates: [Certificate] = [], privateKey: PrivateKey) {
        self.certificate = certificate
        self.intermediates = intermediates
        self.privateKey = privateKey
    }

    /// Reads both files and finds everything that is wrong with them and with the pair.
    ///
    /// - Parameters:
    ///   - certificate: The path of the chain, PEM, the node's own certificate first.
    ///   - privateKey: The path of the key, PEM, without a passphrase.
    ///   - roles: What it is for; the certificate's purposes are checked against it.
    ///   - now: Seconds since 1970.
    public static func load(
        certificate certificatePath: String, privateKey keyPath: String, roles: CredentialRoles = [], now: Int64
    ) -> Loaded<Credential> {
        let chain = loadChain(certificatePath, now: now)
        let key = PrivateKey.load(keyPath)
        var problems = chain.problems + key.problems
        guard let certificates = chain.value, let leaf = certificates.first else { return Loaded(nil, problems) }
        problems += roleProblems(leaf, roles, path: certificatePath)
        guard let privateKey = key.value else { return Loaded(nil, problems) }
        guard privateKey.matches(leaf) else {
            let elsewhere = certificates.contains { privateKey.matches($0) }
            problems.append(
                .init(
                    .mismatched, path: keyPath, "is not the key of the first certificate in \(certificatePath)",
                    advice: elsewhere
                        ? "put the node's own certificate (\(privateKey.pin)) first in that file"
                        : "compare the two with: culvert keys fingerprint"))
            return Loaded(nil, problems)
        }
        let credential = Credential(
            certificate: leaf, intermediates: Array(certificates.dropFirst()), privateKey: privateKey)
        return Loaded(credential, problems)
    }

    /// Reads a chain, the node's own certificate first.
    static func loadChain(_ path: String, now: Int64) -> Loaded<[Certificate]> {
        let file = CredentialFiles.read(path, as: .published)
        guard let contents = file.value else { return Loaded(nil, file.problems) }
        var problems = file.problems
        // Some keep the key in the same file; then the file is as secret as the key.
        if PEM.hasBlock("PRIVATE KEY", in: contents) {
            problems += CredentialFiles.read(path, as: .secret).problems
        }
        do throws(CredentialProblem) {
            let certificates = try Certificate.readAll(pem: contents, path: path)
            for certificate in certificates {
                problems += certificate.timeProblems(now: now, path: path)
                guard certificate.isWeak else { continue }
                problems.append(
                    .init(
                        .weak, path: path,
                        "the certificate of \(certificate.subject) has a key or a signature hash that is too weak",
                        advice: "make a new one, for example with: culvert keys issue"))
            }
            return Loaded(certificates, problems)
        } catch {
            return Loaded(nil, problems + [error])
        }
    }

    private static func roleProblems(_ leaf: Certificate, _ roles: CredentialRoles, path: String) -> [CredentialProblem]
    {
        var uses: [String] = []
        if roles.contains(.server), !leaf.isForServer { uses.append("serverAuth") }
        if roles.contains(.client), !leaf.isForClient { uses.append("clientAuth") }
        return uses.map {
            .init(
                .unsuitable, path: path,
                "the certificate of \(leaf.subject) does not allow the use \($0), which it has here",
                advice: "issue one that does; those of culvert keys allow both serverAuth and clientAuth")
        }
    }
}
