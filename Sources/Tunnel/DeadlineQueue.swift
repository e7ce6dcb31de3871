// Timers of any number of subjects: a heap whose stale entries are skipped when they come up, so that arming a timer
// anew is at most one push and never a search. Putting a timer off costs nothing at all: a peer that sends one
// handshake record after another moves a deadline each time, and must not make the heap grow.

public import DTLS
import HeapModule

/// Deadlines, earliest first. Each subject keeps the deadline of its one entry that counts, `armed`; its other entries
/// are stale. The entry may come up too early, and the subject is then to be armed again.
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

    /// The earliest deadline, which may be a stale one.
    public var earliest: Instant? { heap.min?.deadline }

    /// How many entries there are, stale ones included.
    var count: Int { heap.count }

    /// Makes sure that an entry of the subject comes up at `deadline` or before.
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
