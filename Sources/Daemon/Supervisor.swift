// The daemon from its start to its end: config, keys, workers, control socket, and the signals that end it.

public import Configuration
import Control
import FoundationEssentials
import Glibc
import LinuxIO
import Logging
import Wire

/// Runs the daemon.
public struct Supervisor {
    /// Why the daemon did not start.
    public struct Failure: Error, CustomStringConvertible {
        /// One sentence, for standard error.
        public let description: String
    }

    private let configuration: Configuration
    private let log: DaemonLog

    /// Prepares a daemon for a checked configuration.
    public init(_ configuration: Configuration) {
        self.configuration = configuration
        let form: LogForm =
            switch configuration.daemon.logFormat {
            case .auto: .automatic
            case .text: .text
            case .json: .json
            case .journal: .journal
            }
        log = DaemonLog(form: form, level: LogLevel(configuration.daemon.logLevel))
    }

    /// Carries datagrams until SIGTERM or SIGINT; returns once every peer has been told and every thread has ended.
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
        let keyLog = try KeyLog.fromEnvironment(log)
        var credentials = Credentials(keyLog: keyLog)
        let plans = credentials.plans(for: configuration)
        for diagnostic in credentials.diagnostics where diagnostic.severity == .warning || plans == nil {
            log.write(diagnostic.severity == .error ? .error : .warning, "\(diagnostic)")
        }
        guard let plans else { throw Failure(description: "the configuration names files that cannot be used") }
        for plan in plans { try checkFree(plan) }

        let workers = configuration.daemon.workers > 0 ? configuration.daemon.workers : CPUCount.available
        let repeats = RepeatReporter(log)
        defer { repeats.stop() }
        let pool = try WorkerPool(count: workers, plans: plans, log: log)
        defer { pool.stop() }
        let control = try ControlServer.start(
            path: configuration.daemon.controlSocket.value, source: Reporter(pool: pool, plans: plans, log: log))
        defer { control.stop() }

        let notifier = ServiceNotifier()
        let summary = "\(plans.count) tunnel\(plans.count == 1 ? "" : "s"), \(workers) worker\(workers == 1 ? "" : "s")"
        notifier.ready(status: summary)
        log.tell(.ready, .notice, nil, "ready: \(summary)")
        waitForEnd(signals)
        notifier.stopping()
        log.tell(.stopping, .notice, nil, "stopping")
    }

    private func waitForEnd(_ signals: SignalSource) {
        guard let poller = try? Poller(capacity: 1), (try? poller.add(signals.descriptor, token: 0)) != nil else {
            return
        }
        while true {
            guard (try? poller.wait(nanoseconds: nil) { _ in }) != nil else { return }
            while let signal = signals.next() {
                if signal == .terminate || signal == .interrupt { return }
                log.write(.notice, "SIGHUP: the configuration is read at start only; restart to apply changes")
            }
        }
    }

    /// Makes sure that nobody else has the tunnel's address. The workers share it among themselves (SO_REUSEPORT), and
    /// would share it with another daemon of the same user just as silently.
    private func checkFree(_ plan: TunnelPlan) throws(Failure) {
        let listen = plan.settings.listen
        do {
            try UDPSocket.bound(to: listen.value).close()
        } catch {
            let advice =
                switch error.code {
                case EADDRINUSE: "; another program has this port: ss -ulpn 'sport = :\(listen.value.port)'"
                case EACCES: "; ports below 1024 need CAP_NET_BIND_SERVICE, which culvert.service grants"
                case EADDRNOTAVAIL: "; this machine has no such address"
                default: ""
                }
            throw Failure(description: "\(listen.location): tunnel '\(plan.name)' cannot listen: \(error)\(advice)")
        }
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
