// The flows of one tunnel: a slab, found by the address on the shared socket, and kept in the order of their last
// activity, so that the oldest idle one is known without a search and one timer serves all idle timeouts.

import DTLS
import Wire

/// A slab of flows with their index and age.
struct FlowTable<Content> {
    /// Which queue of ages a flow stands in.
    enum Queue: Int {
        /// Handshakes under way.
        case handshaking
        /// All others.
        case settled
    }

    private struct Entry {
        var key: Endpoint
        var generation: UInt32
        var isLiving = true
        var content: Content
        var queue = Queue.settled
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
    private var indices: [Endpoint: Int32] = [:]
    private var queues = [2 of Ends](repeating: Ends())
    private var last: (key: Endpoint, index: Int32)?
    private let vacant: Content
    private let granularity: Duration

    /// `vacant` is what an empty place holds. Activity is noted no finer than `granularity`: moving a flow in its queue for each datagram would cost more
    /// than knowing its age to the nanosecond is worth.
    init(vacant: Content, granularity: Duration) {
        self.vacant = vacant
        self.granularity = granularity
    }

    /// How many flows there are.
    var count: Int { queues[0].count + queues[1].count }

    /// How many flows stand in `queue`.
    func count(in queue: Queue) -> Int { queues[queue.rawValue].count }

    /// The flow with this address.
    mutating func index(of key: Endpoint) -> Int32? {
        // Datagrams come in runs.
        if let last, last.key == key { return last.index }
        guard let index = indices[key] else { return nil }
        last = (key, index)
        return index
    }

    /// The flow's place, if it still lives.
    func index(of id: FlowID) -> Int32? {
        guard id.index >= 0, Int(id.index) < entries.count else { return nil }
        let entry = entries[Int(id.index)]
        return entry.generation == id.generation && entry.isLiving ? id.index : nil
    }

    /// The id of a living flow.
    func id(_ index: Int32) -> FlowID {
        FlowID(index: index, generation: entries[Int(index)].generation)
    }

    /// The address of a living flow.
    func key(_ index: Int32) -> Endpoint { entries[Int(index)].key }

    /// The living flow at this place.
    subscript(index: Int32) -> Content {
        _read { yield entries[Int(index)].content }
        _modify { yield &entries[Int(index)].content }
    }

    /// Adds a flow as the newest of `queue`.
    mutating func insert(_ key: Endpoint, _ content: Content, in queue: Queue, now: Instant) -> Int32 {
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
        indices[key] = index
        link(index, to: queue)
        return index
    }

    /// Removes a living flow.
    mutating func remove(_ index: Int32) {
        unlink(index)
        let key = entries[Int(index)].key
        indices[key] = nil
        if last?.index == index { last = nil }
        entries[Int(index)].generation &+= 1
        free.append(index)
        entries[Int(index)].isLiving = false
        entries[Int(index)].content = vacant
    }

    /// Notes that the flow is active.
    mutating func touch(_ index: Int32, now: Instant) {
        guard now - entries[Int(index)].touchedAt >= granularity else { return }
        move(index, to: entries[Int(index)].queue, now: now)
    }

    /// Makes the flow the newest of `queue`.
    mutating func move(_ index: Int32, to queue: Queue, now: Instant) {
        unlink(index)
        entries[Int(index)].touchedAt = now
        link(index, to: queue)
    }

    /// The flow of `queue` that has been idle the longest, and since when.
    func oldest(in queue: Queue) -> (index: Int32, touchedAt: Instant)? {
        let index = queues[queue.rawValue].oldest
        return index < 0 ? nil : (index, entries[Int(index)].touchedAt)
    }

    /// The places of all living flows, in no order.
    var living: [Int32] { entries.indices.filter { entries[$0].isLiving }.map { Int32($0) } }

    private mutating func link(_ index: Int32, to queue: Queue) {
        let newest = queues[queue.rawValue].newest
        entries[Int(index)].queue = queue
        entries[Int(index)].older = newest
        entries[Int(index)].newer = -1
        if newest >= 0 { entries[Int(newest)].newer = index } else { queues[queue.rawValue].oldest = index }
        queues[queue.rawValue].newest = index
        queues[queue.rawValue].count += 1
    }

    private mutating func unlink(_ index: Int32) {
        let entry = entries[Int(index)]
        let queue = entry.queue.rawValue
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
