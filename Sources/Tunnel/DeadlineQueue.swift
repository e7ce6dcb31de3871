// The timers of all flows of a tunnel: a heap whose stale entries are skipped when they come up, so that arming a
// timer anew is at most one push and never a search. A timer that is put off costs nothing at all: whoever sends a
// handshake record after the other moves its deadline each time, and must not make the heap grow by that.

import DTLS
import HeapModule

/// Deadlines of flows, earliest first. Each flow keeps the deadline of the one entry that counts, `armed`; another entry
/// of it is stale. That entry may come up too early, and is then to be armed anew.
struct DeadlineQueue {
    private struct Entry: Comparable {
        let deadline: Instant
        let flow: FlowID

        static func < (left: Entry, right: Entry) -> Bool { left.deadline < right.deadline }
    }

    private var heap = Heap<Entry>()

    /// The earliest deadline, a stale one perhaps.
    var earliest: Instant? { heap.min?.deadline }

    /// How many entries there are, stale ones included.
    var count: Int { heap.count }

    /// Makes an entry of the flow come up at `deadline` or before.
    mutating func arm(_ flow: FlowID, at deadline: Instant, armed: inout Instant?) {
        if let armed, armed <= deadline { return }
        armed = deadline
        heap.insert(Entry(deadline: deadline, flow: flow))
    }

    /// Removes and answers the earliest entry that is due.
    mutating func popDue(_ now: Instant) -> (flow: FlowID, deadline: Instant)? {
        guard let entry = heap.min, entry.deadline <= now else { return nil }
        heap.removeMin()
        return (entry.flow, entry.deadline)
    }
}
