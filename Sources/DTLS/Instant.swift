// Time as the sans-IO core sees it: a number that its caller passes in and that never runs backwards.

/// A point on the caller's monotonic clock.
public struct Instant: Hashable, Comparable, Sendable {
    /// Nanoseconds since some fixed moment, such as the machine's start.
    public let nanoseconds: Int64

    /// Takes a monotonic clock's nanoseconds.
    @inlinable
    public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    /// Earlier before later.
    @inlinable
    public static func < (left: Instant, right: Instant) -> Bool { left.nanoseconds < right.nanoseconds }

    /// The instant `duration` later; the end of time where that is beyond it.
    @inlinable
    public static func + (instant: Instant, duration: Duration) -> Instant {
        let (sum, overflow) = instant.nanoseconds.addingReportingOverflow(duration.nanoseconds)
        return Instant(nanoseconds: overflow ? .max : sum)
    }

    /// The earlier of two instants that may not be there.
    @inlinable
    public static func earlier(_ left: Instant?, _ right: Instant?) -> Instant? {
        guard let left, let right else { return left ?? right }
        return min(left, right)
    }

    /// How much later the left instant is; negative when it is earlier.
    @inlinable
    public static func - (left: Instant, right: Instant) -> Duration {
        .nanoseconds(left.nanoseconds &- right.nanoseconds)
    }
}

extension Duration {
    /// The whole duration in nanoseconds, or the largest number where it does not fit.
    @inlinable
    public var nanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        let (sum, carry) = product.addingReportingOverflow(attoseconds / 1_000_000_000)
        return overflow || carry ? (seconds < 0 ? .min : .max) : sum
    }
}
