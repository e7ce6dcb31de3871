// What the control API asks of the daemon: it asks the workers and puts their reports together.

import Control
import DTLS
import FoundationEssentials
import Glibc
import Logging

/// The daemon as the control API sees it.
final class Reporter: ControlSource, @unchecked Sendable {
    private let pool: WorkerPool
    private let plans: [TunnelPlan]
    private let log: DaemonLog
    private let startedAt = Date()

    init(pool: WorkerPool, plans: [TunnelPlan], log: DaemonLog) {
        self.pool = pool
        self.plans = plans
        self.log = log
    }

    func readiness(_ give: @escaping @Sendable (Readiness) -> Void) { give(.ready) }

    func tunnels(_ give: @escaping @Sendable ([TunnelStatus]) -> Void) {
        pool.report { [plans] reports in
            give(plans.enumerated().map { index, plan in plan.status(of: reports.lazy.filter { $0.tunnel == index }) })
        }
    }

    func associations(_ query: PageQuery, _ give: @escaping @Sendable (Page<AssociationStatus>) -> Void) {
        all { list in
            let candidates = list.lazy.filter { query.tunnel == nil || $0.tunnels.contains(query.tunnel ?? "") }
            give(query.page(of: candidates, id: { $0.id }, make: { $0 }))
        }
    }

    func association(_ id: String, _ give: @escaping @Sendable (AssociationStatus?) -> Void) {
        all { list in give(list.first { $0.id == id }) }
    }

    func subscribe(
        after id: UInt64?, _ listener: @escaping @Sendable (ControlEvent) -> Void
    ) -> ControlSubscription {
        log.events.subscribe(after: id, listener)
    }

    func setLogLevel(
        _ setting: LogLevelSetting, _ give: @escaping @Sendable (ControlOutcome<LogLevelSetting>) -> Void
    ) {
        let level = LogLevel(rawValue: setting.level)
        if let tunnel = setting.tunnel {
            guard log.setLevel(level, tunnel: tunnel) else { return give(.notFound) }
        } else if let level {
            log.setLevel(level)
        }
        give(.done(setting))
    }

    func metrics(associations: Bool, _ give: @escaping @Sendable (String) -> Void) {
        MetricsText(dropReasons: DropReason.allCases.map(\.name)).text(from: self, associations: associations, give)
    }

    private func all(_ give: @escaping @Sendable ([AssociationStatus]) -> Void) {
        pool.report { [plans] reports in
            give(reports.flatMap { $0.statuses(of: plans[$0.tunnel]) })
        }
    }
}

extension Reporter {
    func status(_ give: @escaping @Sendable (DaemonStatus) -> Void) {
        let now = Date()
        let begun = DaemonStatus(
            version: "development", processID: Int(getpid()), startedAt: startedAt,
            uptimeSeconds: now.timeIntervalSince(startedAt), workers: 0, openSSL: "",
            logLevel: "\(log.level)")
        tunnels { list in
            var status = begun
            status.associations = list.reduce(0) { $0 + $1.associations.values.reduce(0, +) }
            status.tunnels = list.map { tunnel in
                .init(
                    name: tunnel.name, role: tunnel.role, listen: tunnel.listen, forward: tunnel.forward,
                    state: tunnel.state)
            }
            give(status)
        }
    }

    // What follows waits for workers that can do it.

    func flows(_ query: PageQuery, _ give: @escaping @Sendable (Page<FlowStatus>) -> Void) {
        give(Page(items: [], total: 0))
    }

    func configuration(_ give: @escaping @Sendable ([UInt8]) -> Void) { give(Array("{}\n".utf8)) }

    func close(association id: String, _ give: @escaping @Sendable (ControlOutcome<AssociationAction>) -> Void) {
        give(Self.cannotYet())
    }

    func ping(association id: String, _ give: @escaping @Sendable (ControlOutcome<PingResult>) -> Void) {
        give(Self.cannotYet())
    }

    func rekey(association id: String, _ give: @escaping @Sendable (ControlOutcome<AssociationAction>) -> Void) {
        give(Self.cannotYet())
    }

    func reload(_ give: @escaping @Sendable (ControlOutcome<ReloadResult>) -> Void) { give(Self.cannotYet()) }

    func drain(_ give: @escaping @Sendable (ControlOutcome<DrainResult>) -> Void) { give(Self.cannotYet()) }

    private static func cannotYet<Value>() -> ControlOutcome<Value> {
        .refused("The daemon cannot do this yet; restart it instead.")
    }
}
