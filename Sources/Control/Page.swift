// A part of a long list. Lists are ordered by id, and a page begins after an id. So when elements come and go between
// two pages, nothing that stays is told twice or left out.

/// Which part of a list is wanted.
public struct PageQuery: Sendable, Equatable {
    /// The most elements of a page by default, and the most that may be asked for: writing more JSON at a time would
    /// keep other clients waiting.
    public static let highestLimit = 1_000

    /// Only elements of this tunnel.
    public var tunnel: String?
    /// Only elements whose id comes after this one.
    public var after: String?
    /// How many elements at most, 1 to `highestLimit`.
    public var limit: Int

    /// The beginning of the whole list.
    public init(tunnel: String? = nil, after: String? = nil, limit: Int = PageQuery.highestLimit) {
        self.tunnel = tunnel
        self.after = after
        self.limit = min(max(limit, 1), Self.highestLimit)
    }

    /// Cuts the page out of all `candidates`, which are those of `tunnel` if there is one, in any order. Only those on the
    /// page are made into elements.
    public func page<Candidate, Element>(
        of candidates: some Sequence<Candidate>, id: (Candidate) -> String, make: (Candidate) -> Element
    ) -> Page<Element> {
        var total = 0
        var rest = 0
        var chosen: [(id: String, candidate: Candidate)] = []
        var last: String?
        for candidate in candidates {
            total += 1
            let id = id(candidate)
            if let after, id <= after { continue }
            rest += 1
            if let last, id > last { continue }
            chosen.append((id, candidate))
            // Sorting all of a long list for each of its pages would take much longer than finding the few that come next.
            guard chosen.count == 2 * limit else { continue }
            chosen.sort { $0.id < $1.id }
            chosen.removeLast(limit)
            last = chosen.last?.id
        }
        chosen.sort { $0.id < $1.id }
        let items = chosen.prefix(limit)
        return Page(items: items.map { make($0.candidate) }, next: rest > limit ? items.last?.id : nil, total: total)
    }
}

/// A part of a list.
public struct Page<Element> {
    /// The elements, in the order of their ids.
    public var items: [Element]
    /// What `after` has to be for the next page. Absent on the last one.
    public var next: String?
    /// How many elements the whole list has now.
    public var total: Int

    /// Puts it together.
    public init(items: [Element], next: String? = nil, total: Int) {
        self.items = items
        self.next = next
        self.total = total
    }
}

extension Page: Sendable where Element: Sendable {}
extension Page: Equatable where Element: Equatable {}
extension Page: Encodable where Element: Encodable {}
extension Page: Decodable where Element: Decodable {}
