// In which order the live screen shows associations, and the keys that change it.

import Control

/// An order of associations.
struct AssociationOrder: Equatable {
    /// What they are compared by.
    enum Property: String, CaseIterable {
        case rate
        case tunnel
        case peer
        case roundTrip = "round trip"
        case pathMTU = "MTU"
        case drops

        /// The key that chooses it.
        var key: Character {
            switch self {
            case .rate: "r"
            case .tunnel: "t"
            case .peer: "p"
            case .roundTrip: "l"
            case .pathMTU: "m"
            case .drops: "d"
            }
        }

        /// Whether the greatest comes first.
        fileprivate var isDescending: Bool {
            switch self {
            case .rate, .roundTrip, .drops: true
            case .tunnel, .peer, .pathMTU: false
            }
        }
    }

    private(set) var property = Property.rate
    private(set) var isReversed = false

    /// Chooses a property by its key; the second time, reverses the order.
    mutating func press(_ character: Character) {
        guard let chosen = Property.allCases.first(where: { $0.key == character }) else { return }
        isReversed = chosen == property ? !isReversed : false
        property = chosen
    }

    /// The order in words.
    var words: String { "by \(property.rawValue)\(isReversed ? ", reversed" : "")" }

    /// The list in this order; what is equal, and what has no value, goes by id, the latter last.
    func sorted(
        _ list: [AssociationStatus], rate: (AssociationStatus) -> Double
    ) -> [AssociationStatus] {
        switch property {
        case .rate: sorted(list, by: rate)
        case .tunnel: sorted(list) { $0.tunnel }
        case .peer: sorted(list) { $0.peerIdentity ?? $0.peerAddress }
        case .roundTrip: sorted(list) { $0.heartbeat?.roundTrip?.last }
        case .pathMTU: sorted(list) { $0.pathMTU?.out }
        case .drops: sorted(list) { $0.dropped.total }
        }
    }

    private func sorted<Value: Comparable>(
        _ list: [AssociationStatus], by value: (AssociationStatus) -> Value?
    ) -> [AssociationStatus] {
        let isDescending = property.isDescending != isReversed
        return list.map { (value($0), $0) }.sorted { left, right in
            switch (left.0, right.0) {
            case (let left?, let right?) where left != right: isDescending ? left > right : left < right
            case (.some, nil): true
            case (nil, .some): false
            default: left.1.id < right.1.id
            }
        }.map(\.1)
    }

    /// The keys, in one line.
    func help(_ style: TextStyle) -> StyledLine {
        var line = StyledLine("q", .heading)
        line.append(" quit  \(style.arrowKeys) scroll  sort:")
        for property in Property.allCases {
            line.append(" ")
            line.append(String(property.key), .heading)
            line.append(" \(property.rawValue)", property == self.property ? .good : .plain)
        }
        return line
    }
}
