// Datagrams that wait for an association. What is too much is dropped oldest first: in every protocol that culvert
// carries, the newest datagram is worth the most.

import Wire

/// A bounded queue of datagrams.
struct WaitingQueue {
    /// Most datagrams that wait for one flow.
    static let maximumCount = 128
    /// Most bytes that wait for one flow.
    static let maximumBytes = 131_072

    private var datagrams: [[UInt8]] = []
    private(set) var byteCount = 0

    var isEmpty: Bool { datagrams.isEmpty }
    var count: Int { datagrams.count }

    /// Adds a datagram; answers how many had to go to make room.
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

    /// Empties the queue; answers what was in it, in order.
    mutating func takeAll() -> [[UInt8]] {
        defer { self = WaitingQueue() }
        return datagrams
    }
}
