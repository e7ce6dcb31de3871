// How often something took how long, which a mean hides.

/// Counts of durations by range. Its memory is taken with the first one.
public struct TimeHistogram: Equatable, Sendable {
    /// The ranges' upper bounds in seconds, each included; one more range is above them all. From a local network's round
    /// trip to a handshake on a path that loses half.
    public static let bounds: [Double] = [
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
    ]

    /// How many fell into each range, smaller ones not included; empty while there are none.
    public private(set) var counts: [UInt64] = []
    /// The sum of all durations in seconds.
    public private(set) var sum: Double = 0

    /// Of no durations.
    public init() {}

    /// How many there were.
    public var count: UInt64 { counts.reduce(0, &+) }

    /// Adds one duration; a negative one counts as none at all.
    public mutating func add(_ duration: Duration) {
        let seconds = Double(max(duration.nanoseconds, 0)) / 1e9
        if counts.isEmpty { counts = [UInt64](repeating: 0, count: Self.bounds.count + 1) }
        counts[Self.bounds.firstIndex { seconds <= $0 } ?? Self.bounds.count] &+= 1
        sum += seconds
    }

    /// Adds another's durations to these.
    public mutating func add(_ other: TimeHistogram) {
        sum += other.sum
        guard !counts.isEmpty else { return counts = other.counts }
        for (range, count) in other.counts.enumerated() { counts[range] &+= count }
    }
}
