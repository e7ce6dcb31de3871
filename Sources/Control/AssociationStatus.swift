// What `GET /v1/associations` says about one association. The JSON names below are an interface that scripts depend on:
// fields may be added, but none is renamed, removed or given another unit. A field that is not known yet is left out.

public import FoundationEssentials

/// One association, as the control API shows it.
public struct AssociationStatus: Codable, Sendable, Equatable {
    /// Which end of the DTLS connection this daemon is.
    public enum Role: String, Codable, Sendable {
        /// It connects: the tunnel listens on `udp://`.
        case client
        /// It is connected to: the tunnel listens on `dtls://`.
        case server
    }

    /// How datagrams travel.
    public enum Mode: String, Codable, Sendable {
        /// One association per flow, one datagram per record.
        case plain
    }

    /// Where in its life an association is.
    public enum State: String, Codable, Sendable {
        /// The peer's name is being resolved; datagrams wait in a bounded queue.
        case resolving
        /// The handshake is under way; datagrams wait in a bounded queue.
        case handshaking
        /// Datagrams pass.
        case established
        /// The peer was lost or never answered; the next attempt is scheduled.
        case reconnecting
        /// The peer has closed it; the next datagram begins a new one.
        case idle
    }

    /// A count for each direction: `out` is towards the peer, `in` is from it.
    public struct Count: Codable, Sendable, Equatable {
        /// From the peer.
        public var `in`: UInt64
        /// To the peer.
        public var out: UInt64

        /// Makes a pair of counts.
        public init(in: UInt64 = 0, out: UInt64 = 0) {
            self.in = `in`
            self.out = out
        }
    }

    /// Names the association as long as it lives; not reused while the daemon runs.
    public var id: String
    /// The name of its tunnel in the config.
    public var tunnel: String
    /// Which end this daemon is.
    public var role: Role
    /// How datagrams travel.
    public var mode: Mode
    /// Where in its life it is.
    public var state: State
    /// The peer's address and port: `192.0.2.7:6514`, `[2001:db8::7]:6514`.
    public var peerAddress: String
    /// At a client, the local sender that it serves.
    public var sender: String?
    /// Who the peer has proven to be: a certificate's name, a pin or `psk:` and an identity. Absent until then, and when
    /// the tunnel asks no proof of clients.
    public var peerIdentity: String?
    /// `DTLS 1.2`.
    public var `protocol`: String
    /// The cipher suite by its IANA or OpenSSL name. Absent until established.
    public var cipher: String?
    /// When the handshake was done. RFC 3339 in UTC with milliseconds on the wire. Absent until established.
    public var establishedAt: Date?
    /// How long the handshake took, in milliseconds. Absent until established.
    public var handshakeMilliseconds: Double?
    /// Whether the handshake resumed an earlier session.
    public var resumed: Bool
    /// Application datagrams carried.
    public var datagrams: Count
    /// Their payload in bytes, without any header.
    public var bytes: Count
    /// Datagrams of either direction that were dropped, by reason; reasons with a count of zero are left out.
    public var dropped: [String: UInt64]
    /// Records that the replay window refused.
    public var replayed: UInt64
    /// Records whose authentication failed.
    public var authenticationFailures: UInt64
    /// Flows that use it; 1 in plain mode.
    public var flows: Int

    /// An association that has just begun: nothing counted, nothing known of the peer but its address.
    public init(id: String, tunnel: String, role: Role, state: State, peerAddress: String) {
        self.id = id
        self.tunnel = tunnel
        self.role = role
        self.mode = .plain
        self.state = state
        self.peerAddress = peerAddress
        self.protocol = "DTLS 1.2"
        self.resumed = false
        self.datagrams = Count()
        self.bytes = Count()
        self.dropped = [:]
        self.replayed = 0
        self.authenticationFailures = 0
        self.flows = 1
    }

    private enum CodingKeys: String, CodingKey {
        case id, tunnel, role, mode, state
        case peerAddress = "peer_address"
        case sender
        case peerIdentity = "peer_identity"
        case `protocol`, cipher
        case establishedAt = "established_at"
        case handshakeMilliseconds = "handshake_ms"
        case resumed, datagrams, bytes, dropped, replayed
        case authenticationFailures = "auth_failures"
        case flows
    }
}
