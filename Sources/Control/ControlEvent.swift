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

        /// An association is established.
        public static let established = Kind(rawValue: "established")
        /// An association is over, or its handshake has failed.
        public static let ended = Kind(rawValue: "ended")
        /// The next attempt to reach a peer is scheduled.
        public static let reconnecting = Kind(rawValue: "reconnecting")
        /// The path to a peer carries larger or smaller packets than before.
        public static let pathMTU = Kind(rawValue: "path_mtu")
        /// An association has new keys.
        public static let rekeyed = Kind(rawValue: "rekeyed")
        /// A peer has another address than before.
        public static let moved = Kind(rawValue: "moved")
        /// A peer was refused.
        public static let refused = Kind(rawValue: "refused")
        /// The peer refused the service that a tunnel asks for.
        public static let serviceRefused = Kind(rawValue: "service_refused")
        /// The configuration was read again.
        public static let reloaded = Kind(rawValue: "reloaded")
        /// A limit is reached.
        public static let limit = Kind(rawValue: "limit")
        /// The daemon takes on nothing new.
        public static let draining = Kind(rawValue: "draining")
        /// Anything else that the log tells.
        public static let log = Kind(rawValue: "log")

        /// All that this version of the daemon tells of.
        public static let allCases: [Kind] = [
            established, ended, reconnecting, pathMTU, rekeyed, moved, refused, serviceRefused, reloaded, limit,
            draining,
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
        case id, time, type, level, message, tunnel, association
        case peerAddress = "peer_address"
        case peerIdentity = "peer_identity"
        case reason, fields
    }
}
