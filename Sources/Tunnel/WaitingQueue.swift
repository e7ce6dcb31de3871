// Datagrams that wait for an association. When there are too many, the oldest are dropped first: in every protocol that
// culvert carries, the newest datagram is worth the most.

import Wire

/// A bounded queue of datagrams.
struct WaitingQueue {
    /// The most datagrams that wait for one flow.
    static let maximumCount = 128
    /// The most bytes that wait for one flow.
    static let maximumBytes = 131_072

    private var datagrams: [[UInt8]] = []
    private(set) var byteCount = 0

    var isEmpty: Bool { datagrams.isEmpty }
    var count: Int { datagrams.count }

    /// Adds a datagram; returns how many had to go to make room.
    mutating func append(_ datagram: borrowing RawSpan) -> Int {
        var dropped = 0
        while !datagrams.isEmpty,
            datagrams.count >= WaitingQueue.maximumCount
                || byteCount + datagram.byteCount > WaitingQueue.maximumBytes
        {
            byteCount -= datagrams.removeFirst().count
            dropped += 1
        }
        byteCount += datagram.byteCount
        datagrams.append(datagram.copied())
        return dropped
    }

    /// Empties the queue; returns what was in it, in order.
    mutating func takeAll() -> [[UInt8]] {
        defer { self = WaitingQueue() }
        return datagrams
    }
}
