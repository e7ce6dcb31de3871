// How often a measured value fell into which range, in the form that Prometheus wants: counts that include all smaller
// ranges. A histogram of one measurement always has the same bounds, so that those of several workers can be added.

/// A cumulative histogram of durations in seconds.
public struct Histogram: Codable, Sendable, Equatable {
    /// A range from zero up to a bound.
    public struct Bucket: Codable, Sendable, Equatable {
        /// The bound in seconds, included.
        public var upperBound: Double
        /// How many values were not above it, those of smaller buckets included.
        public var count: UInt64

        private enum CodingKeys: String, CodingKey {
            case upperBound = "le"
            case count
        }
    }

    /// The bounds of an empty histogram, in seconds: from a local network's round trip to a handshake on a path that loses half.
    public static let bounds: [Double] = [
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
    ]

    /// The buckets in the order of their bounds; values above the last are in `count` only.
    public private(set) var buckets: [Bucket]
    /// The sum of all values in seconds.
    public private(set) var sum: Double
    /// How many values there were.
    public private(set) var count: UInt64

    /// A histogram of no values.
    public init() {
        buckets = Self.bounds.map { Bucket(upperBound: $0, count: 0) }
        sum = 0
        count = 0
    }

    /// A histogram from how many values fell between each bound and the one before it, one more than there are `bounds`
    /// for those above the last; missing counts are zero.
    public init(counts: [UInt64], sum: Double) {
        self.init()
        for (index, value) in counts.enumerated() {
            count &+= value
            if index < buckets.count { buckets[index].count = count }
        }
        for index in buckets.indices.dropFirst(counts.count) { buckets[index].count = count }
        self.sum = sum.isFinite ? sum : 0
    }

    /// Counts a value; what is not a duration is left out.
    public mutating func add(_ seconds: Double) {
        guard seconds.isFinite, seconds >= 0 else { return }
        for index in buckets.indices where seconds <= buckets[index].upperBound { buckets[index].count &+= 1 }
        sum += seconds
        count &+= 1
    }

    /// Adds another histogram's values to this one's.
    public mutating func add(_ other: Histogram) {
        for (index, bucket) in other.buckets.enumerated() where index < buckets.count {
            buckets[index].count &+= bucket.count
        }
        sum += other.sum
        count &+= other.count
    }
}
