// The daemon from its start to its end: config, keys, workers, control socket, and the signals that end it.

public import Configuration
import Control
import FoundationEssentials
import LinuxIO
import Logging
import Synchronization
import Wire

/// Runs the daemon.
public struct Supervisor {
    /// Why the daemon did not start, or could not go on.
    public struct Failure: Error, CustomStringConvertible {
        /// One sentence, for standard error.
        public let description: String
    }

    private let configuration: Configuration
    private let log: DaemonLog
    private let path: String?
    private let runWorker: WorkerPool.Run

    /// Prepares a daemon for a checked configuration, which was read from `path`.
    public init(_ configuration: Configuration, path: String? = nil) {
        let form: LogForm =
            switch configuration.daemon.logFormat {
            case .auto: .automatic
            case .text: .text
            case .json: .json
            case .journal: .journal
            }
        let log = DaemonLog(form: form, level: LogLevel(configuration.daemon.logLevel))
        self.init(configuration, path: path, log: log) { worker throws(SystemError) in try worker.run() }
    }

    /// Prepares a daemon with this log and with workers that do as `runWorker` does.
    init(_ configuration: Configuration, path: String?, log: DaemonLog, runWorker: @escaping WorkerPool.Run) {
        self.configuration = configuration
        self.path = path
        self.log = log
        self.runWorker = runWorker
    }

    /// Carries datagrams until SIGTERM or SIGINT, or until a worker cannot go on, which is thrown; returns once every peer has
    /// been told and every thread has ended.
    public func run() throws(Failure) {
        do {
            // Before any thread starts, so that every thread leaves the signals to this one.
            let signals = try SignalSource([.terminate, .interrupt, .hangUp])
            try serve(until: signals)
        } catch let failure as Failure {
            throw failure
        } catch {
            throw Failure(description: "\(error)")
        }
    }

    private func serve(until signals: SignalSource) throws {
        if (try? ResourceLimits.raiseOpenFiles()) == nil {
            log.write(.warning, "cannot raise the limit on open files; each flow needs one")
        }
        log.configure(LogLevel(configuration.daemon.logLevel), tunnels: configuration.logLevels)
        let keyLog = try KeyLog.fromEnvironment(log)
        var credentials = Credentials(keyLog: keyLog)
        let plans = credentials.plans(for: configuration)
        for diagnostic in credentials.diagnostics where diagnostic.severity == .warning || plans == nil {
            log.write(diagnostic.severity == .error ? .error : .warning, "\(diagnostic)")
        }
        guard let plans else { throw Failure(description: "the configuration names files that cannot be used") }
        for plan in plans { try plan.checkFree() }

        let workers = configuration.daemon.workers > 0 ? configuration.daemon.workers : CPUCount.available
        let repeats = RepeatReporter(log)
        defer { repeats.stop() }
        let messages = try Mailbox<SupervisorMessage>()
        let pool = try WorkerPool(count: workers, plans: plans, log: log, run: runWorker) { failure in
            messages.post(.workerFailed(failure))
        }
        defer { pool.stop() }
        let numbered = Dictionary(uniqueKeysWithValues: plans.enumerated().map { ($0, $1) })
        let source = DaemonSource(
            DaemonSource.State(configuration: configuration, plans: numbered, nextGroup: plans.count),
            workers: pool.workers, messages: messages, log: log, path: path)
        let control = try ControlServer.start(path: configuration.daemon.controlSocket.value, source: source)
        defer { control.stop() }
        let page = try configuration.daemon.metricsListen.map { listen in
            try ControlServer.start(tcp: "\(listen.value.address)", port: Int(listen.value.port), source: source)
        }
        defer { page?.stop() }

        let notifier = ServiceNotifier()
        let tunnels = configuration.tunnels.count
        let summary = "\(tunnels) tunnel\(tunnels == 1 ? "" : "s"), \(workers) worker\(workers == 1 ? "" : "s")"
        notifier.ready(status: summary)
        log.tell(.ready, .notice, nil, "ready: \(summary)")
        defer {
            notifier.stopping()
            log.tell(.stopping, .notice, nil, "stopping")
        }
        try waitForEnd(signals, source, keyLog)
    }

    /// Does what signals and the control API ask for until the daemon is to end; throws the reason unless the end was
    /// asked for.
    private func waitForEnd(_ signals: SignalSource, _ source: DaemonSource, _ keyLog: KeyLog?) throws {
        let poller = try Poller(capacity: 2)
        try poller.add(signals.descriptor, token: 0)
        try poller.add(source.messages.wakeup.descriptor, token: 1)
        var isDraining = false
        while true {
            let patience = isDraining ? Self.drainInterval : nil
            let ready = try poller.wait(nanoseconds: patience) { _ in }
            while let signal = signals.next() {
                if signal == .terminate || signal == .interrupt { return }
                _ = reload(source, keyLog)
            }
            for message in source.messages.takeAll() {
                switch message {
                case .reload(let give): give(.done(reload(source, keyLog)))
                case .drain(let give):
                    drain(source, give)
                    isDraining = true
                case .drained: return
                case .workerFailed(let failure): throw failure
                }
            }
            if isDraining, ready == 0 { source.status { if $0.flows == 0 { source.messages.post(.drained) } } }
        }
    }

    /// How often a draining daemon is checked for remaining flows.
    private static let drainInterval: Int64 = 500_000_000

    // MARK: Reload

    /// Reads the configuration again and puts it in force, all of it or, where something is wrong, nothing.
    private func reload(_ source: DaemonSource, _ keyLog: KeyLog?) -> ReloadResult {
        var result = ReloadResult()
        guard let path else {
            result.errors = [ConfigurationDiagnostic(severity: "error", message: "there is no file to read again")]
            return result
        }
        var (configuration, diagnostics) = ConfigurationCheck.load(path: path)
        var plans: [GroupPlan]?
        if let configuration {
            var credentials = Credentials(keyLog: keyLog)
            plans = credentials.plans(for: configuration)
            diagnostics += credentials.diagnostics
        }
        result.warnings = diagnostics.filter { $0.severity == .warning }.map { ConfigurationDiagnostic($0) }
        result.errors = diagnostics.filter { $0.severity == .error }.map { ConfigurationDiagnostic($0) }
        for diagnostic in diagnostics {
            log.write(diagnostic.severity == .error ? .error : .warning, "\(diagnostic)")
        }
        guard let configuration, let plans, result.errors.isEmpty else {
            log.tell(.reloadFailed, .error, nil, "the configuration has mistakes; nothing was changed")
            return result
        }
        Reload(source: source, log: log).apply(configuration, plans, &result)
        return result
    }

    private func drain(_ source: DaemonSource, _ give: @escaping @Sendable (ControlOutcome<DrainResult>) -> Void) {
        source.state.withLock { $0.isDraining = true }
        source.workers.drain()
        log.tell(.draining, .notice, nil, "draining: no new flows and associations are taken")
        source.status { status in give(.done(DrainResult(draining: true, flows: status.flows))) }
    }
}

extension LogLevel {
    init(_ level: DaemonSettings.LogLevel) {
        switch level {
        case .trace: self = .trace
        case .debug: self = .debug
        case .info: self = .info
        case .notice: self = .notice
        case .warning: self = .warning
        case .error: self = .error
        case .critical: self = .critical
        }
    }
}
