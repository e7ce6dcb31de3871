// What `GET /v1/status` says about the daemon as a whole, and for each tunnel in one line: is it encrypted, with what, to
// whom. As with `AssociationStatus`, the JSON names are an interface that scripts depend on: fields may be added, but none
// is renamed, removed or given another unit.

public import FoundationEssentials

/// The daemon, as the control API shows it.
public struct DaemonStatus: Codable, Sendable, Equatable {
    /// The answer for one tunnel.
    public struct Summary: Codable, Sendable, Equatable {
        /// The name in the config.
        public var name: String
        /// Which end this daemon is.
        public var role: AssociationStatus.Role
        /// Where it listens, as in the config.
        public var listen: String
        /// Where its datagrams go, as in the config.
        public var forward: String
        /// What state it is in.
        public var state: TunnelStatus.State
        /// How datagrams travel now. Absent until that is known from a peer.
        public var mode: AssociationStatus.Mode?
        /// The protocols of the established associations, such as `DTLS 1.2`, each once; empty while nothing is encrypted.
        public var protocols: [String] = []
        /// Their cipher suites, each once.
        public var ciphers: [String] = []
        /// How many associations with peers are established; a peer may have several.
        public var peers = 0
        /// Who they have proven to be, each once, sorted; at most `longestIdentityList`.
        public var peerIdentities: [String] = []
        /// What is wrong, in one sentence. Absent where nothing is.
        public var problem: String?
        /// Why the last client that called was not served, in one sentence; only at a server's end without an established
        /// association.
        public var lastFailure: String?

        /// How many identities are named at most.
        public static let longestIdentityList = 8

        /// A tunnel of which nothing is established.
        public init(
            name: String, role: AssociationStatus.Role, listen: String, forward: String, state: TunnelStatus.State
        ) {
            self.name = name
            self.role = role
            self.listen = listen
            self.forward = forward
            self.state = state
        }

        private enum CodingKeys: String, CodingKey {
            case name, role, listen, forward, state, mode, protocols, ciphers, peers
            case peerIdentities = "peer_identities"
            case problem
            case lastFailure = "last_failure"
        }
    }

    /// The program's version.
    public var version: String
    /// The process.
    public var processID: Int
    /// When the daemon was ready first.
    public var startedAt: Date
    /// How long ago that is, in seconds.
    public var uptimeSeconds: Double
    /// Whether every tunnel can do its work.
    public var ready = true
    /// Whether the daemon accepts nothing new and ends when its flows have.
    public var draining = false
    /// How many workers carry datagrams.
    public var workers: Int
    /// The version of OpenSSL that is in use.
    public var openSSL: String
    /// The config's path. Absent where it is not from a file.
    public var configuration: String?
    /// From which severity on a line is logged.
    public var logLevel: String
    /// Memory of the process that is resident, in bytes. Absent where it is not known.
    public var memoryBytes: UInt64?
    /// CPU time that the process has used, in seconds. Absent where it is not known.
    public var cpuSeconds: Double?
    /// Open file descriptors. Absent where the number is not known.
    public var openFiles: Int?
    /// How many file descriptors may be open. Absent where it is not known.
    public var maximumOpenFiles: Int?
    /// How many associations there are, in any state.
    public var associations = 0
    /// How many flows there are.
    public var flows = 0
    /// Every tunnel in the config's order: is it encrypted, with what, to whom.
    public var tunnels: [Summary] = []

    /// A daemon that has just become ready, without tunnels.
    public init(
        version: String, processID: Int, startedAt: Date, uptimeSeconds: Double, workers: Int, openSSL: String,
        logLevel: String
    ) {
        self.version = version
        self.processID = processID
        self.startedAt = startedAt
        self.uptimeSeconds = uptimeSeconds
        self.workers = workers
        self.openSSL = openSSL
        self.logLevel = logLevel
    }

    private enum CodingKeys: String, CodingKey {
        case version
        case processID = "pid"
        case startedAt = "started_at"
        case uptimeSeconds = "uptime_s"
        case ready, draining, workers
        case openSSL = "openssl"
        case configuration = "config"
        case logLevel = "log_level"
        case memoryBytes = "memory_bytes"
        case cpuSeconds = "cpu_seconds"
        case openFiles = "open_files"
        case maximumOpenFiles = "max_open_files"
        case associations, flows, tunnels
    }
}
