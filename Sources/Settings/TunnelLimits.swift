// What a tunnel may hold, and for how long.

/// Bounds and timeouts of a tunnel.
public struct TunnelLimits: Equatable, Sendable {
    /// How long a flow may be silent before it is forgotten.
    public var flowTimeout: Duration
    /// The most flows of the tunnel; at a server's end, in dedicated mode, its associations count instead.
    public var maximumFlows: Int
    /// The most established associations; in dedicated mode each of a client's flows has one.
    public var maximumAssociations: Int
    /// The most handshakes under way at a server's end.
    public var maximumHandshakes: Int

    /// Makes limits.
    public init(
        flowTimeout: Duration = .seconds(300), maximumFlows: Int = 16_384, maximumAssociations: Int = 16_384,
        maximumHandshakes: Int = 1024
    ) {
        self.flowTimeout = flowTimeout
        self.maximumFlows = maximumFlows
        self.maximumAssociations = maximumAssociations
        self.maximumHandshakes = maximumHandshakes
    }
}
