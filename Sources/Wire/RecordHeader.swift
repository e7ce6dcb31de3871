// The 13 bytes in front of every DTLS 1.2 record (RFC 6347 §4.1):
//
//     0      1         3        5                      11       13
//     | type | version | epoch  | sequence number      | length |
//
// Parser and writer stand side by side; both work on bytes that a stranger may have made.

/// The epoch and the sequence number of a record, as the one 64-bit number that they are on the wire and in an
/// AEAD's additional data (RFC 6347 §4.1.2.1).
public struct RecordNumber: Hashable, Comparable, Sendable {
    /// `epoch << 48 | sequence`.
    public let rawValue: UInt64

    /// Takes the number as it stands on the wire.
    @inlinable
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// Makes a number; bits of `sequence` beyond 48 are ignored.
    @inlinable
    public init(epoch: UInt16, sequence: UInt64) {
        rawValue = UInt64(epoch) << 48 | sequence & RecordNumber.maximumSequence
    }

    /// The epoch: how often the sender has changed its keys.
    @inlinable
    public var epoch: UInt16 { UInt16(truncatingIfNeeded: rawValue >> 48) }
    /// The number of the record within its epoch.
    @inlinable
    public var sequence: UInt64 { rawValue & RecordNumber.maximumSequence }

    /// The last sequence number of an epoch, 2^48 − 1.
    public static var maximumSequence: UInt64 {
        @inlinable get { 0xffff_ffff_ffff }
    }

    /// Order of sending within one association.
    @inlinable
    public static func < (left: RecordNumber, right: RecordNumber) -> Bool { left.rawValue < right.rawValue }
}

/// A version as it stands in records and hellos.
public struct ProtocolVersion: RawRepresentable, Hashable, Sendable {
    /// The number on the wire, one's complement of the version's digits.
    public let rawValue: UInt16

    /// Any number; see ``isDTLS``.
    @inlinable
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// DTLS 1.0, which first flights carry for compatibility.
    public static var dtls10: ProtocolVersion { ProtocolVersion(rawValue: 0xfeff) }
    /// DTLS 1.2.
    public static var dtls12: ProtocolVersion { ProtocolVersion(rawValue: 0xfefd) }

    /// Whether the major version is DTLS's 254.
    @inlinable
    public var isDTLS: Bool { rawValue >> 8 == 0xfe }
}

/// A record's header.
public struct RecordHeader: Equatable, Sendable {
    /// Length of a header in bytes.
    public static var size: Int {
        @inlinable get { 13 }
    }
    /// The most bytes that a protected record may carry behind its header (RFC 5246 §6.2.3: 2^14 + 2048).
    public static var maximumLength: Int {
        @inlinable get { 18_432 }
    }
    /// The most plaintext bytes that a record may carry (RFC 5246 §6.2.1: 2^14).
    public static var maximumPlaintextLength: Int {
        @inlinable get { 16_384 }
    }

    /// What the record carries.
    public var type: ContentType
    /// The version.
    public var version: ProtocolVersion
    /// Epoch and sequence number.
    public var number: RecordNumber
    /// Bytes behind the header.
    public var length: Int

    /// Makes a header of DTLS 1.2.
    @inlinable
    public init(type: ContentType, version: ProtocolVersion = .dtls12, number: RecordNumber, length: Int) {
        self.type = type
        self.version = version
        self.number = number
        self.length = length
    }

    /// Reads the header of the record at `offset`. Nil where the header or the record that it announces crosses the
    /// end of the datagram, or announces more than a record may hold.
    @inlinable
    public init?(_ datagram: borrowing RawSpan, at offset: Int) {
        guard let type = datagram.uint8(at: offset), let version = datagram.uint16(at: offset + 1),
            let number = datagram.uint64(at: offset + 3), let length = datagram.uint16(at: offset + 11),
            Int(length) <= RecordHeader.maximumLength,
            Int(length) <= datagram.byteCount - offset - RecordHeader.size
        else { return nil }
        self.init(
            type: ContentType(rawValue: type), version: ProtocolVersion(rawValue: version),
            number: RecordNumber(rawValue: number), length: Int(length))
    }

    /// Whether the record at `offset` can only be meant for a handshake that is under way: one in the clear, because epoch
    /// 0 ends with the handshake (RFC 6347 §4.1), and one of handshake messages under any keys, such as a Finished. Looks
    /// at type and epoch alone, so what it says of a record that ``init(_:at:)`` refuses means nothing.
    @inlinable
    public static func isMeantForHandshake(_ datagram: borrowing RawSpan, at offset: Int) -> Bool {
        datagram.uint16(at: offset + 3) == 0 || datagram.uint8(at: offset) == ContentType.handshake.rawValue
    }

    /// Writes the header at `offset`. Returns false, and may have written a part, where it would cross the end.
    @inlinable
    @discardableResult
    public func write(into buffer: inout MutableRawSpan, at offset: Int = 0) -> Bool {
        buffer.write(type.rawValue, at: offset) && buffer.write(version.rawValue, at: offset + 1)
            && buffer.write(number.rawValue, at: offset + 3)
            && buffer.write(UInt16(truncatingIfNeeded: length), at: offset + 11)
    }
}
