// How the peer's life is watched (RFC 6520).

/// How an association uses heartbeats.
public struct HeartbeatSettings: Equatable, Sendable {
    /// How long the peer may be silent before it is asked.
    public var interval: Duration
    /// How long one request, its copies included, may stay unanswered.
    public var timeout: Duration
    /// How many requests follow an unanswered one before the peer is given up.
    public var retries: Int
    /// Whether the peer's requests are answered.
    public var answers: Bool

    /// The defaults notice a dead peer within 24.5 seconds, and let an association live through 20 % of loss in each
    /// direction for years: 28 requests and copies would have to fail in a row.
    public init(
        interval: Duration = .seconds(10), timeout: Duration = .seconds(2), retries: Int = 6, answers: Bool = true
    ) {
        self.interval = interval
        self.timeout = timeout
        self.retries = retries
        self.answers = answers
    }
}
