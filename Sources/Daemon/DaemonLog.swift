// Where log lines go: standard error, one line each, in the form that its reader wants. swift-log is the front; this is
// its back. Lines never hold keys.

import FoundationEssentials
import LinuxIO
public import Logging

/// How grave a line is.
public typealias LogLevel = Logger.Level

/// How lines are written.
public enum LogForm: Sendable {
    /// `2026-01-31T12:00:00.000Z warning syslog: …`, for eyes.
    case text
    /// One JSON object a line, for machines.
    case json
    /// With the priority that systemd's journal reads off standard error, and without a time, which it adds.
    case journal

    /// What suits the process's standard error: the journal, if that is where it leads.
    public static var automatic: LogForm {
        Environment.value("JOURNAL_STREAM") == nil ? .text : .journal
    }
}

/// Writes the daemon's log.
public struct DaemonLog: Sendable {
    private let logger: Logger

    /// Makes a log that leaves out lines below `level`.
    public init(form: LogForm, level: LogLevel) {
        var logger = Logger(label: "culvert") { _ in LineHandler(form: form) }
        logger.logLevel = level
        self.logger = logger
    }

    /// The same log, with every line about one tunnel.
    func of(tunnel: String) -> DaemonLog {
        var logger = logger
        logger[metadataKey: "tunnel"] = .string(tunnel)
        return DaemonLog(logger: logger)
    }

    /// Writes a line; `fields` are for machines and have to stand in `message` too where a reader needs them.
    public func write(_ level: LogLevel, _ message: @autoclosure () -> String, _ fields: [String: String] = [:]) {
        logger.log(level: level, "\(message())", metadata: fields.mapValues { .string($0) })
    }

    private init(logger: Logger) { self.logger = logger }
}

/// Writes lines to standard error.
private struct LineHandler: LogHandler {
    let form: LogForm
    var logLevel = Logger.Level.info
    var metadata = Logger.Metadata()

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let fields = metadata.merging(event.metadata ?? [:]) { $1 }
        LineFile.standardError.write(form.line(event.level, "\(event.message)", fields))
    }
}

extension LogForm {
    /// One line, without its end; what would break it or colour a terminal is replaced.
    func line(_ level: LogLevel, _ message: String, _ fields: Logger.Metadata) -> String {
        let prefix = fields["tunnel"].map { "\($0): " } ?? ""
        switch self {
        case .text: return "\(Self.timestamp()) \(level.rawValue) \(Self.printable(prefix + message))"
        case .journal: return "<\(Self.priority(level))>\(Self.printable(prefix + message))"
        case .json:
            var object = fields.mapValues { "\($0)" }
            object["time"] = Self.timestamp()
            object["level"] = level.rawValue
            object["message"] = message
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            guard let data = try? encoder.encode(object) else { return "{}" }
            return String(decoding: data, as: UTF8.self)
        }
    }

    private static func printable(_ text: String) -> String {
        String(
            String.UnicodeScalarView(text.unicodeScalars.map { $0.properties.generalCategory == .control ? "?" : $0 }))
    }

    /// sd-daemon(3)'s levels, which are syslog's.
    private static func priority(_ level: LogLevel) -> Int {
        switch level {
        case .trace, .debug: 7
        case .info: 6
        case .notice: 5
        case .warning: 4
        case .error: 3
        case .critical: 2
        }
    }

    private static func timestamp() -> String {
        Date().formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
    }
}
