// From a finished handshake to the keys of epoch 1 (RFC 5246 §6.3):
//
//     key block = PRF(master secret, "key expansion", server random, client random)
//               = client key | server key | client fixed nonce | server fixed nonce
//
// AEADs have no MAC keys. With an extended master secret (RFC 7627) nothing differs: the master secret that OpenSSL
// stores is that one already. Only to be used after the handshake: before the ServerHello is read, a client that
// offered a session would answer with that session's master secret.

internal import COpenSSL

/// Derives keys from a handshake, which is an SSL whose state machine has finished.
enum KeySchedule {
    /// The protection of both directions, as the end that `isServer` tells sees it.
    static func protection(
        of ssl: OpaquePointer, suite: CipherSuite, isServer: Bool
    ) throws(OpenSSLError) -> OpenSSLRecordProtection {
        let algorithm = suite.algorithm
        let keyBlock = try unsafe keyBlock(
            of: ssl, digest: suite.digest, length: 2 * (algorithm.keyLength + algorithm.fixedNonceLength))
        return try OpenSSLRecordProtection(RecordKeys(algorithm, block: keyBlock, isServer: isServer))
    }

    private static func keyBlock(
        of ssl: OpaquePointer, digest: String, length: Int
    ) throws(OpenSSLError) -> SecretBytes {
        let secret = unsafe SecretBytes(capacity: 48) { (target) in
            unsafe SSL_SESSION_get_master_key(SSL_get_session(ssl), target.baseAddress, target.count)
        }
        var clientRandom = [UInt8](repeating: 0, count: 32)
        var serverRandom = [UInt8](repeating: 0, count: 32)
        let copied =
            unsafe SSL_get_client_random(ssl, &clientRandom, 32) + SSL_get_server_random(ssl, &serverRandom, 32)
        guard secret.count == 48, copied == 64 else {
            throw OpenSSLError(takenDuring: "reading the master secret")
        }
        let context = try unsafe OpenSSLError.wrap("starting the key derivation") {
            unsafe EVP_KDF_CTX_new(TLS12PRF.shared.pointer)
        }
        defer { unsafe EVP_KDF_CTX_free(context) }
        return try unsafe SecretBytes(capacity: length) { (target) throws(OpenSSLError) in
            try OpenSSLError.check("deriving the keys") {
                unsafe secret.bytes.withUnsafeBufferPointer { secret in
                    unsafe culvert_tls_prf(
                        context, digest, secret.baseAddress, secret.count, "key expansion", serverRandom, clientRandom,
                        32, target.baseAddress, target.count)
                }
            }
            return target.count
        }
    }

    @safe
    private struct TLS12PRF: @unchecked Sendable {
        // Immutable once fetched, and kept for as long as the program runs.
        let pointer: OpaquePointer?
        static let shared = unsafe TLS12PRF(pointer: EVP_KDF_fetch(nil, "TLS1-PRF", nil))
    }
}
