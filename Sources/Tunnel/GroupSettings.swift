// What a group is made of. A group is what one DTLS endpoint serves: at a client's end the tunnels that can share an
// association with one peer, at a server's the tunnels on one listen address, which are its services.

public import DTLS
public import Settings
public import Wire

/// One tunnel of a group.
public struct GroupMember: Sendable {
    /// The name asked for, or answered to, in shared mode: 1 to 63 bytes.
    public var service: String
    /// Server: where the service's datagrams go. Client: the peer, the same for all members.
    public var target: ForwardTarget
    /// Bounds and timeouts.
    public var limits: TunnelLimits
    /// Who may have it. Client: who the server may be beyond what its certificate proves, the same for all members.
    public var access: AccessList
    /// What happens to datagrams that are too large for the path.
    public var oversize: OversizePolicy
    /// Server: the host name, in lower case, by which a client in dedicated mode asks for it (RFC 6066 §3).
    public var serverName: String?

    /// Makes a member.
    public init(
        service: String = "", target: ForwardTarget, limits: TunnelLimits = TunnelLimits(),
        access: AccessList = AccessList(), oversize: OversizePolicy = .fragment, serverName: String? = nil
    ) {
        self.service = service
        self.target = target
        self.limits = limits
        self.access = access
        self.oversize = oversize
        self.serverName = serverName
    }
}

extension [GroupMember] {
    /// How finely the activity of flows has to be noted.
    var granularity: Duration { map(\.limits.granularity).min() ?? .seconds(1) }
}

/// Why, and since when, the peer does not give a service.
public struct ServiceRefusal: Sendable {
    /// The reason that the peer gave.
    public var reason: CloseReason
    /// When it was first given.
    public var since: Instant
}

/// The result of asking for a ping of an association.
public enum PingOutcome: Sendable {
    /// A request is on its way, or follows the one in flight; the answer comes later.
    case sent
    /// There is no such association.
    case notFound
    /// The peer takes no heartbeat requests, or the association is not established.
    case refused
}

/// What a ping leads to.
public enum PingAnswer: Equatable, Sendable {
    /// The peer has answered after this time.
    case roundTrip(Duration)
    /// The request, or the one before it, was given up.
    case lost
    /// The association has ended.
    case ended

    init(_ roundTrip: Duration?) { self = roundTrip.map { .roundTrip($0) } ?? .lost }
}

/// The result of asking for new keys.
public enum RekeyOutcome: Sendable {
    /// A handshake has begun beside the association; an event says when its keys are in use.
    case begun
    /// There is no such association.
    case notFound
    /// The association is not established, or a handshake is on its way already.
    case refused
}
