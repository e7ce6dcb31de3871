// What happens in a tunnel that somebody should know of.

public import DTLS
public import Wire

/// Something that a log should tell.
public enum TunnelEvent: Sendable {
    /// An association is up. `sender` is the local sender that it serves, at a client's end.
    case established(peer: Endpoint, sender: Endpoint?, AssociationDescription)
    /// A handshake failed; at a client's end the next attempt follows after `retryIn`.
    case handshakeFailed(peer: Endpoint, HandshakeFailure, retryIn: Duration?)
    /// The peer's identity is not among `allow_peers`, or its address not in `allow_from`.
    case refused(peer: Endpoint, PeerIdentity, by: AccessDenial)
    /// An association ended; the identity is whose it was. A client that needs it begins another after `retryIn`.
    case ended(peer: Endpoint, PeerIdentity?, AssociationEnd, retryIn: Duration?)
    /// An association has new keys.
    case rekeyed(peer: Endpoint, AssociationDescription)
    /// The peer has no shared mode, so that each flow gets an association of its own.
    case dedicatedMode(peer: Endpoint)
    /// A peer without shared mode was refused, because `sharing` is `always`.
    case cannotShare(peer: Endpoint)
    /// The peer does not carry this service for us; flows of the tunnel are dropped until it does.
    case serviceRefused(String, CloseReason)
    /// The peer carries a service that it had refused before.
    case serviceAccepted(String)
    /// A peer asked for a service that it does not get.
    case serviceDenied(peer: Endpoint, PeerIdentity?, service: String, CloseReason)
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

/// Something that has happened, and where.
public struct TunnelNotice: Sendable {
    /// The number of the tunnel in its group; nil for what concerns the group as a whole.
    public let member: Int?
    /// The association, or the one that carries the flow, by the serial that its snapshot has; nil where it is about none.
    public let association: UInt64?
    /// What has happened.
    public let event: TunnelEvent

    init(member: Int?, association: UInt64? = nil, _ event: TunnelEvent) {
        self.member = member
        self.association = association
        self.event = event
    }
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
