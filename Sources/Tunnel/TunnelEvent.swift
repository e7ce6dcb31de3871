// What happens in a tunnel and somebody should know of.

public import DTLS
public import Wire

/// Something that a log should tell.
public enum TunnelEvent: Sendable {
    /// An association is up. `sender` is the local sender that it serves, at a client's end.
    case established(peer: Endpoint, sender: Endpoint?, AssociationDescription)
    /// A handshake failed; at a client's end the next attempt follows after `retryIn`.
    case handshakeFailed(peer: Endpoint, HandshakeFailure, retryIn: Duration?)
    /// The peer has not answered for some seconds; the client goes on trying.
    case unanswered(peer: Endpoint)
    /// The peer's identity is not among `allow_peers`, or its address not in `allow_from`.
    case refused(peer: Endpoint, PeerIdentity, by: AccessDenial)
    /// An association ended; the identity is the peer's. A client that still needs one begins another after `retryIn`.
    case ended(peer: Endpoint, PeerIdentity?, AssociationEnd, retryIn: Duration?)
    /// An association has new keys.
    case rekeyed(peer: Endpoint, AssociationDescription)
    /// The peer has no shared mode, so each flow gets its own association.
    case dedicatedMode(peer: Endpoint)
    /// A peer without shared mode was refused, because `sharing` is `always`.
    case cannotShare(peer: Endpoint)
    /// The peer does not provide this service; datagrams of the tunnel are dropped until it does.
    case serviceRefused(String, CloseReason)
    /// The peer provides a service that it had refused before.
    case serviceAccepted(String)
    /// A peer asked for a service that it may not have, or that is not there.
    case serviceDenied(peer: Endpoint, PeerIdentity?, service: String, CloseReason)
    /// The forward name has no addresses; the next attempt follows after `retryIn`.
    case unresolved(String, retryIn: Duration)
    /// Datagrams from this address do not fit one packet of the path, or not even a record. Told at most once a minute
    /// for each flow.
    case oversize(from: Endpoint, byteCount: Int, DatagramFate)
    /// The path MTU towards a peer has changed, or is known for the first time: `from` is nil then.
    case pathMTUChanged(peer: Endpoint, PathMTU, from: Int?, maximumDatagram: Int)
    /// A flow was idle for its timeout.
    case expired(Endpoint)
    /// A limit has been reached; what belonged to `evicted`, the oldest, gave way, or nothing did.
    case limit(TunnelLimit, evicted: Endpoint?)
    /// The system refused a socket towards this address.
    case noSocket(Endpoint)
}

/// Something that has happened, and where.
public struct TunnelNotice: Sendable {
    /// The number of the tunnel in its group; nil if it concerns the group as a whole.
    public let member: Int?
    /// The serial, as in snapshots, of the association that it is about or that carries the flow; nil if there is none.
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
