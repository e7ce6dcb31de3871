// The cipher suites whose records can be protected here: AEADs of TLS 1.2 and nothing else (RFC 5288, RFC 6655,
// RFC 7905). Which of them a handshake may choose is decided by HandshakeContext's cipher list.

internal import COpenSSL

/// A cipher suite as far as keys and records depend on it.
struct CipherSuite: Sendable {
    /// OpenSSL's name, such as `ECDHE-ECDSA-AES128-GCM-SHA256`.
    let name: String
    /// How records are protected.
    let algorithm: AEADAlgorithm
    /// The hash under the PRF, by OpenSSL's name.
    let digest: String
    /// Whether the peer is known by a pre-shared key alone.
    let isPreShared: Bool

    /// Reads an SSL_CIPHER; nil for a suite of another version of TLS or without an AEAD that is known here.
    init?(_ cipher: OpaquePointer) {
        guard let version = unsafe SSL_CIPHER_get_version(cipher), unsafe String(cString: version) == "TLSv1.2",
            let name = unsafe SSL_CIPHER_get_name(cipher), let hash = unsafe SSL_CIPHER_get_handshake_digest(cipher),
            let digest = unsafe EVP_MD_get0_name(hash)
        else { return nil }
        unsafe self.name = Self.interned(String(cString: name))
        unsafe self.digest = String(cString: digest)
        isPreShared = unsafe SSL_CIPHER_get_auth_nid(cipher) == NID_auth_psk

        let hasShortTag = self.name.hasSuffix("CCM8")
        switch unsafe SSL_CIPHER_get_cipher_nid(cipher) {
        case NID_aes_128_gcm: algorithm = .aes128GCM
        case NID_aes_256_gcm: algorithm = .aes256GCM
        case NID_aes_128_ccm: algorithm = hasShortTag ? .aes128CCM8 : .aes128CCM
        case NID_aes_256_ccm: algorithm = hasShortTag ? .aes256CCM8 : .aes256CCM
        case NID_chacha20_poly1305: algorithm = .chaCha20Poly1305
        default: return nil
        }
    }
}

extension CipherSuite {
    /// A name that thousands of associations can keep without memory of their own.
    private static func interned(_ name: String) -> String {
        wellKnown.first { $0 == name } ?? name
    }

    private static let wellKnown = [
        "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305",
        "ECDHE-PSK-CHACHA20-POLY1305",
    ]
}

/// An AEAD with its lengths in bytes.
enum AEADAlgorithm: CaseIterable, Sendable {
    case aes128GCM
    case aes256GCM
    case chaCha20Poly1305
    case aes128CCM
    case aes256CCM
    case aes128CCM8
    case aes256CCM8

    /// Length of a key.
    var keyLength: Int {
        switch self {
        case .aes128GCM, .aes128CCM, .aes128CCM8: 16
        case .aes256GCM, .aes256CCM, .aes256CCM8, .chaCha20Poly1305: 32
        }
    }

    /// Length of the nonce's part that comes from the key block.
    var fixedNonceLength: Int { self == .chaCha20Poly1305 ? 12 : 4 }

    /// Length of the nonce's part that travels in front of the ciphertext.
    var explicitNonceLength: Int { self == .chaCha20Poly1305 ? 0 : 8 }

    /// Length of the authentication tag.
    var tagLength: Int {
        switch self {
        case .aes128CCM8, .aes256CCM8: 8
        case .aes128GCM, .aes256GCM, .aes128CCM, .aes256CCM, .chaCha20Poly1305: 16
        }
    }

    /// Whether it is counter mode with CBC-MAC, which has to be told its lengths before its key.
    var isCCM: Bool {
        switch self {
        case .aes128CCM, .aes256CCM, .aes128CCM8, .aes256CCM8: true
        case .aes128GCM, .aes256GCM, .chaCha20Poly1305: false
        }
    }

    /// OpenSSL's implementation, an EVP_CIPHER, fetched once.
    var implementation: OpaquePointer? {
        switch self {
        case .aes128GCM: unsafe Self.aes128GCMCipher.pointer
        case .aes256GCM: unsafe Self.aes256GCMCipher.pointer
        case .chaCha20Poly1305: unsafe Self.chaCha20Poly1305Cipher.pointer
        case .aes128CCM, .aes128CCM8: unsafe Self.aes128CCMCipher.pointer
        case .aes256CCM, .aes256CCM8: unsafe Self.aes256CCMCipher.pointer
        }
    }

    // Immutable once fetched, shared by all threads, and kept for as long as the program runs.
    @safe
    private struct FetchedCipher: @unchecked Sendable {
        let pointer: OpaquePointer?
        init(_ name: String) { unsafe pointer = unsafe EVP_CIPHER_fetch(nil, name, nil) }
    }

    private static let aes128GCMCipher = FetchedCipher("AES-128-GCM")
    private static let aes256GCMCipher = FetchedCipher("AES-256-GCM")
    private static let chaCha20Poly1305Cipher = FetchedCipher("ChaCha20-Poly1305")
    private static let aes128CCMCipher = FetchedCipher("AES-128-CCM")
    private static let aes256CCMCipher = FetchedCipher("AES-256-CCM")
}
