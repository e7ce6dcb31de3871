// What `GET /v1/tunnels` says about one tunnel, all workers together. As with `AssociationStatus`, the JSON names are an
// interface that scripts depend on: fields may be added, but none is renamed, removed or given another unit.

public import FoundationEssentials

/// One tunnel, as the control API shows it.
public struct TunnelStatus: Codable, Sendable, Equatable {
    /// What state a tunnel is in.
    public enum State: String, Codable, Sendable {
        /// At least one association is established.
        case up
        /// None is, but a handshake is under way.
        case connecting
        /// Nobody has asked for one: no datagram has come, or no client has connected.
        case idle
        /// Datagrams cannot pass: the peer does not answer, refuses, or cannot be resolved.
        case down
    }

    /// Whether flows share associations, as in the config.
    public enum Sharing: String, Codable, Sendable {
        /// If the peer can.
        case auto
        /// Always; otherwise nothing passes.
        case always
        /// Dedicated mode only.
        case never
    }

    /// That the peer does not offer the service which this tunnel asks for.
    public struct Refusal: Codable, Sendable, Equatable {
        /// Why, in one word, such as `unknown_service`.
        public var reason: String
        /// What the peer said, or a sentence for it.
        public var message: String
        /// Since when.
        public var since: Date

        /// Puts it together.
        public init(reason: String, message: String, since: Date) {
            self.reason = reason
            self.message = message
            self.since = since
        }
    }

    /// The limits of the tunnel.
    public struct Limits: Codable, Sendable, Equatable {
        /// Flows.
        public var flows: Int
        /// Associations; of a tunnel that shares its listen address, with the others there.
        public var associations: Int
        /// Handshakes under way.
        public var handshakes: Int

        /// Puts them together.
        public init(flows: Int, associations: Int, handshakes: Int) {
            self.flows = flows
            self.associations = associations
            self.handshakes = handshakes
        }
    }

    /// The name in the config.
    public var name: String
    /// Which end this daemon is.
    public var role: AssociationStatus.Role
    /// Where it listens, as in the config.
    public var listen: String
    /// Where its datagrams go, as in the config.
    public var forward: String
    /// The service that it asks for, or answers to, in shared mode.
    public var service: String
    /// Whether flows share associations, as in the config.
    public var sharing = Sharing.never
    /// How datagrams travel now. Absent until that is known from a peer.
    public var mode: AssociationStatus.Mode?
    /// What state it is in.
    public var state = State.idle
    /// That the peer does not offer the service. Absent where it does, or has not been asked.
    public var serviceRefused: Refusal?
    /// Its limits. Absent if they are not known.
    public var limits: Limits?
    /// How many associations are in each state; states without any are left out.
    public var associations: [String: Int] = [:]
    /// How many flows there are.
    public var flows = 0
    /// Application datagrams carried since the daemon's start.
    public var datagrams = AssociationStatus.Count()
    /// Their payload in bytes.
    public var bytes = AssociationStatus.Count()
    /// Datagrams that have come since the daemon's start: `out` from applications, `in` from peers, whatever they held.
    public var received = AssociationStatus.Count()
    /// Records in the datagrams from peers; what is not a record counts as one.
    public var records: UInt64 = 0
    /// Records that carried no datagram, only the protocol itself.
    public var controlRecords: UInt64 = 0
    /// Datagrams that went no further since the daemon's start, by reason, those of strangers included; reasons with a
    /// count of zero are left out.
    public var dropped: [String: UInt64] = [:]
    /// Handshakes that were completed.
    public var handshakes: UInt64 = 0
    /// Handshakes that were not.
    public var failedHandshakes: UInt64 = 0
    /// Flows and handshakes that gave way to others at a limit.
    public var evictions: UInt64 = 0
    /// Heartbeat requests to which no answer came, associations that have ended included.
    public var heartbeatsLost: UInt64 = 0
    /// How long completed handshakes took.
    public var handshakeSeconds = Histogram()
    /// Round-trip times that heartbeats measured.
    public var roundTripSeconds = Histogram()
    /// The certificate by which this end shows who it is. Absent with pre-shared keys.
    public var certificate: CertificateStatus?

    /// A tunnel that has carried nothing yet, whose service has its own name.
    public init(name: String, role: AssociationStatus.Role, listen: String, forward: String) {
        self.name = name
        self.role = role
        self.listen = listen
        self.forward = forward
        self.service = name
    }

    private enum CodingKeys: String, CodingKey {
        case name, role, listen, forward, service, sharing, mode, state
        case serviceRefused = "service_refused"
        case limits, associations, flows, datagrams, bytes, received, records
        case controlRecords = "control_records"
        case dropped, handshakes
        case failedHandshakes = "failed_handshakes"
        case evictions
        case heartbeatsLost = "heartbeats_lost"
        case handshakeSeconds = "handshake_seconds"
        case roundTripSeconds = "rtt_seconds"
        case certificate
    }
}

/// A certificate of this end, as the control API shows it.
public struct CertificateStatus: Codable, Sendable, Equatable {
    /// Its subject: `CN=edge-7`.
    public var subject: String
    /// The last moment at which it is valid.
    public var notAfter: Date

    /// Puts it together.
    public init(subject: String, notAfter: Date) {
        self.subject = subject
        self.notAfter = notAfter
    }

    private enum CodingKeys: String, CodingKey {
        case subject
        case notAfter = "not_after"
    }
}
