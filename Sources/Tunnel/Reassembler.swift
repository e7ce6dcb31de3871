// Puts datagrams together from the fragments of one shared association (docs/PROTOCOL.md, "Fragmentation"). The order
// of fragments does not matter; an overlap or a contradiction discards the whole datagram, as RFC 5722 demands for
// IPv6.
//
// The peer that sends the fragments is authenticated but may still be hostile. What is held is what has arrived, never
// what an offset announces, and it is bounded in bytes, datagrams and time; the oldest datagram gives way.

public import DTLS
public import Wire

/// The datagrams of one association that have arrived in part.
public struct Reassembler {
    /// What became of a fragment.
    public enum Outcome: Equatable, Sendable {
        /// It was kept; others are still missing.
        case incomplete
        /// It was the last one missing; here is the datagram.
        case complete([UInt8])
        /// It is of no use.
        case discarded(Reason)
    }

    /// Why a fragment is of no use.
    public enum Reason: Equatable, Sendable {
        /// It overlaps another, disagrees about the datagram's end or its flow, or reaches beyond the largest datagram. Its
        /// datagram is discarded with it.
        case contradiction
        /// There was no room for it. Its datagram is discarded with it.
        case limit
        /// Its datagram was delivered or discarded before, or is so far behind the newest ones that nothing is known of
        /// it. The datagram is not begun again and not counted again.
        case late
    }

    /// The most bytes that incomplete datagrams of an association hold, bookkeeping included.
    public static let maximumBytes = 512 * 1024
    /// The most incomplete datagrams of an association.
    public static let maximumDatagrams = 64
    /// How long a datagram may be incomplete.
    public static let timeout = Duration.seconds(5)

    /// In the order of their first fragments' arrival, which is the order of their deadlines.
    private var datagrams: [PartialDatagram] = []
    /// Which datagrams were delivered or discarded. An array, so that an association without fragments does not hold it.
    private var ended: [ReplayWindow] = []
    private var discarded: [UInt64] = []
    /// Bytes that are held, bookkeeping included, so that many small fragments count for what they really take.
    public private(set) var byteCount = 0

    /// A reassembler that holds nothing.
    public init() {}

    /// How many datagrams are incomplete.
    public var count: Int { datagrams.count }

    /// When ``handleTimeout(now:)`` has something to do; nil for never.
    public var deadline: Instant? { datagrams.first?.deadline }

    /// Whether a fragment of this datagram would be its first. To be asked after ``handleTimeout(now:)``.
    public func isNew(_ datagram: UInt64) -> Bool {
        index(of: datagram) == nil && (ended.isEmpty || ended[0].admits(datagram))
    }

    /// Takes a fragment of `flow`, whose bytes are `payload`; `fragment.payload` is not looked at. Other datagrams may be
    /// discarded to make room; see ``takeDiscarded()``.
    public mutating func take(
        flow: UInt64, fragment: SharedFrame.Fragment, payload: borrowing RawSpan, now: Instant
    ) -> Outcome {
        handleTimeout(now: now)
        guard let index = index(of: fragment.datagram) ?? begin(fragment.datagram, flow: flow, now: now) else {
            return .discarded(.late)
        }
        let before = datagrams[index].byteCount
        guard datagrams[index].flow == flow, datagrams[index].insert(fragment, payload) else {
            discard(at: index)
            return .discarded(.contradiction)
        }
        byteCount += datagrams[index].byteCount - before
        if let whole = datagrams[index].whole {
            remove(at: index)
            return .complete(whole)
        }
        while byteCount > Reassembler.maximumBytes || count > Reassembler.maximumDatagrams { discard(at: 0) }
        return self.index(of: fragment.datagram) == nil ? .discarded(.limit) : .incomplete
    }

    /// Discards the datagrams whose time is over.
    public mutating func handleTimeout(now: Instant) {
        while let deadline, deadline <= now { discard(at: 0) }
    }

    /// Discards what has arrived for a flow that has ended.
    public mutating func forget(flow: UInt64) {
        for index in datagrams.indices.reversed() where datagrams[index].flow == flow { discard(at: index) }
    }

    /// Discards everything.
    public mutating func discardAll() {
        while !datagrams.isEmpty { discard(at: 0) }
    }

    /// The flows of the datagrams that were discarded since this was last asked: one entry for each datagram, so that its
    /// owner can count every datagram that did not become whole once. To be asked after each of the calls above.
    public mutating func takeDiscarded() -> [UInt64] {
        guard !discarded.isEmpty else { return [] }
        defer { discarded = [] }
        return discarded
    }

    private func index(of datagram: UInt64) -> Int? {
        // Fragments of one datagram arrive close together.
        datagrams.lastIndex { $0.id == datagram }
    }

    private mutating func begin(_ id: UInt64, flow: UInt64, now: Instant) -> Int? {
        if ended.isEmpty { ended = [ReplayWindow()] }
        guard ended[0].admits(id) else { return nil }
        let datagram = PartialDatagram(id: id, flow: flow, deadline: now + Reassembler.timeout)
        byteCount += datagram.byteCount
        datagrams.append(datagram)
        return datagrams.count - 1
    }

    private mutating func discard(at index: Int) {
        discarded.append(datagrams[index].flow)
        remove(at: index)
    }

    private mutating func remove(at index: Int) {
        let datagram = datagrams.remove(at: index)
        byteCount -= datagram.byteCount
        ended[0].insert(datagram.id)
        // An association without fragments costs next to nothing, even if it had some once.
        if datagrams.isEmpty { datagrams = [] }
    }
}

/// The fragments of one datagram so far.
private struct PartialDatagram {
    private struct Piece {
        let offset: Int
        let bytes: [UInt8]
        var end: Int { offset + bytes.count }
    }

    /// An upper bound of what a datagram and a piece of it take beside the bytes: their places in arrays that grow by
    /// doubling, and what stands in front of an array's elements.
    private static let overhead = 192
    private static let pieceOverhead = 96

    let id: UInt64
    let flow: UInt64
    let deadline: Instant
    /// Bytes held, bookkeeping included.
    private(set) var byteCount = PartialDatagram.overhead
    /// In the order of their offsets; they do not overlap.
    private var pieces: [Piece] = []
    private var received = 0
    private var size: Int?

    init(id: UInt64, flow: UInt64, deadline: Instant) {
        self.id = id
        self.flow = flow
        self.deadline = deadline
    }

    /// Adds a fragment. Returns false, and adds nothing, where it cannot be one of this datagram.
    mutating func insert(_ fragment: SharedFrame.Fragment, _ payload: borrowing RawSpan) -> Bool {
        let count = payload.byteCount
        let offset = fragment.offset
        guard offset >= 0, count >= (fragment.isLast ? 1 : SharedFrame.minimumFragmentSize),
            count <= SharedFrame.maximumDatagramSize, offset <= SharedFrame.maximumDatagramSize - count
        else { return false }
        let end = offset + count
        let place = place(of: offset)
        if place > 0, pieces[place - 1].end > offset { return false }
        if place < pieces.count, pieces[place].offset < end { return false }
        if fragment.isLast {
            guard size == nil, place == pieces.count else { return false }
            size = end
        } else if let size, end > size {
            return false
        }
        pieces.insert(Piece(offset: offset, bytes: payload.copied()), at: place)
        received += count
        byteCount += count + PartialDatagram.pieceOverhead
        return true
    }

    /// The datagram, when nothing is missing.
    var whole: [UInt8]? {
        guard received == size else { return nil }
        var datagram: [UInt8] = []
        datagram.reserveCapacity(received)
        for piece in pieces { datagram.append(contentsOf: piece.bytes) }
        return datagram
    }

    /// The index among the pieces of one that begins at `offset`.
    private func place(of offset: Int) -> Int {
        var low = 0
        var high = pieces.count
        while low < high {
            let middle = (low + high) / 2
            if pieces[middle].offset < offset { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
