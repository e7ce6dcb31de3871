// What happens in a tunnel that somebody should know of.

public import DTLS
public import Wire

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
