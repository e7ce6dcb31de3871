// The `[daemon]` section: what concerns the whole process.

public import Wire

/// The settings of the process.
public struct DaemonSettings: Equatable, Sendable {
    /// From which severity on a line is logged.
    public enum LogLevel: String, CaseIterable, Sendable {
        /// The levels, the most talkative first.
        case trace, debug, info, notice, warning, error, critical
    }

    /// How log lines look.
    public enum LogFormat: String, CaseIterable, Sendable {
        /// `journal` when standard error leads to the systemd journal, otherwise `text`.
        case auto
        /// Lines for people.
        case text
        /// One JSON object in each line.
        case json
        /// Lines with the severity prefix that the journal reads.
        case journal
    }

    /// How many workers run; 0 is one for each CPU. At most 1024.
    public var workers = 0
    /// The path of the control socket.
    public var controlSocket = Located("/run/culvert/control.sock", at: SourceLocation(file: "default"))
    /// Where metrics and the status page are served over TCP; nil for nowhere.
    public var metricsListen: Located<Endpoint>?
    /// From which severity on a line is logged.
    public var logLevel = LogLevel.info
    /// How log lines look.
    public var logFormat = LogFormat.auto

    /// The defaults.
    public init() {}
}

extension DaemonSettings {
    /// The longest path of a Unix socket in bytes: sockaddr_un has 108, one of them for the end.
    private static let maximumSocketPathLength = 106

    /// Reads the section; what is wrong is reported and keeps its default.
    init(_ table: TableReader) {
        self.init()
        KeyTable.daemon.read(from: table, into: &self)
    }

    static func controlSocket(_ table: TableReader, _ key: String) -> Located<String>? {
        guard let path = table.path(key) else { return nil }
        if path.value.utf8.count > maximumSocketPathLength {
            let message = "'\(key)' is longer than \(maximumSocketPathLength) bytes: \(quoted(path.value))"
            table.log.error(message, at: path.location)
        }
        return path
    }

    static func metricsListen(_ table: TableReader, _ key: String) -> Located<Endpoint>? {
        guard let text = table.string(key) else { return nil }
        guard let endpoint = Endpoint(text.value), endpoint.port > 0 else {
            let form = "write an address and a port, such as \"127.0.0.1:9464\" or \"[::1]:9464\""
            table.log.error("'\(key)': \(quoted(text.value)) is no numeric address; \(form)", at: text.location)
            return nil
        }
        return Located(endpoint, at: text.location)
    }
}
