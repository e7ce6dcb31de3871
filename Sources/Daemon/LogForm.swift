// How a log line looks. Three forms for three readers: eyes, machines, and systemd's journal. No form lets a line hold
// another line or the codes of a terminal.

import FoundationEssentials
import LinuxIO
import Logging

/// How lines are written.
public enum LogForm: Sendable {
    /// `2026-01-31T12:00:00.000Z warning syslog: …`, for eyes.
    case text
    /// One JSON object a line, for machines.
    case json
    /// As entries of systemd's journal, with fields to search by.
    case journal

    /// What suits the process's standard error: the journal, if that is where it leads.
    public static var automatic: LogForm {
        automatic(journalStream: Environment.value("JOURNAL_STREAM"), LineFile.standardError)
    }

    /// What suits `file`. That the variable is set is not enough: whoever redirects a service's standard error passes it on.
    static func automatic(journalStream: String?, _ file: LineFile) -> LogForm {
        journalStream != nil && journalStream == file.identity ? .journal : .text
    }
}

/// What is told in one go.
struct LogLine: Sendable {
    var level: LogLevel
    /// The tunnels it is about; none if it is about the daemon.
    var tunnels: [String]
    var message: String
    var fields: [String: String]

    /// `2026-01-31T12:00:00.000Z warning syslog: …`.
    var text: String { "\(Self.timestamp()) \(level.rawValue) \(prefixed)" }

    /// With sd-daemon(3)'s priority, which the journal reads from standard error, and without a time, which the journal
    /// adds.
    var prioritized: String { "<\(priority)>\(prefixed)" }

    /// A JSON object.
    var json: String {
        var object = fields.mapValues { JSONValue.string($0) }
        object["time"] = .string(Self.timestamp())
        object["level"] = .string(level.rawValue)
        object["message"] = .string(message)
        if let first = tunnels.first { object["tunnel"] = .string(first) }
        if tunnels.count > 1 { object["tunnels"] = .strings(tunnels) }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(object) else { return "{}" }
        return Self.escaped(String(decoding: data, as: UTF8.self))
    }

    /// An entry of the journal; a field has several values if there are several tunnels.
    var journalEntry: JournalEntry {
        var entry = JournalEntry()
        entry.add("MESSAGE", prefixed)
        entry.add("PRIORITY", "\(priority)")
        entry.add("SYSLOG_IDENTIFIER", "culvert")
        for tunnel in tunnels { entry.add("CULVERT_TUNNEL", tunnel) }
        for (name, value) in fields.sorted(by: { $0.key < $1.key }) { entry.add("CULVERT_\(name)", value) }
        return entry
    }

    private enum JSONValue: Encodable {
        case string(String)
        case strings([String])

        func encode(to encoder: any Encoder) throws {
            var container = encoder.singleValueContainer()
            switch self {
            case .string(let value): try container.encode(value)
            case .strings(let values): try container.encode(values)
            }
        }
    }

    private var prefixed: String {
        let line = tunnels.isEmpty ? message : "\(tunnels.joined(separator: ", ")): \(message)"
        return String(
            String.UnicodeScalarView(line.unicodeScalars.map { $0.properties.generalCategory == .control ? "?" : $0 }))
    }

    /// JSON may hold the control characters above ASCII as they are; a terminal should not get them.
    private static func escaped(_ json: String) -> String {
        var escaped = ""
        for scalar in json.unicodeScalars {
            if scalar.properties.generalCategory == .control {
                escaped += "\\u00" + String(scalar.value, radix: 16)
            } else {
                escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }

    /// syslog's levels.
    private var priority: Int {
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
