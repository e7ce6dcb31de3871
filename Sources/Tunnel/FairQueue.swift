// Datagrams of several flows that wait for their turn on one association. Each flow has a bounded queue, whose oldest
// datagram gives way, and the flows take turns, so that a flow that floods harms only itself.

import DequeModule
import Wire

/// Queues that take turns.
struct FairQueue {
    /// The most datagrams that wait for one flow.
    static let maximumCount = 256
    /// The most bytes that wait for one flow.
    static let maximumBytes = 262_144
    /// The most bytes that wait in all queues together.
    static let maximumTotalBytes = 16_777_216

    private struct Queue {
        var datagrams = Deque<[UInt8]>()
        var byteCount = 0

        /// Adds a datagram; returns how many had to go, and how many bytes they had.
        mutating func append(_ datagram: borrowing RawSpan) -> (count: Int, byteCount: Int) {
            var dropped = (count: 0, byteCount: 0)
            while let oldest = datagrams.first,
                datagrams.count >= FairQueue.maximumCount || byteCount + datagram.byteCount > FairQueue.maximumBytes
            {
                datagrams.removeFirst()
                byteCount -= oldest.count
                dropped.count += 1
                dropped.byteCount += oldest.count
            }
            datagrams.append(datagram.copied())
            byteCount += datagram.byteCount
            return dropped
        }
    }

    private var queues: [Int32: Queue] = [:]
    private var turns = Deque<Int32>()
    private(set) var byteCount = 0

    var isEmpty: Bool { turns.isEmpty }

    /// Whether datagrams of this flow wait; later ones must not overtake them.
    func holds(_ flow: Int32) -> Bool { queues[flow] != nil }

    /// Adds a datagram; returns how many of the flow's had to go, the new one perhaps among them.
    mutating func append(_ datagram: borrowing RawSpan, of flow: Int32) -> Int {
        guard byteCount + datagram.byteCount <= Self.maximumTotalBytes else { return 1 }
        if queues[flow] == nil { turns.append(flow) }
        let dropped = queues[flow, default: Queue()].append(datagram)
        byteCount += datagram.byteCount - dropped.byteCount
        return dropped.count
    }

    /// Takes the oldest datagram of the flow whose turn it is.
    mutating func next() -> (flow: Int32, datagram: [UInt8])? {
        guard let flow = turns.popFirst(), let datagram = queues[flow]?.datagrams.popFirst() else { return nil }
        queues[flow]?.byteCount -= datagram.count
        byteCount -= datagram.count
        if queues[flow]?.datagrams.isEmpty == true { queues[flow] = nil } else { turns.append(flow) }
        return (flow, datagram)
    }

    /// Forgets a flow; returns how many datagrams it had waiting.
    mutating func remove(_ flow: Int32) -> Int {
        guard let queue = queues.removeValue(forKey: flow) else { return 0 }
        byteCount -= queue.byteCount
        turns.removeAll { $0 == flow }
        return queue.datagrams.count
    }
}
