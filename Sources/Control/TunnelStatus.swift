// What `GET /v1/tunnels` says about one tunnel, all workers together. As with `AssociationStatus`, the JSON names are an
// interface that scripts depend on: fields may be added, but none is renamed, removed or given another unit.

/// One tunnel, as the control API shows it.
public struct TunnelStatus: Codable, Sendable, Equatable {
    /// The name in the config.
    public var name: String
    /// Which end this daemon is.
    public var role: AssociationStatus.Role
    /// Where it listens, as in the config.
    public var listen: String
    /// Where its datagrams go, as in the config.
    public var forward: String
    /// How many associations are in each state; states without any are left out.
    public var associations: [String: Int] = [:]
    /// Application datagrams carried since the daemon's start.
    public var datagrams = AssociationStatus.Count()
    /// Their payload in bytes.
    public var bytes = AssociationStatus.Count()
    /// Datagrams that went no further since the daemon's start, by reason, those of strangers included; reasons with a
    /// count of zero are left out.
    public var dropped: [String: UInt64] = [:]
    /// Handshakes that were completed.
    public var handshakes: UInt64 = 0
    /// Handshakes that were not.
    public var failedHandshakes: UInt64 = 0
    /// Flows and handshakes that gave way to others at a limit.
    public var evictions: UInt64 = 0

    /// A tunnel that has carried nothing yet.
    public init(name: String, role: AssociationStatus.Role, listen: String, forward: String) {
        self.name = name
        self.role = role
        self.listen = listen
        self.forward = forward
    }

    private enum CodingKeys: String, CodingKey {
        case name, role, listen, forward, associations, datagrams, bytes, dropped, handshakes
        case failedHandshakes = "failed_handshakes"
        case evictions
    }
}
