// Pages of long lists: a status of fifty thousand associations is read page by page, and only what is on the page is
// looked at closely.

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
}

/// Chooses what is on a page from a list in any order.
struct PageSelection {
    private struct Element: Comparable {
        var serial: UInt64
        var place: Int32

        static func < (left: Element, right: Element) -> Bool { left.serial < right.serial }
    }

    /// How many elements there would be on all pages.
    private(set) var total = 0
    private let page: SnapshotPage
    /// The first ones after the page's beginning, as many as it may have: the last of them gives way.
    private var first = Heap<Element>()

    init(_ page: SnapshotPage) { self.page = page }

    /// Takes an element of the list into account.
    mutating func add(serial: UInt64, place: Int32) {
        total += 1
        guard serial > page.after, page.limit > 0 else { return }
        if first.count < page.limit {
            first.insert(Element(serial: serial, place: place))
        } else if let last = first.max, serial < last.serial {
            first.replaceMax(with: Element(serial: serial, place: place))
        }
    }

    /// The places of what is on the page, in its order.
    var places: [Int32] { first.unordered.sorted().map(\.place) }
}
