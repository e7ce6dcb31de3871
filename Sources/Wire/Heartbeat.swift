// Heartbeats (RFC 6520): the extension that says who may ask, and the messages.
//
//     0      1                3            3 + n
//     | type | payload_length | payload    | padding, at least 16 |
//
// The length inside the message is only what the peer claims; everything here uses lengths that have been compared with
// the record's own (CVE-2014-0160 is what happens otherwise).

/// What an end says about heartbeats in its hello (RFC 6520 §2).
public enum HeartbeatMode: UInt8, Sendable {
    /// It answers requests.
    case peerAllowedToSend = 1
    /// It wants no requests, but may send some.
    case peerNotAllowedToSend = 2

    /// The number of the hello extension.
    public static let extensionType: UInt16 = 15
}

/// A heartbeat message as it stands in the plaintext of a record.
public struct HeartbeatMessage: Equatable, Sendable {
    /// Which of the two it is.
    public enum Kind: UInt8, Sendable {
        /// Asks for the payload back.
        case request = 1
        /// Brings it back.
        case response = 2
    }

    /// Bytes in front of the payload.
    public static let headerSize = 3
    /// The least padding in bytes (RFC 6520 §4).
    public static let minimumPadding = 16
    /// The most bytes of a whole message (RFC 6520 §4: 2^14).
    public static let maximumSize = 16_384

    /// Which of the two it is.
    public let kind: Kind
    /// Where in the content the payload stands.
    public let payload: Range<Int>

    /// Reads a record's content; nil where it has to be dropped silently (RFC 6520 §4): an unknown kind, a payload that
    /// does not fit, too little padding, or more than 2^14 bytes.
    public init?(_ content: borrowing RawSpan) {
        guard content.byteCount <= HeartbeatMessage.maximumSize, let first = content.uint8(at: 0),
            let kind = Kind(rawValue: first), let length = content.uint16(at: 1),
            HeartbeatMessage.size(payload: Int(length)) <= content.byteCount
        else { return nil }
        self.kind = kind
        payload = HeartbeatMessage.headerSize..<HeartbeatMessage.headerSize + Int(length)
    }

    /// Bytes of a message with this payload and the least padding.
    public static func size(payload: Int) -> Int { headerSize + payload + minimumPadding }

    /// The bytes of a message of `size` bytes, or of as few as the payload needs if that is more. Padding comes from
    /// `random`. Nil where it would be longer than ``maximumSize``.
    public static func bytes(
        _ kind: Kind, payload: borrowing RawSpan, size: Int = 0, random: inout some RandomNumberGenerator
    ) -> [UInt8]? {
        let size = max(size, HeartbeatMessage.size(payload: payload.byteCount))
        guard size <= maximumSize else { return nil }
        var bytes = [UInt8](repeating: 0, count: size)
        bytes.withMutableBytes { buffer in
            buffer.write(kind.rawValue, at: 0)
            buffer.write(UInt16(truncatingIfNeeded: payload.byteCount), at: 1)
            buffer.write(payload, at: headerSize)
            var offset = headerSize + payload.byteCount
            while offset + 8 <= size {
                buffer.write(random.next() as UInt64, at: offset)
                offset += 8
            }
            while offset < size {
                buffer.write(UInt8(truncatingIfNeeded: random.next() as UInt64), at: offset)
                offset += 1
            }
        }
        return bytes
    }
}
