// The timers of all flows of a tunnel: a heap whose stale entries are skipped when they come up, so that arming a
// timer anew is one push and never a search.

import DTLS
import HeapModule

/// Deadlines of flows, earliest first. A flow's latest deadline is kept by the flow; an entry that does not equal it
/// any more is stale.
struct DeadlineQueue {
    private struct Entry: Comparable {
        let deadline: Instant
        let flow: FlowID

        static func < (left: Entry, right: Entry) -> Bool { left.deadline < right.deadline }
    }

    private var heap = Heap<Entry>()

    /// The earliest deadline, a stale one perhaps.
    var earliest: Instant? { heap.min?.deadline }

    mutating func arm(_ flow: FlowID, at deadline: Instant) {
        heap.insert(Entry(deadline: deadline, flow: flow))
    }

    /// Removes and answers the earliest entry that is due.
    mutating func popDue(_ now: Instant) -> (flow: FlowID, deadline: Instant)? {
        guard let entry = heap.min, entry.deadline <= now else { return nil }
        heap.removeMin()
        return (entry.flow, entry.deadline)
    }
}
