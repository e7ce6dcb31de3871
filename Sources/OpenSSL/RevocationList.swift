// Certificate revocation lists (RFC 5280 §5): read, checked and looked into. Making them is the part of
// CertificateAuthority, which alone has the key.

internal import COpenSSL

/// A certificate revocation list.
@safe
public final class RevocationList: @unchecked Sendable {
    /// The X509_CRL; shared for reading only.
    let pointer: OpaquePointer
    /// The issuer as RFC 4514 text.
    public let issuer: String
    /// When it was made, in seconds since 1970.
    public let thisUpdate: Int64
    /// When the next one is due, in seconds since 1970; nil when it does not say.
    public let nextUpdate: Int64?
    /// How many certificates it revokes.
    public let count: Int

    /// Takes over `pointer`, also when it throws.
    init(adopting pointer: OpaquePointer) throws(OpenSSLError) {
        unsafe self.pointer = unsafe pointer
        do throws(OpenSSLError) {
            thisUpdate = try unsafe ASN1.seconds(X509_CRL_get0_lastUpdate(pointer))
            if let next = unsafe X509_CRL_get0_nextUpdate(pointer) {
                nextUpdate = try unsafe ASN1.seconds(next)
            } else {
                nextUpdate = nil
            }
        } catch {
            unsafe X509_CRL_free(pointer)
            throw error
        }
        issuer = unsafe ASN1.text(ofName: X509_CRL_get_issuer(pointer))
        count = unsafe max(0, Int(culvert_crl_count(pointer)))
    }

    deinit {
        unsafe X509_CRL_free(pointer)
    }

    /// Reads every list of a PEM file and finds what is wrong with them.
    public static func load(_ path: String, now: Int64) -> Loaded<[RevocationList]> {
        let file = CredentialFiles.read(path, as: .published)
        guard let contents = file.value else { return Loaded(nil, file.problems) }
        do throws(CredentialProblem) {
            let lists = try readAll(pem: contents, path: path)
            return Loaded(lists, file.problems + lists.flatMap { $0.timeProblems(now: now, path: path) })
        } catch {
            return Loaded(nil, file.problems + [error])
        }
    }

    /// Every list of a PEM text, at least one; `path` is for the error.
    public static func readAll(pem: SecretBytes, path: String) throws(CredentialProblem) -> [RevocationList] {
        let found: [RevocationList]
        do throws(OpenSSLError) {
            found = try unsafe PEM.readAll(pem) { (bio) throws(OpenSSLError) in
                guard let pointer = unsafe PEM_read_bio_X509_CRL(bio, nil, nil, nil) else { return nil }
                return try unsafe RevocationList(adopting: pointer)
            }
        } catch {
            throw CredentialProblem(
                .malformed, path: path,
                "holds a revocation list that cannot be read: \(error.reasons.joined(separator: "; "))",
                advice: "fetch it again from where it came from")
        }
        guard found.isEmpty else { return found }
        throw CredentialProblem(
            .malformed, path: path, "holds no revocation list in PEM form",
            advice: "convert it with: openssl crl -inform DER -in \(path) -out NEW.pem")
    }

    /// The PEM text.
    public func pem() throws(OpenSSLError) -> SecretBytes {
        try unsafe PEM.text("writing a revocation list") { (bio) in unsafe PEM_write_bio_X509_CRL(bio, pointer) }
    }

    /// Whether `certificate`, taken to be from the same issuer, is on the list.
    public func revokes(_ certificate: Certificate) -> Bool {
        var entry: OpaquePointer?
        // 2 would be an entry that takes an earlier one back.
        return unsafe X509_CRL_get0_by_cert(pointer, &entry, certificate.pointer) == 1
    }

    /// Whether `authority` is named as the issuer.
    public func isNamed(after authority: Certificate) -> Bool {
        unsafe X509_NAME_cmp(X509_CRL_get_issuer(pointer), X509_get_subject_name(authority.pointer)) == 0
    }

    /// Whether `authority` is named as the issuer and signed it.
    public func isSigned(by authority: Certificate) -> Bool {
        ERR_clear_error()
        defer { ERR_clear_error() }
        guard isNamed(after: authority), let key = unsafe X509_get0_pubkey(authority.pointer) else { return false }
        return unsafe X509_CRL_verify(pointer, key) == 1
    }

    private func timeProblems(now: Int64, path: String) -> [CredentialProblem] {
        let who = "revocation list of \(issuer)"
        let renewal = "make a fresh one with: culvert keys revoke --crl \(path)"
        if now < thisUpdate {
            return [
                .init(
                    .notYetValid, path: path, "the \(who) is valid only from \(UTCTime.text(thisUpdate))",
                    advice: "check this machine's clock, which says \(UTCTime.text(now))")
            ]
        }
        guard let nextUpdate else { return [] }
        if now > nextUpdate {
            return [
                .init(
                    .expired, path: path,
                    "the \(who) expired at \(UTCTime.text(nextUpdate)), and with it every certificate is refused",
                    advice: renewal)
            ]
        }
        guard nextUpdate - now < 7 * UTCTime.day else { return [] }
        return [
            .init(
                .expiresSoon, .warning, path: path, "the \(who) expires at \(UTCTime.text(nextUpdate))", advice: renewal
            )
        ]
    }
}
