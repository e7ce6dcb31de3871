// The one place where the daemon tells what happens: as log lines, and as events for whoever follows them. swift-log is the
// front of the lines; the back is here. Neither lines nor events hold keys or data.

import Control
import DTLS
import LinuxIO
public import Logging
import Synchronization

/// How grave a line is.
public typealias LogLevel = Logger.Level

/// Tells what happens. Copies tell together.
public struct DaemonLog: Sendable {
    /// What copies have in common.
    private final class Center: Sendable {
        let levels: LogLevels
        let sink: LogSink
        let hub = EventHub()
        let throttle = Mutex(LogThrottle<Telling>())
        /// Rung when the throttle's deadline has become sooner.
        let alarm = try? Wakeup()

        init(levels: LogLevels, sink: LogSink) {
            self.levels = levels
            self.sink = sink
        }
    }

    /// An event with the log that it is told in.
    private struct Telling: Sendable {
        let event: DaemonEvent
        let logger: Logger
    }

    private let center: Center
    private let tunnels: [String]
    private let thresholds: [LogThreshold]
    private let logger: Logger
    private var association: String?

    /// Makes a log to standard error, or to the journal, that leaves out lines below `level`.
    public init(form: LogForm, level: LogLevel) {
        let journalPath = Environment.value("CULVERT_JOURNAL_SOCKET") ?? JournalSocket.path
        self.init(level: level, LogSink(form, file: .standardError, journalPath: journalPath))
    }

    /// Makes a log with its lines in `sink`.
    init(level: LogLevel, _ sink: LogSink) {
        let levels = LogLevels(level)
        self.init(Center(levels: levels, sink: sink), tunnels: [], [levels.daemon])
    }

    private init(_ center: Center, tunnels: [String], _ thresholds: [LogThreshold]) {
        self.center = center
        self.tunnels = tunnels
        self.thresholds = thresholds
        logger = Logger(label: "culvert") { [sink = center.sink] _ in
            LineHandler(sink: sink, tunnels: tunnels, thresholds: thresholds)
        }
    }

    /// The same log, with every line about one tunnel.
    func of(tunnel: String) -> DaemonLog { of(tunnels: [tunnel]) }

    /// The same log, with every line about tunnels that share an association. A line is told if the level of one of
    /// them lets it through.
    func of(tunnels: [String]) -> DaemonLog {
        DaemonLog(center, tunnels: tunnels, tunnels.map(center.levels.threshold))
    }

    /// The same log, with every event about the association of this id, if there is one.
    func about(_ association: String?) -> DaemonLog {
        var log = self
        log.association = association
        return log
    }

    /// The events, for those who follow them.
    var events: EventHub { center.hub }

    // MARK: Levels

    /// Changes the level of the daemon, and of every tunnel that has none of its own.
    func setLevel(_ level: LogLevel) {
        center.levels.daemon.set(level)
        tell(.logLevel, .notice, nil, "log level is now \(level)", ["log_level": "\(level)"])
    }

    /// Changes the level of one tunnel, nil for the daemon's; false if there is no such tunnel.
    func setLevel(_ level: LogLevel?, tunnel: String) -> Bool {
        guard center.levels.set(level, tunnel: tunnel) else { return false }
        let level = level ?? center.levels.daemon.level
        of(tunnel: tunnel).tell(.logLevel, .notice, nil, "log level is now \(level)", ["log_level": "\(level)"])
        return true
    }

    /// Sets all levels as a configuration has them, nil for tunnels without one of their own, and forgets other tunnels.
    func configure(_ level: LogLevel, tunnels: [String: LogLevel?]) {
        center.levels.configure(level, tunnels: tunnels)
    }

    /// The daemon's level.
    var level: LogLevel { center.levels.daemon.level }

    /// The levels of the tunnels that have one of their own.
    var levelsOfTunnels: [String: LogLevel] { center.levels.ofTunnels }

    // MARK: Telling

    /// Tells what has no event type, each time; `fields` are for machines, and `message` has to repeat those that a
    /// reader needs.
    func write(
        _ level: LogLevel, _ message: @autoclosure () -> String, _ fields: @autoclosure () -> [String: String] = [:]
    ) {
        tell(.log, level, nil, message(), fields())
    }

    /// Tells an event, on the stream and as a line. Of events of one kind with one `subject` the first is told, and the
    /// others once in a while with their count, on the stream as in the log. If `subject` is nil, for what only an
    /// administrator can cause, each is told. Events at `debug` or below are for whoever looks for a fault: they too
    /// are told each time, but only if the log's level lets them through.
    func tell(
        _ kind: EventKind, _ level: LogLevel, _ subject: String?, _ message: @autoclosure () -> String,
        _ fields: @autoclosure () -> [String: String] = [:]
    ) {
        let now = Instant(nanoseconds: MonotonicClock.now)
        tell(kind, level, subject, message(), fields(), now: now)
    }

    func tell(
        _ kind: EventKind, _ level: LogLevel, _ subject: String?, _ message: @autoclosure () -> String,
        _ fields: @autoclosure () -> [String: String] = [:], now: Instant
    ) {
        guard level >= .info || thresholds.contains(where: { $0.level <= level }) else { return }
        func telling() -> Telling {
            var fields = fields()
            fields["association"] = association
            return Telling(
                event: DaemonEvent(kind: kind, level: level, tunnels: tunnels, message: message(), fields: fields),
                logger: logger)
        }
        guard level >= .info, let subject else { return emit(telling()) }
        let tunnel = tunnels.joined(separator: " ")
        let answer = center.throttle.withLock {
            $0.admit(kind, tunnel: tunnel, subject: subject, now: now, telling)
        }
        switch answer {
        case .tell(let telling, let repetition): emit(telling, repetition)
        case .withhold(let isDueSooner): if isDueSooner { center.alarm?.signal() }
        }
    }

    // MARK: Counts of what was withheld

    /// Rung when ``tellRepeated(now:all:)`` is due sooner than it last returned; nil if the system has no room for it.
    var alarm: Wakeup? { center.alarm }

    /// Tells how often lines were withheld whose time to be told has come or, with `all`, lines that were withheld at
    /// all; returns when the next are due, nil while none are withheld.
    func tellRepeated(now: Instant, all: Bool = false) -> Instant? {
        let (due, deadline) = center.throttle.withLock { throttle in
            let due = throttle.takeDue(now: now, all: all)
            return (due, throttle.deadline)
        }
        for (telling, repetition) in due { emit(telling, repetition) }
        return deadline
    }

    private func emit(_ telling: Telling, _ repetition: LogThrottle<Telling>.Repetition? = nil) {
        var event = telling.event
        if let repetition {
            event.message += " (\(repetition))"
            event.fields["repeated"] = "\(repetition.count)"
        }
        var metadata = event.fields.mapValues { Logger.MetadataValue.string($0) }
        metadata["event"] = .string(event.kind.rawValue)
        telling.logger.log(level: event.level, "\(event.message)", metadata: metadata)
        center.hub.publish(event)
    }
}

/// swift-log's way to the sink.
private struct LineHandler: LogHandler {
    let sink: LogSink
    let tunnels: [String]
    let thresholds: [LogThreshold]
    var metadata = Logger.Metadata()

    /// The thresholds are shared by all: nothing is set here.
    var logLevel: LogLevel {
        get { thresholds.lazy.map(\.level).min() ?? .info }
        set {}
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let fields = metadata.merging(event.metadata ?? [:]) { $1 }
        sink.write(
            LogLine(
                level: event.level, tunnels: tunnels, message: "\(event.message)",
                fields: fields.mapValues { "\($0)" }))
    }
}
