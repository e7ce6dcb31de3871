// An X.509 certificate (RFC 5280): the facts that authentication, `culvert check` and people need, read
// once when it is made. What is read may come from a stranger: a name that could be mistaken for another
// (a NUL inside, not ASCII, more than one common name) is left out rather than cut short.

internal import COpenSSL
public import Wire

/// A certificate.
@safe
public final class Certificate: @unchecked Sendable {
    /// The X509; shared for reading only.
    let pointer: OpaquePointer
    /// The subject as RFC 4514 text, control characters escaped.
    public let subject: String
    /// The issuer as RFC 4514 text, control characters escaped.
    public let issuer: String
    /// The subject's common name, when it has exactly one and that is clean text.
    public let commonName: String?
    /// The DNS names among the subject alternative names, as they stand there.
    public let dnsNames: [String]
    /// The IP addresses among the subject alternative names.
    public let ipAddresses: [IPAddress]
    /// The first second of validity, since 1970.
    public let notBefore: Int64
    /// The last second of validity, since 1970.
    public let notAfter: Int64
    /// The pin of the subject's key.
    public let pin: PublicKeyPin
    /// The kind and size of the subject's key, as in "ECDSA P-256".
    public let keyType: String
    /// The serial number in upper-case hexadecimal.
    public let serialNumber: String

    /// Takes over `pointer`, also when it throws.
    init(adopting pointer: OpaquePointer) throws(OpenSSLError) {
        unsafe self.pointer = unsafe pointer
        do throws(OpenSSLError) {
            pin = try unsafe Self.pin(of: pointer)
            (notBefore, notAfter) = try unsafe (
                ASN1.seconds(X509_get0_notBefore(pointer)), ASN1.seconds(X509_get0_notAfter(pointer))
            )
        } catch {
            unsafe X509_free(pointer)
            throw error
        }
        subject = unsafe ASN1.text(ofName: X509_get_subject_name(pointer))
        issuer = unsafe ASN1.text(ofName: X509_get_issuer_name(pointer))
        commonName = unsafe ASN1.commonName(X509_get_subject_name(pointer))
        (dnsNames, ipAddresses) = unsafe Self.alternativeNames(pointer)
        keyType = unsafe X509_get0_pubkey(pointer).map { unsafe PublicKey.describe($0) } ?? "unknown"
        serialNumber = unsafe ASN1.text(ofSerial: X509_get0_serialNumber(pointer))
    }

    deinit {
        unsafe X509_free(pointer)
    }

    /// Every certificate of a PEM text, in its order, at least one; `path` is for the error.
    public static func readAll(pem: SecretBytes, path: String) throws(CredentialProblem) -> [Certificate] {
        let found: [Certificate]
        do throws(OpenSSLError) {
            found = try unsafe PEM.readAll(pem) { (bio) throws(OpenSSLError) in
                guard let pointer = unsafe PEM_read_bio_X509(bio, nil, nil, nil) else { return nil }
                return try unsafe Certificate(adopting: pointer)
            }
        } catch {
            throw CredentialProblem(
                .malformed, path: path,
                "holds a certificate that cannot be read: \(error.reasons.joined(separator: "; "))",
                advice: "restore the file from where it came from")
        }
        guard found.isEmpty else { return found }
        let holdsKey = PEM.hasBlock("PRIVATE KEY", in: pem)
        throw CredentialProblem(
            .malformed, path: path, "holds no certificate in PEM form" + (holdsKey ? ", but a private key" : ""),
            advice: holdsKey
                ? "name the .crt file instead" : "convert it with: openssl x509 -in \(path) -out NEW.crt")
    }

    /// The PEM text of several certificates.
    public static func pem(_ certificates: [Certificate]) throws(OpenSSLError) -> SecretBytes {
        try unsafe PEM.text("writing a certificate") { (bio) in
            certificates.allSatisfy { unsafe PEM_write_bio_X509(bio, $0.pointer) == 1 } ? 1 : 0
        }
    }

    /// Whether it may sign other certificates.
    public var isAuthority: Bool { unsafe X509_check_ca(pointer) > 0 }

    /// Whether a server may show it.
    public var isForServer: Bool { unsafe X509_check_purpose(pointer, X509_PURPOSE_SSL_SERVER, 0) == 1 }

    /// Whether a client may show it.
    public var isForClient: Bool { unsafe X509_check_purpose(pointer, X509_PURPOSE_SSL_CLIENT, 0) == 1 }

    /// Whether subject and issuer are the same, as in the root of a chain.
    public var isSelfIssued: Bool {
        unsafe X509_NAME_cmp(X509_get_subject_name(pointer), X509_get_issuer_name(pointer)) == 0
    }

    /// Whether `authority` signed it: the name and the signature, not the time.
    public func isSigned(by authority: Certificate) -> Bool {
        ERR_clear_error()
        defer { ERR_clear_error() }
        guard unsafe X509_check_issued(authority.pointer, pointer) == X509_V_OK else { return false }
        return unsafe X509_get0_pubkey(authority.pointer).map { unsafe X509_verify(pointer, $0) == 1 } ?? false
    }

    /// Whether its key, or the hash it was signed with, has less than 112 bits of security.
    var isWeak: Bool {
        guard let key = unsafe X509_get0_pubkey(pointer), !(unsafe PublicKey.isWeak(key)) else { return true }
        var bits: Int32 = 0
        // Nobody relies on the signature of a certificate that vouches for itself.
        return unsafe !isSelfIssued && X509_get_signature_info(pointer, nil, nil, &bits, nil) == 1 && bits < 112
    }

    /// What the calendar says about it at `now`, in seconds since 1970.
    func timeProblems(now: Int64, path: String) -> [CredentialProblem] {
        let who = "certificate of \(subject)"
        if now > notAfter {
            return [
                .init(
                    .expired, path: path, "the \(who) expired at \(UTCTime.text(notAfter))",
                    advice: "make or obtain a new one, for example with: culvert keys issue")
            ]
        }
        if now < notBefore {
            return [
                .init(
                    .notYetValid, path: path, "the \(who) is valid only from \(UTCTime.text(notBefore))",
                    advice: "check this machine's clock, which says \(UTCTime.text(now))")
            ]
        }
        guard notAfter - now < 30 * UTCTime.day else { return [] }
        return [
            .init(
                .expiresSoon, .warning, path: path, "the \(who) expires at \(UTCTime.text(notAfter))",
                advice: "renew it before then, for example with: culvert keys issue --force")
        ]
    }

    private static func pin(of certificate: OpaquePointer) throws(OpenSSLError) -> PublicKeyPin {
        var der: UnsafeMutablePointer<UInt8>?
        ERR_clear_error()
        let length = unsafe i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der)
        guard length > 0, let start = unsafe der else { throw OpenSSLError(takenDuring: "encoding a public key") }
        defer { unsafe culvert_free_bytes(start) }
        return try unsafe PublicKeyPin(subjectPublicKeyInfo: UnsafeBufferPointer(start: start, count: Int(length)))
    }

    private static func alternativeNames(_ certificate: OpaquePointer) -> (dns: [String], ip: [IPAddress]) {
        guard let names = unsafe culvert_read_names(certificate) else { return ([], []) }
        defer { unsafe culvert_free_names(names) }
        var dns: [String] = []
        var ip: [IPAddress] = []
        for index in 0..<(unsafe culvert_name_count(names)) {
            if let value = unsafe culvert_name_at(names, index, GEN_DNS) {
                let bytes = unsafe ASN1.bytes(value)
                guard bytes.allSatisfy({ (0x21...0x7e).contains($0) }) else { continue }
                dns.append(String(decoding: bytes, as: UTF8.self))
            } else if let value = unsafe culvert_name_at(names, index, GEN_IPADD) {
                if let address = unsafe IPAddress(networkBytes: ASN1.bytes(value)) { ip.append(address) }
            }
        }
        return (dns, ip)
    }
}

extension IPAddress {
    /// An address from its 4 or 16 bytes in network order; nil for another count.
    init?(networkBytes bytes: [UInt8]) {
        func number(_ slice: ArraySlice<UInt8>) -> UInt64 { slice.reduce(0) { $0 << 8 | UInt64($1) } }
        switch bytes.count {
        case 4: self.init(ipv4: UInt32(number(bytes[...])))
        case 16: self.init(high: number(bytes[..<8]), low: number(bytes[8...]))
        default: return nil
        }
    }

    /// The 4 or 16 bytes in network order.
    var networkBytes: [UInt8] {
        func bytes(_ number: UInt64, _ count: Int) -> [UInt8] {
            (0..<count).map { UInt8(number >> (UInt64(count - 1 - $0) * 8) & 255) }
        }
        return isIPv4 ? bytes(UInt64(ipv4Bits), 4) : bytes(high, 8) + bytes(low, 8)
    }
}
