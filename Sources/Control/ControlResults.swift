// What the control API answers to a command. As with `AssociationStatus`, the JSON names are an interface that scripts
// depend on: fields may be added, but none is renamed, removed or given another unit.

/// The result of an action.
public enum ControlOutcome<Value: Sendable>: Sendable {
    /// It was done.
    case done(Value)
    /// Its object does not exist.
    case notFound
    /// It cannot be done now, for the reason given in one sentence, such as an association that is not established.
    case refused(String)
    /// The peer did not answer; one sentence.
    case noAnswer(String)
}

/// That an association was closed, or that its rekeying has begun.
public struct AssociationAction: Codable, Sendable, Equatable {
    /// The association's id.
    public var id: String

    /// Names the association.
    public init(id: String) { self.id = id }
}

/// What a heartbeat told.
public struct PingResult: Codable, Sendable, Equatable {
    /// The association's id.
    public var id: String
    /// The peer's address and port.
    public var peerAddress: String
    /// From the request to its answer, in milliseconds.
    public var roundTripMilliseconds: Double
    /// How large a packet the path carries. Absent where that is not known.
    public var pathMTU: AssociationStatus.PathMTU?

    /// Puts it together.
    public init(
        id: String, peerAddress: String, roundTripMilliseconds: Double, pathMTU: AssociationStatus.PathMTU? = nil
    ) {
        self.id = id
        self.peerAddress = peerAddress
        self.roundTripMilliseconds = roundTripMilliseconds
        self.pathMTU = pathMTU
    }

    private enum CodingKeys: String, CodingKey {
        case id
        case peerAddress = "peer_address"
        case roundTripMilliseconds = "rtt_ms"
        case pathMTU = "path_mtu"
    }
}

/// A mistake in the configuration, or a warning about it.
public struct ConfigurationDiagnostic: Codable, Sendable, Equatable {
    /// `error` or `warning`.
    public var severity: String
    /// What is wrong and what to do.
    public var message: String
    /// Where: `culvert.toml:12:3`. Absent where it is not in a file.
    public var location: String?

    /// Puts it together.
    public init(severity: String, message: String, location: String? = nil) {
        self.severity = severity
        self.message = message
        self.location = location
    }
}

/// The result of reading the configuration again. With errors nothing was changed.
public struct ReloadResult: Codable, Sendable, Equatable {
    /// What was changed, one sentence for each: `tunnel 'syslog': allow_from changed`. With errors, what became of
    /// tunnels that had ended before the errors were known.
    public var applied: [String] = []
    /// The tunnels that were left as they were.
    public var unchanged: [String] = []
    /// What is different in the configuration but needs a restart, one sentence for each.
    public var needsRestart: [String] = []
    /// Why the configuration is not in force.
    public var errors: [ConfigurationDiagnostic] = []
    /// The warnings.
    public var warnings: [ConfigurationDiagnostic] = []

    /// A reload that found nothing.
    public init() {}

    private enum CodingKeys: String, CodingKey {
        case applied, unchanged
        case needsRestart = "needs_restart"
        case errors, warnings
    }
}

/// That the daemon drains.
public struct DrainResult: Codable, Sendable, Equatable {
    /// Whether it takes on nothing new.
    public var draining: Bool
    /// How many flows it waits for.
    public var flows: Int

    /// Puts it together.
    public init(draining: Bool, flows: Int) {
        self.draining = draining
        self.flows = flows
    }
}

/// From which severity on lines are logged: what `POST /v1/log-level` takes and answers.
public struct LogLevelSetting: Codable, Sendable, Equatable {
    /// The names that a level may have, the most talkative first.
    public static let levels = ["trace", "debug", "info", "notice", "warning", "error", "critical"]

    /// Gives a tunnel the daemon's level again.
    public static let inherited = "default"

    /// One of `levels`, or `inherited` for a tunnel.
    public var level: String
    /// The tunnel whose lines it concerns. Absent for the whole daemon.
    public var tunnel: String?

    /// Puts it together.
    public init(level: String, tunnel: String? = nil) {
        self.level = level
        self.tunnel = tunnel
    }
}
