// What a record carries.

/// The content type of a record (RFC 5246 §6.2.1 and its registry).
public struct ContentType: RawRepresentable, Hashable, Sendable {
    /// The number on the wire.
    public let rawValue: UInt8

    /// Any number; a peer may send types that this program does not know.
    @inlinable
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// change_cipher_spec.
    public static var changeCipherSpec: ContentType { ContentType(rawValue: 20) }
    /// alert.
    public static var alert: ContentType { ContentType(rawValue: 21) }
    /// handshake.
    public static var handshake: ContentType { ContentType(rawValue: 22) }
    /// application_data.
    public static var applicationData: ContentType { ContentType(rawValue: 23) }
    /// heartbeat (RFC 6520 §3).
    public static var heartbeat: ContentType { ContentType(rawValue: 24) }
}
