// What OpenSSL says about a failed handshake, in the terms of the seam.

internal import COpenSSL
internal import DTLS
internal import Wire

extension HandshakeFailure {
    /// Reads the newest error that OpenSSL has left.
    init(_ error: OpenSSLError) {
        guard error.code != 0 else {
            self.init(.protocolViolation, detail: "the peer ended the handshake")
            return
        }
        let reason = ERR_GET_REASON(error.code)
        guard ERR_GET_LIB(error.code) == ERR_LIB_SSL else {
            self.init(.local, detail: error.description)
            return
        }
        // A fatal alert of the peer's is an error of this number.
        if let number = UInt8(exactly: reason - SSL_AD_REASON_OFFSET) {
            self.init(alert: Alert.Description(rawValue: number))
            return
        }
        let (kind, cause) = Self.judgement(reason)
        self.init(kind, cause, detail: error.description)
    }

    private static func judgement(_ reason: Int32) -> (Reason, Cause?) {
        switch reason {
        case SSL_R_READ_TIMEOUT_EXPIRED:
            (.timeout, .repetitionsExhausted)
        case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
            (.certificate, .noCertificate)
        case SSL_R_NO_SHARED_CIPHER, SSL_R_WRONG_CIPHER_RETURNED, SSL_R_UNKNOWN_CIPHER_RETURNED,
            SSL_R_NO_CIPHERS_AVAILABLE:
            (.mismatch, .noCommonCipher)
        case SSL_R_UNSUPPORTED_PROTOCOL, SSL_R_WRONG_VERSION_NUMBER, SSL_R_WRONG_SSL_VERSION, SSL_R_VERSION_TOO_LOW,
            SSL_R_VERSION_TOO_HIGH, SSL_R_BAD_PROTOCOL_VERSION_NUMBER:
            (.mismatch, .noCommonVersion)
        case SSL_R_NO_SUITABLE_KEY_SHARE, SSL_R_NO_SHARED_GROUPS, SSL_R_WRONG_CURVE, SSL_R_NO_SUITABLE_GROUPS,
            SSL_R_UNSUPPORTED_ELLIPTIC_CURVE:
            (.mismatch, .noCommonGroup)
        case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS, SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, SSL_R_WRONG_SIGNATURE_TYPE,
            SSL_R_UNSAFE_LEGACY_RENEGOTIATION_DISABLED, SSL_R_INCONSISTENT_EXTMS:
            (.mismatch, .obsoletePeer)
        case SSL_R_PSK_IDENTITY_NOT_FOUND, SSL_R_BAD_PSK_IDENTITY, SSL_R_BAD_PSK:
            (.preSharedKey, nil)
        default:
            (.protocolViolation, nil)
        }
    }
}
