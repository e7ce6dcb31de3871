// The 12 bytes in front of every handshake message or fragment of one (RFC 6347 §4.2.2).

/// The header of a handshake message's fragment.
public struct HandshakeHeader: Equatable, Sendable {
    /// Length of a header in bytes.
    public static let size = 12

    /// The kind of message (RFC 5246 §7.4).
    public struct MessageType: RawRepresentable, Hashable, Sendable {
        /// The number on the wire.
        public let rawValue: UInt8
        /// Any number.
        public init(rawValue: UInt8) { self.rawValue = rawValue }

        /// hello_request.
        public static let helloRequest = MessageType(rawValue: 0)
        /// client_hello.
        public static let clientHello = MessageType(rawValue: 1)
        /// hello_verify_request.
        public static let helloVerifyRequest = MessageType(rawValue: 3)
        /// new_session_ticket.
        public static let newSessionTicket = MessageType(rawValue: 4)
        /// finished.
        public static let finished = MessageType(rawValue: 20)
    }

    /// The kind of message.
    public var type: MessageType
    /// Bytes of the whole message, headers apart.
    public var length: Int
    /// The message's number in its handshake.
    public var sequence: UInt16
    /// Where this fragment begins in the message.
    public var fragmentOffset: Int
    /// Bytes of this fragment.
    public var fragmentLength: Int

    /// Makes the header of a message that is not fragmented.
    public init(type: MessageType, length: Int, sequence: UInt16) {
        self.type = type
        self.length = length
        self.sequence = sequence
        fragmentOffset = 0
        fragmentLength = length
    }

    /// Reads the header at `offset` of a handshake record's content; nil where the fragment crosses the content's end
    /// or the message's.
    public init?(_ content: borrowing RawSpan, at offset: Int = 0) {
        guard let type = content.uint8(at: offset), let length = content.uint24(at: offset + 1),
            let sequence = content.uint16(at: offset + 4), let fragmentOffset = content.uint24(at: offset + 6),
            let fragmentLength = content.uint24(at: offset + 9),
            Int(fragmentLength) <= content.byteCount - offset - HandshakeHeader.size,
            fragmentOffset + fragmentLength <= length
        else { return nil }
        self.type = MessageType(rawValue: type)
        self.length = Int(length)
        self.sequence = sequence
        self.fragmentOffset = Int(fragmentOffset)
        self.fragmentLength = Int(fragmentLength)
    }

    /// Writes the header at `offset`. Returns false, and may have written a part, where it would cross the end.
    @discardableResult
    public func write(into buffer: inout MutableRawSpan, at offset: Int) -> Bool {
        buffer.write(UInt32(type.rawValue) << 24 | UInt32(truncatingIfNeeded: length) & 0xff_ffff, at: offset)
            && buffer.write(sequence, at: offset + 4)
            && buffer.write(UInt16(truncatingIfNeeded: fragmentOffset >> 8), at: offset + 6)
            && buffer.write(UInt8(truncatingIfNeeded: fragmentOffset), at: offset + 8)
            && buffer.write(UInt16(truncatingIfNeeded: fragmentLength >> 8), at: offset + 9)
            && buffer.write(UInt8(truncatingIfNeeded: fragmentLength), at: offset + 11)
    }
}
