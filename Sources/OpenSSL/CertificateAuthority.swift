// A small certificate authority (RFC 5280): makes its own certificate, issues certificates for nodes and
// revokes them, with defaults that need no thought: SHA-256 or better, random 128-bit serial numbers,
// critical basicConstraints and keyUsage, key identifiers, both TLS uses. It keeps no database: a
// revocation list is its own record.

internal import COpenSSL

/// When a certificate or revocation list is valid, in seconds since 1970.
public struct Validity: Hashable, Sendable {
    /// The first second.
    public var notBefore: Int64
    /// The last second.
    public var notAfter: Int64

    /// From `notBefore` to `notAfter`.
    public init(notBefore: Int64, notAfter: Int64) {
        self.notBefore = notBefore
        self.notAfter = notAfter
    }

    /// `days` days from `now`, and five minutes back, for peers whose clocks are late.
    public static func days(_ days: Int, from now: Int64) -> Validity {
        Validity(notBefore: now - 300, notAfter: now + Int64(days) * UTCTime.day)
    }
}

/// Why a certificate is revoked (RFC 5280 §5.3.1).
public enum RevocationReason: String, CaseIterable, Sendable {
    /// Nothing is said.
    case unspecified
    /// The private key is, or may be, known to others.
    case keyCompromise
    /// The node's affiliation or name changed.
    case affiliationChanged
    /// Another certificate took its place.
    case superseded
    /// The node is gone.
    case cessationOfOperation

    var code: Int32 {
        switch self {
        case .unspecified: -1
        case .keyCompromise: 1
        case .affiliationChanged: 3
        case .superseded: 4
        case .cessationOfOperation: 5
        }
    }
}

/// A certificate authority: a certificate that may sign, and its key.
public struct CertificateAuthority: Sendable {
    /// The authority's certificate.
    public let certificate: Certificate
    /// What a node shows along with its own certificate: every certificate of the authority's file but a root.
    public let intermediates: [Certificate]
    private let privateKey: PrivateKey

    /// Makes a new authority that vouches for itself and may not make further authorities.
    public static func create(
        commonName: String, key: PrivateKey, validity: Validity
    ) throws(OpenSSLError) -> CertificateAuthority {
        let certificate = try CertificateDraft(commonName: commonName, key: key, validity: validity).signed(
            by: nil, key: key,
            extensions: [
                (NID_basic_constraints, "critical,CA:TRUE,pathlen:0"),
                (NID_key_usage, "critical,keyCertSign,cRLSign"),
                (NID_subject_key_identifier, "hash"),
                (NID_authority_key_identifier, "keyid:always"),
            ])
        return CertificateAuthority(certificate: certificate, intermediates: [], privateKey: key)
    }

    /// Reads an authority's certificate file, its own certificate first, and its key.
    public static func load(
        certificate certificatePath: String, privateKey keyPath: String, now: Int64
    ) -> Loaded<CertificateAuthority> {
        let loaded = Credential.load(certificate: certificatePath, privateKey: keyPath, now: now)
        guard let credential = loaded.value else { return Loaded(nil, loaded.problems) }
        guard credential.certificate.isAuthority else {
            return Loaded(
                nil,
                loaded.problems + [
                    .init(
                        .unsuitable, path: certificatePath,
                        "the certificate of \(credential.certificate.subject) is no authority, so it cannot sign others",
                        advice: "name an authority, or make one with: culvert keys ca")
                ])
        }
        let chain = [credential.certificate] + credential.intermediates
        let authority = CertificateAuthority(
            certificate: credential.certificate, intermediates: chain.filter { !$0.isSelfIssued },
            privateKey: credential.privateKey)
        return Loaded(authority, loaded.problems)
    }

    /// Issues a node's certificate, for servers and clients both, valid no longer than the authority itself.
    public func issue(
        to subject: CertificateSubject, key: PrivateKey, validity: Validity
    ) throws(OpenSSLError) -> Certificate {
        let capped = Validity(
            notBefore: max(validity.notBefore, certificate.notBefore),
            notAfter: min(validity.notAfter, certificate.notAfter))
        return try CertificateDraft(commonName: subject.commonName, key: key, validity: capped).signed(
            by: certificate, key: privateKey, names: subject,
            extensions: Self.nodeExtensions + [(NID_authority_key_identifier, "keyid:always")])
    }

    /// Makes a node's certificate that vouches for itself, to be believed by its pin.
    public static func selfSigned(
        _ subject: CertificateSubject, key: PrivateKey, validity: Validity
    ) throws(OpenSSLError) -> Certificate {
        try CertificateDraft(commonName: subject.commonName, key: key, validity: validity).signed(
            by: nil, key: key, names: subject, extensions: nodeExtensions)
    }

    /// Makes a revocation list: everything on `previous` and the certificates with `serialNumbers` (hexadecimal).
    ///
    /// A certificate that is on `previous` keeps its entry. `previous` has to be this authority's.
    public func revocationList(
        extending previous: RevocationList?, with serialNumbers: [String], reason: RevocationReason, validity: Validity
    ) throws(OpenSSLError) -> RevocationList {
        let operation = "making a revocation list"
        let crl = try unsafe OpenSSLError.wrap(operation) {
            unsafe previous.map { unsafe X509_CRL_dup($0.pointer) } ?? X509_CRL_new()
        }
        let list: OpaquePointer = unsafe crl
        do throws(OpenSSLError) {
            let number = unsafe culvert_crl_number(list)
            try unsafe ASN1.withTime(validity.notBefore) { (start) throws(OpenSSLError) in
                for serialNumber in serialNumbers {
                    try unsafe Self.add(serialNumber, to: list, at: start, reason)
                }
                try OpenSSLError.check(operation) { unsafe X509_CRL_set1_lastUpdate(list, start) }
            }
            try unsafe ASN1.withTime(validity.notAfter) { (end) throws(OpenSSLError) in
                try OpenSSLError.check(operation) { unsafe X509_CRL_set1_nextUpdate(list, end) }
            }
            try OpenSSLError.check(operation) {
                unsafe X509_CRL_set_version(list, 1) == 1
                    && X509_CRL_set_issuer_name(list, X509_get_subject_name(certificate.pointer)) == 1
                    && culvert_set_crl_number(list, max(number, 0) &+ 1) == 1
                    && culvert_set_crl_authority(list, certificate.pointer) == 1
                    && X509_CRL_sort(list) == 1
                    && X509_CRL_sign(list, privateKey.pointer, privateKey.signatureDigest) > 0 ? 1 : 0
            }
        } catch {
            unsafe X509_CRL_free(list)
            throw error
        }
        // Read back, because OpenSSL keeps the list's lookup tables only for lists that it decoded.
        let text = try unsafe RevocationList(adopting: list).pem()
        do throws(CredentialProblem) {
            let lists = try RevocationList.readAll(pem: text, path: "")
            guard let made = lists.first else { throw CredentialProblem(.malformed, path: "", "", advice: "") }
            return made
        } catch {
            throw OpenSSLError(takenDuring: operation)
        }
    }

    private static func add(
        _ serialNumber: String, to list: OpaquePointer, at time: UnsafePointer<ASN1_TIME>, _ reason: RevocationReason
    ) throws(OpenSSLError) {
        let serial = try unsafe OpenSSLError.wrap("reading the serial number \(serialNumber)") {
            unsafe culvert_make_serial(serialNumber)
        }
        defer { unsafe ASN1_INTEGER_free(serial) }
        var entry: OpaquePointer?
        guard unsafe X509_CRL_get0_by_serial(list, &entry, serial) == 0 else { return }
        try OpenSSLError.check("revoking \(serialNumber)") { unsafe culvert_crl_add(list, serial, time, reason.code) }
    }

    private static let nodeExtensions: [(nid: Int32, value: String)] = [
        (NID_basic_constraints, "critical,CA:FALSE"),
        (NID_key_usage, "critical,digitalSignature"),
        (NID_ext_key_usage, "serverAuth,clientAuth"),
        (NID_subject_key_identifier, "hash"),
    ]
}

/// A certificate in the making: owns the X509 until it is signed.
@safe
private final class CertificateDraft {
    private let pointer: OpaquePointer

    /// Everything but extensions and signature.
    init(commonName: String, key: PrivateKey, validity: Validity) throws(OpenSSLError) {
        let operation = "making a certificate"
        let certificate = try unsafe OpenSSLError.wrap(operation) { unsafe X509_new() }
        unsafe pointer = unsafe certificate
        let name = Array(commonName.utf8)
        try OpenSSLError.check(operation) {
            // Version 3 is written as 2 (RFC 5280 §4.1.2.1).
            unsafe X509_set_version(certificate, 2) == 1 && culvert_set_random_serial(certificate) == 1
                && X509_set_pubkey(certificate, key.pointer) == 1
                && X509_NAME_add_entry_by_NID(
                    X509_get_subject_name(certificate), NID_commonName, MBSTRING_UTF8, name,
                    Int32(clamping: name.count), -1, 0) == 1
                ? 1 : 0
        }
        try unsafe ASN1.withTime(validity.notBefore) { (start) throws(OpenSSLError) in
            try OpenSSLError.check(operation) { unsafe X509_set1_notBefore(certificate, start) }
        }
        try unsafe ASN1.withTime(validity.notAfter) { (end) throws(OpenSSLError) in
            try OpenSSLError.check(operation) { unsafe X509_set1_notAfter(certificate, end) }
        }
    }

    deinit {
        unsafe X509_free(pointer)
    }

    /// Adds the extensions and signs; without an issuer the certificate vouches for itself.
    func signed(
        by issuer: Certificate?, key: PrivateKey, names: CertificateSubject? = nil,
        extensions: [(nid: Int32, value: String)]
    ) throws(OpenSSLError) -> Certificate {
        let certificate = unsafe pointer
        let operation = "signing a certificate"
        let signer = unsafe issuer?.pointer ?? certificate
        try OpenSSLError.check(operation) {
            unsafe X509_set_issuer_name(certificate, X509_get_subject_name(signer))
        }
        for addition in extensions {
            try OpenSSLError.check(operation) {
                unsafe culvert_add_extension(certificate, signer, addition.nid, addition.value)
            }
        }
        if let names { try add(names) }
        try OpenSSLError.check(operation) {
            unsafe X509_sign(certificate, key.pointer, key.signatureDigest) > 0 ? 1 : 0
        }
        // The draft keeps its own reference, which its deinit gives back.
        try OpenSSLError.check(operation) { unsafe X509_up_ref(certificate) }
        return try unsafe Certificate(adopting: certificate)
    }

    private func add(_ names: CertificateSubject) throws(OpenSSLError) {
        guard !(names.dnsNames.isEmpty && names.ipAddresses.isEmpty) else { return }
        let operation = "naming a certificate"
        let list = try unsafe OpenSSLError.wrap(operation) { unsafe culvert_make_names() }
        defer { unsafe culvert_free_names(list) }
        for name in names.dnsNames.map({ Array($0.utf8) }) {
            try OpenSSLError.check(operation) {
                unsafe culvert_append_name(list, GEN_DNS, name, Int32(clamping: name.count))
            }
        }
        for address in names.ipAddresses.map({ $0.networkBytes }) {
            try OpenSSLError.check(operation) {
                unsafe culvert_append_name(list, GEN_IPADD, address, Int32(clamping: address.count))
            }
        }
        try OpenSSLError.check(operation) { unsafe culvert_add_names(pointer, list) }
    }
}
