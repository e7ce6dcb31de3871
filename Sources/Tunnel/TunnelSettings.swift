// What both kinds of tunnel are told, and what they tell.

public import DTLS
public import Wire

/// Bounds and timeouts of a tunnel.
public struct TunnelLimits: Sendable {
    /// How long a flow may be silent before it is forgotten.
    public var flowTimeout: Duration
    /// Most flows at a client's end.
    public var maximumFlows: Int
    /// Most established associations at a server's end.
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

    /// How finely a flow's activity is noted.
    var granularity: Duration { min(.seconds(1), flowTimeout / 16) }

    /// How long a flow must have been silent before it may have to give way to a new one: a stranger that keeps coming
    /// must not push out what is in use.
    static var idleBeforeEviction: Duration { .seconds(10) }
}

/// How a tunnel's associations watch and use their paths.
public struct TunnelPath: Sendable {
    /// How heartbeats are used and the path MTU is searched.
    public let settings: PathSettings
    /// What happens to datagrams that are too large for the path.
    public let oversize: OversizePolicy

    /// The defaults.
    public init(settings: PathSettings = PathSettings(), oversize: OversizePolicy = .fragment) {
        self.settings = settings
        self.oversize = oversize
    }
}

/// What a tunnel has carried, and dropped, in all.
public struct TunnelCounters: Sendable {
    /// Plaintext datagrams from the local side that went into associations.
    public var datagramsOut: UInt64 = 0
    /// Their bytes.
    public var bytesOut: UInt64 = 0
    /// Plaintext datagrams that came out of associations.
    public var datagramsIn: UInt64 = 0
    /// Their bytes.
    public var bytesIn: UInt64 = 0
    /// What went no further.
    public var drops = DropCounters()
    /// Handshakes that gave keys.
    public var handshakes: UInt64 = 0
    /// Handshakes that did not.
    public var failedHandshakes: UInt64 = 0
    /// Flows and handshakes that had to give way to others at a limit.
    public var evictions: UInt64 = 0

    /// All zero.
    public init() {}

    /// Adds another tunnel's counters, such as those of the same tunnel on another worker.
    public mutating func add(_ other: TunnelCounters) {
        datagramsOut &+= other.datagramsOut
        bytesOut &+= other.bytesOut
        datagramsIn &+= other.datagramsIn
        bytesIn &+= other.bytesIn
        drops.add(other.drops)
        handshakes &+= other.handshakes
        failedHandshakes &+= other.failedHandshakes
        evictions &+= other.evictions
    }

    /// Adds what an association has carried.
    public mutating func add(_ association: AssociationCounters) {
        datagramsOut &+= association.datagramsOut
        bytesOut &+= association.bytesOut
        datagramsIn &+= association.datagramsIn
        bytesIn &+= association.bytesIn
        drops.add(association.drops)
    }
}

/// Something that a log should tell.
public enum TunnelEvent: Sendable {
    /// An association is up. `sender` is the local sender that it serves, at a client's end.
    case established(peer: Endpoint, sender: Endpoint?, AssociationDescription)
    /// A handshake failed; at a client's end the next attempt follows after `retryIn`.
    case handshakeFailed(peer: Endpoint, HandshakeFailure, retryIn: Duration?)
    /// The peer's identity is not among `allow_peers`.
    case refused(peer: Endpoint, PeerIdentity)
    /// An association ended; `identity` is whose it was.
    case ended(peer: Endpoint, PeerIdentity?, AssociationEnd)
    /// The forward name has no addresses; the next attempt follows after `retryIn`.
    case unresolved(String, retryIn: Duration)
    /// Datagrams from here do not fit one packet of the path, or not even a record. Told once a minute for each flow.
    case oversize(from: Endpoint, byteCount: Int, DatagramFate)
    /// The path MTU towards a peer is another than before, or known at all: then there is none before.
    case pathMTUChanged(peer: Endpoint, PathMTU, from: Int?, maximumDatagram: Int)
    /// A flow was idle for its timeout.
    case expired(Endpoint)
    /// A limit is reached; the flow of `evicted`, the oldest idle one, gave way, or nobody did.
    case limit(TunnelLimit, evicted: Endpoint?)
    /// The system refused a socket towards this address.
    case noSocket(Endpoint)
}

/// Which limit was reached.
public enum TunnelLimit: String, Sendable {
    /// `max_flows`.
    case flows = "max_flows"
    /// `max_associations`.
    case associations = "max_associations"
    /// `max_handshakes`.
    case handshakes = "max_handshakes"
}

/// One association as a status shows it.
public struct AssociationSnapshot: Sendable {
    /// Where an association stands.
    public enum State: String, Sendable {
        /// The forward name is being resolved.
        case resolving
        /// The handshake is under way.
        case handshaking
        /// Data flows.
        case established
        /// The last attempt failed; the next one waits for its time.
        case waiting
        /// None is up; the next datagram from the sender begins one.
        case idle
    }

    /// The number that it has for as long as its flow lives; unique within the tunnel.
    public var serial: UInt64
    /// Where it stands.
    public var state: State
    /// The peer's address, where one has been tried.
    public var peer: Endpoint?
    /// The local sender that it serves, at a client's end.
    public var sender: Endpoint?
    /// What is known of it once it is established.
    public var description: AssociationDescription?
    /// When it was established.
    public var establishedAt: Instant?
    /// What it has carried.
    public var counters: AssociationCounters
    /// What is known of the path's MTU once it is established.
    public var pathMTU: PathMTU?
    /// The most plaintext bytes that reach the peer in one packet.
    public var maximumDatagram: Int?
    /// What has come of heartbeats; nil where the peer takes no part.
    public var heartbeat: HeartbeatStatistics?
}
