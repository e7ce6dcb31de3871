// The HMAC-SHA256 behind the cookie exchange (RFC 6347 §4.2.1), with its key set once.

internal import COpenSSL
public import DTLS
import Wire

/// What the keys of all cookies of a daemon are derived from, so that its workers take each other's.
public struct CookieSecret: Sendable {
    fileprivate let whole: SecretBytes

    /// Makes a secret of 32 random bytes that nobody else ever sees.
    public init() throws(OpenSSLError) { whole = try SecretBytes.random(count: 32) }
}

/// A key for HMAC-SHA256. Not to be shared between threads.
@safe
public final class CookieKey: MessageAuthentication {
    private let context: OpaquePointer

    /// Makes the key that belongs to a period of time (``CookieExchange/period(at:)``) under a secret: the HMAC of the
    /// period's number.
    public convenience init(_ secret: CookieSecret, period: Int64) throws(OpenSSLError) {
        let message = (0..<8).map { UInt8(truncatingIfNeeded: period >> (8 * (7 - $0))) }
        let derived = try CookieKey(key: secret.whole).tag(message.bytes)
        let key = unsafe SecretBytes(capacity: AuthenticationTag.size) { (target) in
            for place in unsafe target.indices {
                unsafe target[place] = UInt8(truncatingIfNeeded: derived.words[place / 8] >> (8 * (7 - place % 8)))
            }
            return target.count
        }
        try self.init(key: key)
    }

    /// Takes a key.
    init(key: SecretBytes) throws(OpenSSLError) {
        unsafe context = try unsafe OpenSSLError.wrap("making an HMAC") {
            guard let hmac = unsafe EVP_MAC_fetch(nil, "HMAC", nil) else { return nil }
            // The context holds on to what it was made from.
            defer { unsafe EVP_MAC_free(hmac) }
            return unsafe EVP_MAC_CTX_new(hmac)
        }
        try OpenSSLError.check("setting an HMAC's key") {
            unsafe key.bytes.withUnsafeBufferPointer {
                unsafe culvert_init_hmac_sha256(context, $0.baseAddress, $0.count)
            }
        }
    }

    deinit {
        unsafe EVP_MAC_CTX_free(context)
    }

    /// The HMAC-SHA256 of `message`.
    public func tag(_ message: borrowing RawSpan) -> AuthenticationTag {
        var digest: [32 of UInt8] = .init(repeating: 0)
        let isMade = unsafe message.withUnsafeBytes { bytes in
            var span = digest.mutableSpan
            return unsafe span.withUnsafeMutableBufferPointer { target in
                unsafe culvert_hmac(context, bytes.baseAddress, bytes.count, target.baseAddress) == 1
            }
        }
        // Out of memory: a tag that nobody can have guessed.
        guard isMade else { return AuthenticationTag(words: .init { _ in .random(in: 0 ... .max) }) }
        return AuthenticationTag(
            words: .init { word in
                (0..<8).reduce(0) { $0 << 8 | UInt64(digest[8 * word + $1]) }
            })
    }
}
