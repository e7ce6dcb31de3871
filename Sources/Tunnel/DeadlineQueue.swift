// Timers of any number of subjects: a heap whose stale entries are skipped when they come up, so that arming a timer anew is at
// most one push and never a search. A timer that is put off costs nothing at all: whoever sends a handshake record after the
// other moves its deadline each time, and must not make the heap grow by that.

public import DTLS
import HeapModule

/// Deadlines, earliest first. Each subject keeps the deadline of the one entry that counts, `armed`; another entry of it is
/// stale. That entry may come up too early, and is then to be armed anew.
public struct DeadlineQueue<Subject> {
    private struct Entry: Comparable {
        let deadline: Instant
        let subject: Subject

        static func < (left: Entry, right: Entry) -> Bool { left.deadline < right.deadline }
        static func == (left: Entry, right: Entry) -> Bool { left.deadline == right.deadline }
    }

    private var heap = Heap<Entry>()

    /// A queue without entries.
    public init() {}

    /// The earliest deadline, a stale one perhaps.
    public var earliest: Instant? { heap.min?.deadline }

    /// How many entries there are, stale ones included.
    var count: Int { heap.count }

    /// Makes an entry of the subject come up at `deadline` or before.
    public mutating func arm(_ subject: Subject, at deadline: Instant, armed: inout Instant?) {
        if let armed, armed <= deadline { return }
        armed = deadline
        heap.insert(Entry(deadline: deadline, subject: subject))
    }

    /// Removes and returns the earliest entry that is due.
    public mutating func popDue(_ now: Instant) -> (subject: Subject, deadline: Instant)? {
        guard let entry = heap.min, entry.deadline <= now else { return nil }
        heap.removeMin()
        return (entry.subject, entry.deadline)
    }
}
