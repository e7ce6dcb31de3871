// How the largest packet that the path carries is found (RFC 8899). Sizes are those of IP packets, headers included.

/// Bounds and pace of the search.
public struct PathMTUSettings: Equatable, Sendable {
    /// Whether the path is probed at all.
    public var discover: Bool
    /// What is assumed to get through where nothing larger does; at least 296.
    public var minimum: Int
    /// The largest size that is tried; at most 65535.
    public var maximum: Int
    /// How long after a search the next one looks for more.
    public var interval: Duration

    /// Makes settings; the minimum is at least 296, the maximum at most 65535 and not below the minimum.
    public init(
        discover: Bool = true, minimum: Int = 576, maximum: Int = 1500, interval: Duration = .seconds(600)
    ) {
        self.discover = discover
        self.minimum = min(max(minimum, 296), 65_535)
        self.maximum = min(max(maximum, self.minimum), 65_535)
        self.interval = interval
    }
}
