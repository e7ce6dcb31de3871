// The seam behind which the cookie's HMAC stands.

/// An HMAC-SHA256 under a key that its implementation holds.
public protocol MessageAuthentication: AnyObject {
    /// The tag over `message`. Allocates nothing that outlives the call.
    func tag(_ message: borrowing RawSpan) -> AuthenticationTag
}

/// The 32 bytes of an HMAC-SHA256.
public struct AuthenticationTag: Equatable, Sendable {
    /// Length in bytes.
    public static let size = 32

    /// The tag as four big-endian numbers.
    public var words: [4 of UInt64]

    /// Takes a tag from four big-endian numbers.
    public init(words: [4 of UInt64]) { self.words = words }

    /// Compares without a branch on the content, so that timing says nothing about where two tags differ.
    public static func == (left: AuthenticationTag, right: AuthenticationTag) -> Bool {
        var difference: UInt64 = 0
        for index in 0..<4 { difference |= left.words[index] ^ right.words[index] }
        return difference == 0
    }
}
