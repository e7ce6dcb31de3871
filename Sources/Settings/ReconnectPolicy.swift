// How often a server that cannot be reached is tried again.

/// How long a client waits between attempts: doubling from `minimum` to `maximum`.
public struct ReconnectPolicy: Equatable, Sendable {
    /// The shortest wait; the one after the first failure is between this and twice this.
    public var minimum: Duration
    /// The longest wait.
    public var maximum: Duration

    /// Makes a policy; `maximum` is at least `minimum`.
    public init(minimum: Duration = .seconds(1), maximum: Duration = .seconds(60)) {
        self.minimum = minimum
        self.maximum = max(minimum, maximum)
    }
}
