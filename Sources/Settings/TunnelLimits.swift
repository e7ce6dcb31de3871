// What a tunnel may hold, and for how long.

/// Bounds and timeouts of a tunnel.
public struct TunnelLimits: Equatable, Sendable {
    /// How long a flow may be silent before it is forgotten.
    public var flowTimeout: Duration
    /// Most flows of the tunnel; in plain mode at a server's end its associations count instead.
    public var maximumFlows: Int
    /// Most established associations; a client's flows have one each in plain mode.
    public var maximumAssociations: Int
    /// Most handshakes under way at a server's end.
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
