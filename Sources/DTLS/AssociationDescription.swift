// What can be said about an association: with whom, how much it carried, and how it ended.

public import Wire

/// How and why an association came to its end.
public enum AssociationEnd: Hashable, Sendable {
    /// The handshake gave no keys.
    case handshakeFailed(HandshakeFailure)
    /// The peer sent close_notify.
    case closedByPeer
    /// The peer sent a fatal alert under the association's keys.
    case alert(Alert.Description)
    /// This end closed it.
    case closed
    /// Every sequence number has been used.
    case exhausted
    /// The peer no longer answers heartbeats.
    case unanswered
    /// The address that this end has sent from is no longer this host's.
    case noAddress
    /// Somebody else has authenticated at the peer's address.
    case replaced(by: PeerIdentity)
}

/// What an association has carried since its handshake.
public struct AssociationCounters: Sendable {
    /// Datagrams of plaintext sent to the peer.
    public var datagramsOut: UInt64 = 0
    /// Their bytes.
    public var bytesOut: UInt64 = 0
    /// Datagrams of plaintext received from the peer.
    public var datagramsIn: UInt64 = 0
    /// Their bytes.
    public var bytesIn: UInt64 = 0
    /// Records that came from the peer; what is no record counts as one. Each is one of ``datagramsIn``, one of ``control``,
    /// dropped, or still waits for the end of the handshake.
    public var records: UInt64 = 0
    /// Records that did their job and carried no data: those of handshakes, heartbeats and alerts.
    public var control: UInt64 = 0
    /// Datagrams of plaintext that were to be sent to the peer: ``datagramsOut`` and what was dropped instead.
    public var offered: UInt64 = 0
    /// What came from the peer, or was to go to it, and was dropped. Drops for a reason with ``DropReason/isRefusal``
    /// were counted as sent before.
    public var drops = DropCounters()

    /// All zero.
    public init() {}
}

/// What an established association is known by.
public struct AssociationDescription: Hashable, Sendable {
    /// Who the peer has proven to be.
    public var peer: PeerIdentity
    /// The cipher suite by OpenSSL's name.
    public var cipherSuite: String
    /// Whether it resumed an earlier session.
    public var isResumed: Bool
    /// From the first flight to the keys.
    public var handshakeDuration: Duration
    /// What the peer said about heartbeats; nil where it takes no part.
    public var peerHeartbeatMode: HeartbeatMode?
    /// The application protocol that both ends agreed on (RFC 7301); nil for none.
    public var applicationProtocol: String?
    /// The server's name as the client gave it (RFC 6066 §3), at the server in lower case; nil where it gave none.
    public var serverName: String?
}
