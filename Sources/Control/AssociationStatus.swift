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
        /// All flows to the same peer in one association; needs culvert at both ends.
        case shared
    }

    /// What state an association is in.
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

    /// What heartbeats (RFC 6520) say about the peer.
    public struct Heartbeat: Codable, Sendable, Equatable {
        /// Round-trip times in milliseconds.
        public struct RoundTrip: Codable, Sendable, Equatable {
            /// The last.
            public var last: Double
            /// The shortest.
            public var min: Double
            /// A running mean.
            public var mean: Double

            /// Puts times together.
            public init(last: Double, min: Double, mean: Double) {
                self.last = last
                self.min = min
                self.mean = mean
            }
        }

        /// Whether both ends have the extension. If not, only the idle timeout ends a dead association.
        public var negotiated: Bool
        /// What this end says: `peer_allowed_to_send` or `peer_not_allowed_to_send`.
        public var localMode: String
        /// What the peer says. Absent unless negotiated.
        public var peerMode: String?
        /// Round-trip times. Absent until one is known.
        public var roundTrip: RoundTrip?
        /// Requests sent.
        public var sent: UInt64 = 0
        /// Requests answered.
        public var answered: UInt64 = 0
        /// Requests given up.
        public var lost: UInt64 = 0
        /// When the last answer came, probes of the path MTU included. Absent until then.
        public var lastAnswer: Date?

        /// Makes the part that is known from the handshake.
        public init(negotiated: Bool, localMode: String) {
            self.negotiated = negotiated
            self.localMode = localMode
        }

        private enum CodingKeys: String, CodingKey {
            case negotiated
            case localMode = "local_mode"
            case peerMode = "peer_mode"
            case roundTrip = "rtt_ms"
            case sent, answered, lost
            case lastAnswer = "last_answer"
        }
    }

    /// How large a packet the path carries towards the peer.
    public struct PathMTU: Codable, Sendable, Equatable {
        /// The largest IP packet in bytes, headers included.
        public var out: Int
        /// `base`, `searching`, `complete`, `error`, or `disabled` where the peer answers no heartbeats.
        public var state: String
        /// Probes sent.
        public var probes: UInt64
        /// The largest plaintext datagram that goes in one packet, in bytes.
        public var maximumDatagram: Int

        /// Puts it together.
        public init(out: Int, state: String, probes: UInt64, maximumDatagram: Int) {
            self.out = out
            self.state = state
            self.probes = probes
            self.maximumDatagram = maximumDatagram
        }

        private enum CodingKeys: String, CodingKey {
            case out, state, probes
            case maximumDatagram = "max_datagram"
        }
    }

    /// The Connection IDs of an association, in hexadecimal; empty where an end wants none.
    public struct ConnectionID: Codable, Sendable, Equatable {
        /// In records from the peer.
        public var `in`: String
        /// In records to the peer.
        public var out: String

        /// Puts them together.
        public init(in: String, out: String) {
            self.in = `in`
            self.out = out
        }
    }

    /// Names the association for as long as it lives; not reused while the daemon runs.
    public var id: String
    /// The name of its tunnel in the config; the first of `tunnels`.
    public var tunnel: String
    /// The names of all tunnels whose flows it carries, in the config's order; one in dedicated mode.
    public var tunnels: [String]
    /// Which end this daemon is.
    public var role: Role
    /// How datagrams travel.
    public var mode: Mode
    /// What state it is in.
    public var state: State
    /// The peer's address and port: `192.0.2.7:6514`, `[2001:db8::7]:6514`.
    public var peerAddress: String
    /// At a client, the local sender that it serves.
    public var sender: String?
    /// Who the peer has proven to be: a certificate's name, a pin or `psk:` and an identity; `anonymous` when the tunnel
    /// asks no proof of clients. Absent until then.
    public var peerIdentity: String?
    /// `DTLS 1.2`.
    public var `protocol`: String
    /// The cipher suite by its IANA or OpenSSL name. Absent until established.
    public var cipher: String?
    /// What ALPN (RFC 7301) agreed on: `culvert/1` in shared mode. Absent where nothing was agreed on.
    public var applicationProtocol: String?
    /// The server's name that the client asked for (RFC 6066 §3). Absent where it named none.
    public var serverName: String?
    /// When the handshake was done. RFC 3339 in UTC with milliseconds on the wire. Absent until established.
    public var establishedAt: Date?
    /// How long the handshake took, in milliseconds. Absent until established.
    public var handshakeMilliseconds: Double?
    /// Whether the handshake resumed an earlier session.
    public var resumed: Bool
    /// How often a new handshake has replaced the keys.
    public var rekeys: UInt64
    /// Application datagrams carried.
    public var datagrams: Count
    /// Their payload in bytes, without any header.
    public var bytes: Count
    /// Datagrams that were to be sent to the peer: those carried, and those dropped instead.
    public var offered: UInt64
    /// Records that came from the peer; what is not a record counts as one.
    public var records: UInt64
    /// Those that carried no data, only the protocol itself.
    public var controlRecords: UInt64
    /// Datagrams of either direction that were dropped, by reason; reasons with a count of zero are left out.
    public var dropped: [String: UInt64]
    /// Records that the replay window refused.
    public var replayed: UInt64
    /// Records whose authentication failed.
    public var authenticationFailures: UInt64
    /// What heartbeats say about the peer. Absent until established.
    public var heartbeat: Heartbeat?
    /// How large a packet the path carries. Absent until established.
    public var pathMTU: PathMTU?
    /// Flows that use it; 1 in dedicated mode.
    public var flows: Int
    /// What names it in records instead of addresses (RFC 9146). Absent where the two ends did not agree on that.
    public var connectionID: ConnectionID?

    /// An association that has just begun: nothing counted, nothing known of the peer but its address.
    public init(id: String, tunnel: String, role: Role, state: State, peerAddress: String) {
        self.id = id
        self.tunnel = tunnel
        self.tunnels = [tunnel]
        self.role = role
        self.mode = .plain
        self.state = state
        self.peerAddress = peerAddress
        self.protocol = "DTLS 1.2"
        self.resumed = false
        self.rekeys = 0
        self.datagrams = Count()
        self.bytes = Count()
        self.offered = 0
        self.records = 0
        self.controlRecords = 0
        self.dropped = [:]
        self.replayed = 0
        self.authenticationFailures = 0
        self.flows = 1
    }

    private enum CodingKeys: String, CodingKey {
        case id, tunnel, tunnels, role, mode, state
        case peerAddress = "peer_address"
        case sender
        case peerIdentity = "peer_identity"
        case `protocol`, cipher
        case applicationProtocol = "application_protocol"
        case serverName = "server_name"
        case establishedAt = "established_at"
        case handshakeMilliseconds = "handshake_ms"
        case resumed, rekeys, datagrams, bytes, offered, records
        case controlRecords = "control_records"
        case dropped, replayed
        case authenticationFailures = "auth_failures"
        case heartbeat
        case pathMTU = "path_mtu"
        case flows
        case connectionID = "connection_id"
    }
}
