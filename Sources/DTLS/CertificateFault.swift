// What a peer's certificate can have against it, with what is needed to put that right. Names in it are the peer's word:
// text of certificates with control characters escaped.

public import Wire

/// Why a certificate is not believed.
///
/// A `pin` names the key of the peer's own certificate: `sha256:` and the SHA-256 of its SubjectPublicKeyInfo in base64.
/// An `issuer` and a `subject` are RFC 4514 text. Times are seconds since 1970-01-01T00:00:00Z.
public enum CertificateFault: Hashable, Sendable {
    /// There is nothing to believe any certificate by.
    case nothingTrusted(pin: String)
    /// The key is none of those that are pinned.
    case notPinned(pin: String)
    /// Its chain leads to an issuer that is not known.
    case unknownIssuer(issuer: String)
    /// It is its own issuer.
    case selfSigned(pin: String)
    /// Its chain ends with a root that is not trusted.
    case unknownRoot(subject: String)
    /// Its signature is not by the key of the issuer that is known here.
    case badSignature(issuer: String)
    /// It was valid until then.
    case expired(at: Int64)
    /// It will be valid from then on.
    case notYetValid(until: Int64)
    /// Its issuer has revoked it.
    case revoked
    /// There is no revocation list of its issuer, and there has to be.
    case noRevocationList(issuer: String)
    /// The revocation list of its issuer is out of date, or not by it.
    case badRevocationList(issuer: String)
    /// It is for these names, and not for the one that was asked for.
    case otherName(dnsNames: [String], addresses: [IPAddress])
    /// It is not for this use, as a server's or a client's.
    case wrongPurpose
    /// Its key, or the hash in its chain, is too weak.
    case tooWeak
}
