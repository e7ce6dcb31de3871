// Whether a peer's certificate is believed, and if not, why.
//
// With authorities, the chain, the dates, the purpose, the name and the revocation lists are OpenSSL's to judge; pins
// come on top. Without authorities, a pin stands alone: the key is the identity, so neither issuer nor name counts,
// but the dates do.

internal import COpenSSL
internal import DTLS

/// The judgement of one tunnel's trust over a peer's chain.
struct PeerVerification {
    let trust: TrustAnchors?
    let pins: Set<PublicKeyPin>

    /// What is wrong with the chain in an X509_STORE_CTX, nil when nothing is. The store's error, from which OpenSSL
    /// makes the alert, is set accordingly.
    func fault(in store: OpaquePointer) -> HandshakeFailure? {
        guard let leaf = unsafe Self.certificate(X509_STORE_CTX_get0_cert(store)) else {
            unsafe X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED)
            return HandshakeFailure(.certificate, detail: "the peer's certificate cannot be read")
        }
        if trust != nil {
            guard unsafe X509_verify_cert(store) == 1 else { return unsafe Self.rejection(of: leaf, by: store) }
        } else if let code = Self.fault(inDatesOf: leaf), !pins.isEmpty {
            unsafe X509_STORE_CTX_set_error(store, code)
            return Self.failure(code, leaf, leaf: leaf)
        }
        if pins.contains(leaf.pin) || trust != nil && pins.isEmpty { return nil }

        unsafe X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_UNTRUSTED)
        guard !pins.isEmpty else {
            return HandshakeFailure(
                .certificate, .certificate(.nothingTrusted(pin: leaf.pin.description)),
                detail: "nobody's certificate is trusted here, so \(leaf.subject) is not")
        }
        return HandshakeFailure(
            .certificate, .certificate(.notPinned(pin: leaf.pin.description)),
            detail: "the key of \(leaf.subject) is none of the pinned ones")
    }

    private static func rejection(of leaf: Certificate, by store: OpaquePointer) -> HandshakeFailure {
        let code = unsafe X509_STORE_CTX_get_error(store)
        let culprit = unsafe certificate(X509_STORE_CTX_get_current_cert(store)) ?? leaf
        return failure(code, culprit, leaf: leaf)
    }

    private static func failure(_ code: Int32, _ culprit: Certificate, leaf: Certificate) -> HandshakeFailure {
        let reason = unsafe String(cString: X509_verify_cert_error_string(Int(code)))
        let who = culprit.pin == leaf.pin ? leaf.subject : "\(culprit.subject) in the chain of \(leaf.subject)"
        return HandshakeFailure(
            .certificate, cause(code, culprit, leaf: leaf).map { .certificate($0) },
            detail: "certificate verify failed: \(reason) (\(who))")
    }

    private static func cause(_ code: Int32, _ culprit: Certificate, leaf: Certificate) -> CertificateFault? {
        switch code {
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
            X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, X509_V_ERR_CERT_UNTRUSTED:
            .unknownIssuer(issuer: culprit.issuer)
        case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
            culprit.pin == leaf.pin
                ? .selfSigned(pin: leaf.pin.description) : .unknownRoot(subject: culprit.subject)
        case X509_V_ERR_CERT_SIGNATURE_FAILURE: .badSignature(issuer: culprit.issuer)
        case X509_V_ERR_CERT_HAS_EXPIRED: .expired(at: culprit.notAfter)
        case X509_V_ERR_CERT_NOT_YET_VALID: .notYetValid(until: culprit.notBefore)
        case X509_V_ERR_CERT_REVOKED: .revoked
        case X509_V_ERR_UNABLE_TO_GET_CRL: .noRevocationList(issuer: culprit.issuer)
        case X509_V_ERR_CRL_HAS_EXPIRED, X509_V_ERR_CRL_NOT_YET_VALID, X509_V_ERR_CRL_SIGNATURE_FAILURE:
            .badRevocationList(issuer: culprit.issuer)
        case X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH:
            .otherName(dnsNames: leaf.dnsNames, addresses: leaf.ipAddresses)
        case X509_V_ERR_INVALID_PURPOSE: .wrongPurpose
        case X509_V_ERR_EE_KEY_TOO_SMALL, X509_V_ERR_CA_KEY_TOO_SMALL, X509_V_ERR_CA_MD_TOO_WEAK: .tooWeak
        default: nil
        }
    }

    private static func fault(inDatesOf certificate: Certificate) -> Int32? {
        if unsafe X509_cmp_current_time(X509_get0_notBefore(certificate.pointer)) >= 0 {
            return X509_V_ERR_CERT_NOT_YET_VALID
        }
        if unsafe X509_cmp_current_time(X509_get0_notAfter(certificate.pointer)) <= 0 {
            return X509_V_ERR_CERT_HAS_EXPIRED
        }
        return nil
    }

    /// The facts of a certificate that stays with its owner.
    private static func certificate(_ pointer: OpaquePointer?) -> Certificate? {
        guard let pointer = unsafe pointer, unsafe X509_up_ref(pointer) == 1 else { return nil }
        return try? unsafe Certificate(adopting: pointer)
    }
}

extension PeerIdentity {
    /// Who the peer of a finished handshake has proven to be.
    init(of ssl: OpaquePointer) {
        self.init()
        pskIdentity = unsafe SSL_get_psk_identity(ssl).map { unsafe String(cString: $0) }
        guard let pointer = unsafe SSL_get1_peer_certificate(ssl),
            let certificate = try? unsafe Certificate(adopting: pointer)
        else { return }
        commonName = certificate.commonName
        dnsNames = certificate.dnsNames.map { $0.lowercased() }
        addresses = certificate.ipAddresses
        publicKeyHash = unsafe Self.publicKeyHash(certificate.pointer)
    }

    private static func publicKeyHash(_ certificate: OpaquePointer) -> [UInt8]? {
        var der: UnsafeMutablePointer<UInt8>?
        let length = unsafe i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der)
        guard length > 0, let start = unsafe der else { return nil }
        defer { unsafe culvert_free_bytes(start) }
        var hash = [UInt8](repeating: 0, count: 32)
        return unsafe EVP_Digest(start, Int(length), &hash, nil, EVP_sha256(), nil) == 1 ? hash : nil
    }
}
