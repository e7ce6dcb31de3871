// Whom this end believes by certificate: authorities from a file, a directory or the system's store, and
// the revocation lists that go with them. Loaded and checked together, because a list that fits none of
// the authorities makes OpenSSL refuse every peer.

internal import COpenSSL

/// Certificate authorities and revocation lists.
public struct TrustAnchors: Sendable {
    /// The authorities; none when the system's store is used.
    public let authorities: [Certificate]
    /// The revocation lists; when there are any, a peer whose issuer has none is refused.
    public let revocationLists: [RevocationList]
    /// Whether the system's own store is believed.
    public let usesSystemStore: Bool

    /// The setting that stands for the system's own store.
    public static let system = "system"

    /// Reads the authorities and revocation lists and finds everything that is wrong with them.
    ///
    /// - Parameters:
    ///   - authorities: A PEM file, a directory whose `.pem`, `.crt`, `.cer` and hashed (`.0`) files are all read, or
    ///     `system`.
    ///   - revocationLists: A PEM file, or nil.
    ///   - now: Seconds since 1970.
    public static func load(
        authorities path: String, revocationLists listPath: String? = nil, now: Int64
    ) -> Loaded<TrustAnchors> {
        let usesSystemStore = path == system
        let found = usesSystemStore ? checkSystemStore() : loadAuthorities(path, now: now)
        let lists = listPath.map { RevocationList.load($0, now: now) } ?? Loaded([])
        var problems = found.problems + lists.problems
        guard let authorities = found.value, let revocationLists = lists.value else { return Loaded(nil, problems) }
        if let listPath, !usesSystemStore {
            problems += coverage(of: authorities, at: path, by: revocationLists, at: listPath)
        }
        let anchors = TrustAnchors(
            authorities: authorities, revocationLists: revocationLists, usesSystemStore: usesSystemStore)
        return Loaded(anchors, problems)
    }

    /// Adds everything to an X509_STORE and has revocation checked when there are lists.
    func add(to store: OpaquePointer) throws(OpenSSLError) {
        if usesSystemStore {
            try OpenSSLError.check("opening the system's certificate store") {
                unsafe X509_STORE_set_default_paths(store)
            }
        }
        for authority in authorities {
            try OpenSSLError.check("adding a certificate authority") {
                unsafe X509_STORE_add_cert(store, authority.pointer)
            }
        }
        for list in revocationLists {
            try OpenSSLError.check("adding a revocation list") { unsafe X509_STORE_add_crl(store, list.pointer) }
        }
        guard !revocationLists.isEmpty else { return }
        try OpenSSLError.check("turning revocation on") {
            unsafe X509_STORE_set_flags(store, UInt(X509_V_FLAG_CRL_CHECK))
        }
    }

    private static func loadAuthorities(_ path: String, now: Int64) -> Loaded<[Certificate]> {
        guard CredentialFiles.isDirectory(path) else { return check(loadFile(path), path, now: now) }
        guard let names = CredentialFiles.names(in: path) else {
            return Loaded(
                nil,
                [.init(.unreadable, path: path, "is a directory that may not be read", advice: "chmod a+rx \(path)")])
        }
        var certificates: [Certificate] = []
        var problems: [CredentialProblem] = []
        var seen: Set<PublicKeyPin> = []
        for name in names where [".pem", ".crt", ".cer", ".0"].contains(where: { name.hasSuffix($0) }) {
            let file = loadFile("\(path)/\(name)")
            problems += file.problems
            // Hashed directories hold every file twice, once as a link.
            certificates += (file.value ?? []).filter { seen.insert($0.pin).inserted }
        }
        guard !certificates.isEmpty else {
            return Loaded(
                nil,
                problems + [
                    .init(
                        .missing, path: path, "is a directory without certificates",
                        advice: "put PEM files named *.crt or *.pem there")
                ])
        }
        return check(Loaded(certificates, problems), path, now: now)
    }

    private static func loadFile(_ path: String) -> Loaded<[Certificate]> {
        let file = CredentialFiles.read(path, as: .published)
        guard let contents = file.value else { return Loaded(nil, file.problems) }
        do throws(CredentialProblem) {
            return Loaded(try Certificate.readAll(pem: contents, path: path), file.problems)
        } catch {
            return Loaded(nil, file.problems + [error])
        }
    }

    /// An expired authority among others is a warning; when all are expired, nobody can be believed.
    private static func check(_ loaded: Loaded<[Certificate]>, _ path: String, now: Int64) -> Loaded<[Certificate]> {
        guard let certificates = loaded.value else { return loaded }
        let usable = certificates.contains { $0.notBefore <= now && now <= $0.notAfter }
        var problems = loaded.problems
        for certificate in certificates {
            for problem in certificate.timeProblems(now: now, path: path) {
                problems.append(usable ? problem.asWarning : problem)
            }
            guard !certificate.isAuthority else { continue }
            problems.append(
                .init(
                    .unsuitable, .warning, path: path,
                    "the certificate of \(certificate.subject) is no authority, so it vouches only for itself",
                    advice: "name the authority's certificate, or use pins for single peers"))
        }
        return Loaded(certificates, problems)
    }

    private static func checkSystemStore() -> Loaded<[Certificate]> {
        let file = unsafe String(cString: X509_get_default_cert_file())
        let directory = unsafe String(cString: X509_get_default_cert_dir())
        let isThere = CredentialFiles.exists(file) || CredentialFiles.names(in: directory)?.isEmpty == false
        return isThere
            ? Loaded([])
            : Loaded(
                nil,
                [
                    .init(
                        .missing, path: directory, "is the system's certificate store and has no certificates",
                        advice: "install the package ca-certificates")
                ])
    }

    private static func coverage(
        of authorities: [Certificate], at path: String, by lists: [RevocationList], at listPath: String
    ) -> [CredentialProblem] {
        var problems: [CredentialProblem] = []
        for list in lists where !authorities.contains(where: { list.isSigned(by: $0) }) {
            let named = authorities.contains { list.isNamed(after: $0) }
            problems.append(
                .init(
                    .mismatched, path: listPath,
                    "the revocation list of \(list.issuer) is \(named ? "not signed by" : "from none of") the authorities in \(path)",
                    advice: "make it with that authority: culvert keys revoke --ca … --crl \(listPath)"))
        }
        for authority in authorities
        where authority.isAuthority && !lists.contains(where: { $0.isNamed(after: authority) }) {
            problems.append(
                .init(
                    .mismatched, .warning, path: listPath,
                    "has no list of \(authority.subject), so every certificate from there is refused",
                    advice: "add that authority's list to the file"))
        }
        return problems
    }
}

extension CredentialProblem {
    /// The same, no longer an error.
    fileprivate var asWarning: CredentialProblem {
        .init(kind, .warning, path: path, line: line, reason, advice: advice)
    }
}
