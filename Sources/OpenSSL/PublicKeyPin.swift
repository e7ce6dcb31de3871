// A pin: the SHA-256 of a certificate's SubjectPublicKeyInfo (RFC 7469 §2.4's choice), written
// `sha256:BASE64`. It names a key pair, not a certificate, so it survives a renewal with the same key.
// Only the canonical spelling is read, so that equal pins are equal texts.

internal import COpenSSL

/// The SHA-256 of a SubjectPublicKeyInfo.
public struct PublicKeyPin: Hashable, Sendable, CustomStringConvertible {
    // Four words rather than an array: pins are set members and are compared on every handshake.
    private let words: Words

    private struct Words: Hashable {
        var first: UInt64 = 0
        var second: UInt64 = 0
        var third: UInt64 = 0
        var fourth: UInt64 = 0
    }

    /// Reads `sha256:` and 44 characters of base64 (RFC 4648 §4); nil for anything else.
    public init?(_ text: some StringProtocol) {
        let bytes = Array(text.utf8)
        guard bytes.starts(with: Self.prefix.utf8), bytes.count == Self.prefix.utf8.count + 44, bytes.last == 61
        else { return nil }
        var digest: [UInt8] = []
        var bits: UInt32 = 0
        for (index, character) in bytes.dropFirst(Self.prefix.utf8.count).dropLast().enumerated() {
            guard let value = Self.alphabet.firstIndex(of: character) else { return nil }
            bits = (bits << 6 | UInt32(value)) & 0xff_ffff
            if index % 4 == 3 { digest += [UInt8(bits >> 16), UInt8(bits >> 8 & 255), UInt8(bits & 255)] }
        }
        // 43 characters carry 258 bits; the last two have to be zero in the one canonical spelling.
        guard bits & 3 == 0 else { return nil }
        digest += [UInt8(bits >> 10 & 255), UInt8(bits >> 2 & 255)]
        self.init(digest: digest.span)
    }

    /// Takes a digest's 32 bytes; nil for another number of them.
    public init?(bytes: [UInt8]) {
        guard bytes.count == 32 else { return nil }
        self.init(digest: bytes.span)
    }

    /// Hashes a DER SubjectPublicKeyInfo.
    init(subjectPublicKeyInfo der: UnsafeBufferPointer<UInt8>) throws(OpenSSLError) {
        var digest = [UInt8](repeating: 0, count: 32)
        try OpenSSLError.check("hashing a public key") {
            unsafe EVP_Digest(der.baseAddress, der.count, &digest, nil, EVP_sha256(), nil)
        }
        self.init(digest: digest.span)
    }

    private init(digest: Span<UInt8>) {
        func word(_ start: Int) -> UInt64 {
            (start..<start + 8).reduce(0) { $0 << 8 | UInt64(digest[$1]) }
        }
        words = Words(first: word(0), second: word(8), third: word(16), fourth: word(24))
    }

    /// `sha256:` and the base64 of the hash.
    public var description: String {
        var result = Self.prefix
        let parts = [words.first, words.second, words.third, words.fourth]
        func byte(_ index: Int) -> UInt32 {
            index < 32 ? UInt32(parts[index / 8] >> (56 - 8 * UInt64(index % 8)) & 255) : 0
        }
        for start in stride(from: 0, to: 33, by: 3) {
            let bits = byte(start) << 16 | byte(start + 1) << 8 | byte(start + 2)
            for shift: UInt32 in [18, 12, 6, 0] {
                result.unicodeScalars.append(Unicode.Scalar(Self.alphabet[Int(bits >> shift & 63)]))
            }
        }
        // 32 bytes leave one to fill up: the last character stands for nothing.
        result.removeLast()
        return result + "="
    }

    private static let prefix = "sha256:"
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
}
