// The datagrams on their way, earliest departure first; equal times keep the order of insertion.

/// A binary heap over departure times.
struct DepartureQueue: Sendable {
    struct Entry: Sendable {
        let time: Int64
        let order: UInt64
        let tag: Int
        let datagram: [UInt8]

        func precedes(_ other: Entry) -> Bool {
            (time, order) < (other.time, other.order)
        }
    }

    private var heap: [Entry] = []
    private var inserted: UInt64 = 0

    var first: Entry? { heap.first }
    var count: Int { heap.count }

    mutating func insert(_ datagram: [UInt8], tag: Int, at time: Int64) {
        heap.append(Entry(time: time, order: inserted, tag: tag, datagram: datagram))
        inserted += 1
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard heap[child].precedes(heap[parent]) else { return }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    mutating func removeFirst() -> Entry? {
        guard let last = heap.popLast() else { return nil }
        guard let first = heap.first else { return last }
        heap[0] = last
        var parent = 0
        while true {
            var earliest = parent
            for child in (2 * parent + 1)...(2 * parent + 2)
            where child < heap.count && heap[child].precedes(heap[earliest]) {
                earliest = child
            }
            guard earliest != parent else { return first }
            heap.swapAt(parent, earliest)
            parent = earliest
        }
    }
}
