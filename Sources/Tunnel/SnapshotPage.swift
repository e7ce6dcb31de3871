// Parts of long lists: a status of fifty thousand associations is read page by page, and only what is on the page is looked
// at closely.

import HeapModule

/// Which part of a list is wanted, in the order of serials.
public struct SnapshotPage: Sendable {
    /// The serial after which it begins.
    public var after: UInt64
    /// The most elements that it has.
    public var limit: Int
    /// The number of the one tunnel of the group that is wanted; nil for all.
    public var member: Int?

    /// Makes a page; by default everything.
    public init(after: UInt64 = 0, limit: Int = .max, member: Int? = nil) {
        self.after = after
        self.limit = limit
        self.member = member
    }

    /// The places of what is on the page, and how many there would be on all pages.
    func places(_ all: some Sequence<(serial: UInt64, place: Int32)>) -> (places: [Int32], total: Int) {
        var total = 0
        // The first ones after `after`; the last of them gives way.
        var first = Heap<Element>()
        for (serial, place) in all {
            total += 1
            guard serial > after, limit > 0 else { continue }
            if first.count < limit {
                first.insert(Element(serial: serial, place: place))
            } else if let last = first.max, serial < last.serial {
                first.replaceMax(with: Element(serial: serial, place: place))
            }
        }
        return (first.unordered.sorted().map(\.place), total)
    }

    private struct Element: Comparable {
        var serial: UInt64
        var place: Int32

        static func < (left: Element, right: Element) -> Bool { left.serial < right.serial }
    }
}
