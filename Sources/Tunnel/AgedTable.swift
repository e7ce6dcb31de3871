// The links, or the flows, of one group: a slab whose elements are changed in place. Each stands in a queue of ages, so
// that the one that has been idle longest is known without a search.

import Containers
import DTLS

/// A place in a table, valid for as long as its element lives: the generation keeps whatever comes late from reaching
/// the next element in the same place.
public struct PlaceID: Hashable, Sendable {
    /// The place in the table.
    public let index: Int32
    /// How often that place had been given away before, modulo ``maximumGeneration`` and one.
    public let generation: UInt32

    /// Makes an id from its parts.
    public init(index: Int32, generation: UInt32) {
        self.index = index
        self.generation = generation
    }

    /// How many bits an id has as one number.
    public static var bitWidth: Int { 46 }
    /// A table has fewer places than this.
    static var maximumIndex: Int { 1 << 24 - 1 }
    /// The highest generation; the next one is 0 again.
    static var maximumGeneration: UInt32 { 1 << 22 - 1 }

    /// Both parts as one number of ``bitWidth`` bits, for the tokens of pollers and batches.
    public var rawValue: UInt64 {
        UInt64(generation & Self.maximumGeneration) << 24 | UInt64(UInt32(bitPattern: index))
    }

    /// Takes an id from the lowest ``bitWidth`` bits of a number.
    public init(rawValue: UInt64) {
        index = Int32(truncatingIfNeeded: rawValue & UInt64(Self.maximumIndex))
        generation = UInt32(truncatingIfNeeded: rawValue >> 24) & Self.maximumGeneration
    }
}

/// What a table holds. An element made without arguments fills an empty place.
protocol TableElement: ~Copyable {
    init()
}

/// Which queue of ages an element stands in.
struct AgeQueue: Hashable {
    let number: Int

    /// Links whose first handshake is under way.
    static var handshaking: AgeQueue { AgeQueue(number: 0) }
    /// Links that carry, or are to carry, flows of all tunnels.
    static var common: AgeQueue { AgeQueue(number: 1) }
    /// Links with one flow; only the flow's age counts.
    static var dedicated: AgeQueue { AgeQueue(number: 2) }
    /// Flows of this member; at a server's end only those of common links.
    static func flows(of member: Int) -> AgeQueue { AgeQueue(number: 3 + 2 * member) }
    /// Server: flows of this member that have a dedicated link.
    static func dedicated(of member: Int) -> AgeQueue { AgeQueue(number: 4 + 2 * member) }

    /// How many queues a group of this many tunnels has.
    static func count(members: Int) -> Int { 3 + 2 * members }

    init(number: Int) { self.number = number }

    /// The queue whose timer has this id, which is no link's.
    init?(timer id: PlaceID) {
        guard id.index < 0 else { return nil }
        number = -1 - Int(id.index)
    }

    /// What stands for the queue among the ids of links whose timers are armed.
    var timer: PlaceID { PlaceID(index: Int32(-1 - number), generation: 0) }

    /// Whose flows stand in it; nil for links.
    var member: Int? { number < 3 ? nil : (number - 3) / 2 }
}

/// One place of a table. It is not nested in the table, because the compiler (Swift 6.3) loses its metadata there.
struct AgedEntry<Element: TableElement & ~Copyable>: ~Copyable {
    var element = Element()
    var touchedAt: Instant
    var older: Int32 = -1
    var newer: Int32 = -1
    var generation: UInt32 = 0
    /// -1 for a place that is free.
    var queue: Int32 = 0

    var isLiving: Bool { queue >= 0 }
}

/// A slab of elements that have an age.
struct AgedTable<Element: TableElement & ~Copyable>: ~Copyable {
    private struct Ends {
        var oldest: Int32 = -1
        var newest: Int32 = -1
        var count = 0
    }

    private var entries = InPlaceArray<AgedEntry<Element>>()
    private var free: [Int32] = []
    private var queues: [Ends]
    /// Activity is noted no finer than this, in nanoseconds: moving an element in its queue for each datagram would cost more
    /// than knowing its age exactly is worth.
    private var granularity: Int64

    /// `members` is how many tunnels the group has.
    init(members: Int, granularity: Duration) {
        queues = Array(repeating: Ends(), count: AgeQueue.count(members: members))
        self.granularity = granularity.nanoseconds
    }

    /// How many elements there are.
    var count: Int { entries.count - free.count }

    /// Whether there is a place for another: an id has room for so many.
    var hasRoom: Bool { count < PlaceID.maximumIndex }

    /// How many elements are in `queue`.
    func count(in queue: AgeQueue) -> Int { queues[queue.number].count }

    /// Sets how finely activity is noted.
    mutating func setGranularity(_ granularity: Duration) { self.granularity = granularity.nanoseconds }

    /// The element's place, if it still lives.
    func place(of id: PlaceID) -> Int32? {
        let index = Int(id.index)
        guard index >= 0, index < entries.count, entries[index].generation == id.generation, entries[index].isLiving
        else { return nil }
        return id.index
    }

    /// The id of a living element.
    func id(_ place: Int32) -> PlaceID { PlaceID(index: place, generation: entries[Int(place)].generation) }

    /// The living element at this place.
    subscript(place: Int32) -> Element {
        @inline(__always)
        _read {
            assert(entries[Int(place)].isLiving)
            yield entries[Int(place)].element
        }
        @inline(__always)
        _modify {
            assert(entries[Int(place)].isLiving)
            yield &entries[Int(place)].element
        }
    }

    /// Since when a living element has been idle, as finely as that is noted.
    func touchedAt(_ place: Int32) -> Instant { entries[Int(place)].touchedAt }

    /// Adds an element made without arguments, as the newest of `queue`.
    mutating func insert(in queue: AgeQueue, now: Instant) -> Int32 {
        let place: Int32
        if let reused = free.popLast() {
            place = reused
            entries[Int(place)].touchedAt = now
        } else {
            place = Int32(entries.count)
            entries.append(AgedEntry(touchedAt: now))
        }
        link(place, to: queue)
        return place
    }

    /// Removes a living element.
    mutating func remove(_ place: Int32) {
        unlink(place)
        entries[Int(place)].generation = (entries[Int(place)].generation &+ 1) & PlaceID.maximumGeneration
        entries[Int(place)].queue = -1
        entries[Int(place)].element = Element()
        free.append(place)
    }

    /// Notes that the element is active.
    mutating func touch(_ place: Int32, now: Instant) {
        guard now.nanoseconds &- entries[Int(place)].touchedAt.nanoseconds >= granularity else { return }
        move(place, to: AgeQueue(number: Int(entries[Int(place)].queue)), now: now)
    }

    /// Makes the element the newest of `queue`.
    mutating func move(_ place: Int32, to queue: AgeQueue, now: Instant) {
        unlink(place)
        entries[Int(place)].touchedAt = now
        link(place, to: queue)
    }

    /// The element of `queue` that has been idle the longest, and since when.
    func oldest(in queue: AgeQueue) -> (place: Int32, touchedAt: Instant)? {
        let place = queues[queue.number].oldest
        return place < 0 ? nil : (place, entries[Int(place)].touchedAt)
    }

    /// The places of all living elements, in no order.
    var living: [Int32] {
        var places: [Int32] = []
        places.reserveCapacity(count)
        for index in 0..<entries.count where entries[index].isLiving { places.append(Int32(index)) }
        return places
    }

    private mutating func link(_ place: Int32, to queue: AgeQueue) {
        let newest = queues[queue.number].newest
        entries[Int(place)].queue = Int32(truncatingIfNeeded: queue.number)
        entries[Int(place)].older = newest
        entries[Int(place)].newer = -1
        if newest >= 0 { entries[Int(newest)].newer = place } else { queues[queue.number].oldest = place }
        queues[queue.number].newest = place
        queues[queue.number].count += 1
    }

    private mutating func unlink(_ place: Int32) {
        let (older, newer) = (entries[Int(place)].older, entries[Int(place)].newer)
        let queue = Int(entries[Int(place)].queue)
        if older >= 0 { entries[Int(older)].newer = newer } else { queues[queue].oldest = newer }
        if newer >= 0 { entries[Int(newer)].older = older } else { queues[queue].newest = older }
        queues[queue].count -= 1
    }
}
