// How an association's owner goes through the records of a datagram: it pulls them one by one, and nothing is called back.

public import Wire

/// What a record has turned out to be.
public enum ReceivedRecord: Equatable, Sendable {
    /// Authentic data, and its range in the datagram. The owner counts it, as delivered or as dropped.
    case data(Range<Int>)
    /// An authentic record that carries no data: the association has dealt with it.
    case control
    /// A record that is not authentic, or not yet: kept, given to the handshake, or dropped and counted.
    case handled
    /// There are no more records in the datagram.
    case end
}

/// Where in a datagram the next record begins.
public struct RecordCursor: Sendable {
    /// The offset of the next record.
    public private(set) var offset = 0
    /// Whether the records have been counted before.
    let isCounted: Bool
    private var isAtStart = true

    /// A cursor at a datagram's start. A datagram of no bytes is a malformed record.
    public init() { isCounted = false }

    private init(isCounted: Bool) { self.isCounted = isCounted }

    /// A cursor for records that were counted when they came.
    public static var counted: RecordCursor { RecordCursor(isCounted: true) }

    /// Whether a datagram of this many bytes has no more records.
    func isAtEnd(of byteCount: Int) -> Bool { !isAtStart && offset >= byteCount }

    /// Moves behind the record with this header; returns where it began.
    @discardableResult
    mutating func advance(over header: RecordHeader) -> Int {
        isAtStart = false
        defer { offset += RecordHeader.size + header.length }
        return offset
    }

    /// Gives up the rest of a datagram of this many bytes.
    mutating func skipAll(of byteCount: Int) {
        isAtStart = false
        offset = byteCount
    }
}
