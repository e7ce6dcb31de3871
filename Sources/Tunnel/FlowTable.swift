// The flows and associations of one group: a slab, found by the address on a shared socket, and kept in the order of their
// last activity, so that the oldest idle one is known without a search and one timer serves all idle timeouts.

import DTLS
import Wire

/// A slab of flows with their index and age.
struct FlowTable<Key: Hashable, Content> {
    /// Which queue of ages an entry stands in.
    struct Queue: Hashable {
        fileprivate let number: Int

        /// Handshakes under way.
        static var handshaking: Queue { Queue(number: 0) }
        /// Associations in shared mode.
        static var shared: Queue { Queue(number: 1) }
        /// Flows of the group's tunnel of this number that have, or will have, an association of their own.
        static func flows(of member: Int) -> Queue { Queue(number: 2 + 2 * member) }
        /// Flows of the group's tunnel of this number that a shared association carries.
        static func carried(of member: Int) -> Queue { Queue(number: 3 + 2 * member) }
    }

    private struct Entry {
        /// Nil for what is found by its place alone.
        var key: Key?
        var generation: UInt32
        var isLiving = true
        var content: Content
        var queue = Queue.handshaking
        var touchedAt: Instant
        var older: Int32 = -1
        var newer: Int32 = -1
    }

    private struct Ends {
        var oldest: Int32 = -1
        var newest: Int32 = -1
        var count = 0
    }

    private var entries: ContiguousArray<Entry> = []
    private var free: [Int32] = []
    private var indices: [Key: Int32] = [:]
    private var queues: [Ends]
    private var last: (key: Key, index: Int32)?
    private let vacant: Content
    /// Activity is noted no finer than this: moving a flow in its queue for each datagram would cost more than knowing its age
    /// to the nanosecond is worth.
    var granularity: Duration

    /// `vacant` is what an empty place holds, `members` how many tunnels the group has.
    init(vacant: Content, members: Int, granularity: Duration) {
        queues = Array(repeating: Ends(), count: 2 + 2 * members)
        self.vacant = vacant
        self.granularity = granularity
    }

    /// How many entries there are.
    var count: Int { entries.count - free.count }

    /// How many entries stand in `queue`.
    func count(in queue: Queue) -> Int { queues[queue.number].count }

    /// The entry with this address.
    mutating func index(of key: Key) -> Int32? {
        // Datagrams come in runs.
        if let last, last.key == key { return last.index }
        guard let index = indices[key] else { return nil }
        last = (key, index)
        return index
    }

    /// The entry's place, if it still lives.
    func index(of id: FlowID) -> Int32? {
        let index = Int(id.index)
        guard entries.indices.contains(index), entries[index].generation == id.generation, entries[index].isLiving
        else { return nil }
        return id.index
    }

    /// The id of a living entry.
    func id(_ index: Int32) -> FlowID {
        FlowID(index: index, generation: entries[Int(index)].generation)
    }

    /// The address of a living entry that has one.
    func key(_ index: Int32) -> Key? { entries[Int(index)].key }

    /// Gives a living entry another address, or takes the one that it has away.
    mutating func setKey(_ index: Int32, _ key: Key?) {
        forgetKey(index)
        entries[Int(index)].key = key
        if let key { indices[key] = index }
    }

    /// The living entry at this place.
    subscript(index: Int32) -> Content {
        _read { yield entries[Int(index)].content }
        _modify { yield &entries[Int(index)].content }
    }

    /// Since when a living entry has been idle, as finely as that is noted.
    func touchedAt(_ index: Int32) -> Instant { entries[Int(index)].touchedAt }

    /// Adds an entry as the newest of `queue`.
    mutating func insert(_ key: Key?, _ content: Content, in queue: Queue, now: Instant) -> Int32 {
        let index: Int32
        if let reused = free.popLast() {
            index = reused
            entries[Int(index)].key = key
            entries[Int(index)].isLiving = true
            entries[Int(index)].content = content
            entries[Int(index)].touchedAt = now
        } else {
            index = Int32(entries.count)
            entries.append(Entry(key: key, generation: 0, content: content, touchedAt: now))
        }
        if let key { indices[key] = index }
        link(index, to: queue)
        return index
    }

    /// Removes a living entry.
    mutating func remove(_ index: Int32) {
        unlink(index)
        forgetKey(index)
        entries[Int(index)].generation &+= 1
        free.append(index)
        entries[Int(index)].isLiving = false
        entries[Int(index)].content = vacant
    }

    /// Notes that the entry is active.
    mutating func touch(_ index: Int32, now: Instant) {
        guard now - entries[Int(index)].touchedAt >= granularity else { return }
        move(index, to: entries[Int(index)].queue, now: now)
    }

    /// Makes the entry the newest of `queue`.
    mutating func move(_ index: Int32, to queue: Queue, now: Instant) {
        unlink(index)
        entries[Int(index)].touchedAt = now
        link(index, to: queue)
    }

    /// The entry of `queue` that has been idle the longest, and since when.
    func oldest(in queue: Queue) -> (index: Int32, touchedAt: Instant)? {
        let index = queues[queue.number].oldest
        return index < 0 ? nil : (index, entries[Int(index)].touchedAt)
    }

    /// The places of all living entries, in no order.
    var living: [Int32] {
        var places: [Int32] = []
        places.reserveCapacity(count)
        // No closure, here and where all flows are gone through: in one the compiler does not know the content's kind, and
        // copies it.
        for index in entries.indices where entries[index].isLiving { places.append(Int32(index)) }
        return places
    }

    private mutating func forgetKey(_ index: Int32) {
        if let key = entries[Int(index)].key { indices[key] = nil }
        entries[Int(index)].key = nil
        if last?.index == index { last = nil }
    }

    private mutating func link(_ index: Int32, to queue: Queue) {
        let newest = queues[queue.number].newest
        entries[Int(index)].queue = queue
        entries[Int(index)].older = newest
        entries[Int(index)].newer = -1
        if newest >= 0 { entries[Int(newest)].newer = index } else { queues[queue.number].oldest = index }
        queues[queue.number].newest = index
        queues[queue.number].count += 1
    }

    private mutating func unlink(_ index: Int32) {
        let entry = entries[Int(index)]
        let queue = entry.queue.number
        if entry.older >= 0 {
            entries[Int(entry.older)].newer = entry.newer
        } else {
            queues[queue].oldest = entry.newer
        }
        if entry.newer >= 0 {
            entries[Int(entry.newer)].older = entry.older
        } else {
            queues[queue].newest = entry.older
        }
        queues[queue].count -= 1
    }
}
