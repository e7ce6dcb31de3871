// Something that has happened, as one line of `GET /v1/events` tells it. As with `AssociationStatus`, the JSON names are an
// interface that scripts depend on: fields and types may be added, but none is renamed, removed or given another meaning.

public import FoundationEssentials

/// One event.
public struct ControlEvent: Codable, Sendable, Equatable {
    /// What has happened. Readers have to expect names that they do not know.
    public struct Kind: RawRepresentable, Codable, Sendable, Hashable, CaseIterable {
        /// The name in JSON.
        public let rawValue: String

        /// The kind of that name.
        public init(rawValue: String) { self.rawValue = rawValue }

        // Associations.
        /// An association is established.
        public static let established = Kind(rawValue: "established")
        /// A handshake gave no keys.
        public static let handshakeFailed = Kind(rawValue: "handshake_failed")
        /// The peer has proven an identity that `allow_peers` does not let in, or `allow_from` its address.
        public static let refused = Kind(rawValue: "refused")
        /// An association is over.
        public static let ended = Kind(rawValue: "ended")
        /// The next attempt to reach a peer is scheduled.
        public static let reconnecting = Kind(rawValue: "reconnecting")
        /// An association has new keys.
        public static let rekeyed = Kind(rawValue: "rekeyed")
        /// A peer has another address than before.
        public static let moved = Kind(rawValue: "moved")
        /// The path MTU towards a peer is known for the first time, or has changed.
        public static let pathMTU = Kind(rawValue: "path_mtu")

        // Shared mode.
        /// The tunnels to a peer now share an association, or no longer do.
        public static let modeChanged = Kind(rawValue: "mode_changed")
        /// The peer does not share associations, though `sharing` is `always`.
        public static let sharedRefused = Kind(rawValue: "shared_refused")
        /// The peer has the service that a tunnel asks for.
        public static let serviceAccepted = Kind(rawValue: "service_accepted")
        /// The peer does not have the service that a tunnel asks for, or refuses it.
        public static let serviceRefused = Kind(rawValue: "service_refused")
        /// A peer asked for a service that this end does not have, or does not let it use.
        public static let serviceDenied = Kind(rawValue: "service_denied")
        /// The peer has closed a flow.
        public static let flowClosed = Kind(rawValue: "flow_closed")

        // Flows and their datagrams.
        /// A flow was idle for its timeout.
        public static let expired = Kind(rawValue: "expired")
        /// A datagram does not fit one packet of the path, or not even a record.
        public static let oversize = Kind(rawValue: "oversize")
        /// A limit is reached.
        public static let limit = Kind(rawValue: "limit")
        /// The system refused a socket.
        public static let noSocket = Kind(rawValue: "no_socket")
        /// Nobody listens where datagrams go.
        public static let unreachable = Kind(rawValue: "unreachable")
        /// A name has no addresses.
        public static let unresolved = Kind(rawValue: "unresolved")
        /// OpenSSL could not begin a handshake.
        public static let handshakeUnavailable = Kind(rawValue: "handshake_unavailable")

        // The daemon.
        /// The daemon carries datagrams.
        public static let ready = Kind(rawValue: "ready")
        /// The configuration was read again.
        public static let reloaded = Kind(rawValue: "reloaded")
        /// The configuration was read again, and is not used.
        public static let reloadFailed = Kind(rawValue: "reload_failed")
        /// The daemon takes on nothing new.
        public static let draining = Kind(rawValue: "draining")
        /// The daemon ends.
        public static let stopping = Kind(rawValue: "stopping")
        /// The level from which lines are logged has changed.
        public static let logLevel = Kind(rawValue: "log_level")
        /// Events were left out, because this reader was too slow for them; `fields.count` says how many.
        public static let lost = Kind(rawValue: "lost")
        /// Anything else that the log tells.
        public static let log = Kind(rawValue: "log")

        /// All that this version of the daemon tells of; docs/LOGGING.md lists them.
        public static let allCases: [Kind] = [
            established, handshakeFailed, refused, ended, reconnecting, rekeyed, moved, pathMTU, modeChanged,
            sharedRefused, serviceAccepted, serviceRefused, serviceDenied, flowClosed, expired, oversize, limit,
            noSocket, unreachable,
            unresolved, handshakeUnavailable, ready, reloaded, reloadFailed, draining, stopping, logLevel, lost,
            log,
        ]
    }

    /// Its number: one more than the number of the event before it, since the daemon's start.
    public var id: UInt64
    /// When it happened.
    public var time: Date
    /// What has happened.
    public var type: Kind
    /// How grave it is, by the names of log levels: `info`, `warning`.
    public var level: String
    /// One sentence for people, as in the log.
    public var message: String
    /// The tunnel that it concerns; the first of several.
    public var tunnel: String?
    /// All tunnels that it concerns: several where they share an association, none where it concerns the daemon.
    public var tunnels: [String] = []
    /// The id of the association that it concerns.
    public var association: String?
    /// The peer's address and port.
    public var peerAddress: String?
    /// Who the peer has proven to be.
    public var peerIdentity: String?
    /// Why, in one word or one sentence.
    public var reason: String?
    /// What else there is to say, such as the cipher of a new association; the fields of the log line.
    public var fields: [String: String] = [:]

    /// An event that concerns the whole daemon.
    public init(id: UInt64, time: Date, type: Kind, level: String, message: String) {
        self.id = id
        self.time = time
        self.type = type
        self.level = level
        self.message = message
    }

    private enum CodingKeys: String, CodingKey {
        case id, time, type, level, message, tunnel, tunnels, association
        case peerAddress = "peer_address"
        case peerIdentity = "peer_identity"
        case reason, fields
    }
}
