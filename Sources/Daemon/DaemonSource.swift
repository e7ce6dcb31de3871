// What the control API asks of the running daemon. Workers are asked for reports; everything that reads files or waits
// goes to the supervisor's thread.

import Configuration
import Control
import DTLS
import FoundationEssentials
import LinuxIO
import Logging
import OpenSSL
import Synchronization
import Tunnel
import Wire

/// What the supervisor's thread is asked to do.
enum SupervisorMessage: Sendable {
    case reload(@Sendable (ControlOutcome<ReloadResult>) -> Void)
    case drain(@Sendable (ControlOutcome<DrainResult>) -> Void)
    /// The daemon drains, and its last flow has ended.
    case drained
    /// A worker has ended by itself.
    case workerFailed(WorkerFailure)
}

/// The daemon behind the control API.
final class DaemonSource: ControlSource {
    /// What a reload changes.
    struct State: Sendable {
        var configuration: Configuration
        /// The groups by their numbers, which the workers know them by.
        var plans: [Int: GroupPlan]
        /// The number that the next group gets, unless another has it.
        var nextGroup: Int
        var isDraining = false

        /// The number for a group that begins. Numbers have 16 bits in a worker's tokens, and are reused only after all
        /// others.
        mutating func takeNumber() -> Int {
            while plans[nextGroup] != nil || nextGroup >= Self.groupNumbers {
                nextGroup = nextGroup < Self.groupNumbers ? nextGroup + 1 : 0
            }
            defer { nextGroup += 1 }
            return nextGroup
        }

        /// There are far more numbers than tunnels. The last of them means the mailbox.
        private static let groupNumbers = Int(UInt16.max)

        /// The tunnels in the config's order, with their places.
        var tunnels: [(plan: TunnelPlan, group: Int, member: Int)] {
            let places = plans.flatMap { group, plan in
                plan.tunnels.indices.map { (plan.tunnels[$0].name, (group, $0)) }
            }
            let byName = Dictionary(places) { first, _ in first }
            return configuration.tunnels.compactMap { tunnel in
                guard let (group, member) = byName[tunnel.name], let plan = plans[group] else { return nil }
                return (plan.tunnels[member], group, member)
            }
        }
    }

    let state: Mutex<State>
    /// To the supervisor.
    let messages: Mailbox<SupervisorMessage>
    let workers: Workers
    private let log: DaemonLog
    private let path: String?
    private let startedAt = Date()
    private let began = MonotonicClock.now

    init(
        _ state: State, workers: Workers, messages: Mailbox<SupervisorMessage>, log: DaemonLog, path: String?
    ) {
        self.state = Mutex(state)
        self.workers = workers
        self.log = log
        self.path = path
        self.messages = messages
    }

    private var current: State { state.withLock { $0 } }

    /// Asks every worker. `give` gets all reports on the control plane's thread, because the last worker that answers
    /// has to get back to its datagrams.
    private func report(_ request: ReportRequest, _ give: @escaping @Sendable ([GroupReport]) -> Void) {
        workers.report(request) { reports in ControlServer.perform { give(reports) } }
    }

    // MARK: What there is

    func readiness(_ give: @escaping @Sendable (Readiness) -> Void) {
        give(current.isDraining ? .waiting(["the daemon is draining"]) : .ready)
    }

    func status(_ give: @escaping @Sendable (DaemonStatus) -> Void) {
        let state = current
        report(.tunnels) { [self] reports in
            var status = DaemonStatus(
                version: CulvertVersion.text, processID: ProcessUsage.identifier, startedAt: startedAt,
                uptimeSeconds: Double(MonotonicClock.now - began) / 1e9, workers: workers.count,
                openSSL: OpenSSLVersion.text, logLevel: log.level.rawValue)
            status.configuration = path
            status.draining = state.isDraining
            status.ready = !state.isDraining
            status.memoryBytes = ProcessUsage.residentBytes
            status.cpuSeconds = Double(CPUTime.process) / 1e9
            status.openFiles = ProcessUsage.openFiles
            status.maximumOpenFiles = ResourceLimits.openFiles
            for (plan, group, member) in state.tunnels {
                let members = reports.members(group, member)
                status.tunnels.append(plan.summary(of: members, takenAt: MonotonicClock.instant))
                status.flows += members.reduce(0) { $0 + $1.flows }
                // A shared one counts once.
                if member == 0 || !members.contains(where: \.isShared) {
                    status.associations += members.reduce(0) { $0 + $1.peers }
                }
            }
            give(status)
        }
    }

    func tunnels(_ give: @escaping @Sendable ([TunnelStatus]) -> Void) {
        let state = current
        report(.tunnels) { reports in
            let takenAt = reports.first?.takenAt ?? Instant(nanoseconds: MonotonicClock.now)
            give(
                state.tunnels.map { plan, group, member in
                    plan.status(of: reports.members(group, member), takenAt: takenAt)
                })
        }
    }

    func associations(_ query: PageQuery, _ give: @escaping @Sendable (Page<AssociationStatus>) -> Void) {
        let plans = current.plans
        guard let page = ReportPage(query, plans) else { return give(Page(items: [], total: 0)) }
        report(.associations(page)) { reports in
            give(
                reports.page(query.limit, plans, \.associations, \.serial) { report, association in
                    report.status(of: association, plans)
                })
        }
    }

    func association(_ id: String, _ give: @escaping @Sendable (AssociationStatus?) -> Void) {
        let plans = current.plans
        guard let position = ReportPosition(id, plans) else { return give(nil) }
        var before = position
        before.serial -= 1
        report(.associations(ReportPage(after: before, limit: 1))) { reports in
            let report = reports.first { ($0.group, $0.worker) == (position.group, position.worker) }
            let association = report?.associations.first { $0.serial == position.serial }
            give(association.flatMap { report?.status(of: $0, plans) })
        }
    }

    func flows(_ query: PageQuery, _ give: @escaping @Sendable (Page<FlowStatus>) -> Void) {
        let plans = current.plans
        guard let page = ReportPage(query, plans) else { return give(Page(items: [], total: 0)) }
        report(.flows(page)) { reports in
            give(
                reports.page(query.limit, plans, \.flows, \.serial) { report, flow in report.status(of: flow, plans) })
        }
    }

    func configuration(_ give: @escaping @Sendable ([UInt8]) -> Void) {
        give(current.configuration.effective.absolute(in: FileManager.default.currentDirectoryPath).json)
    }

    func metrics(associations: Bool, _ give: @escaping @Sendable (String) -> Void) {
        MetricsText(dropReasons: DropReason.allCases.map(\.name)).text(from: self, associations: associations, give)
    }

    func subscribe(
        after id: UInt64?, _ listener: @escaping @Sendable (ControlEvent) -> Void
    ) -> ControlSubscription {
        log.events.subscribe(after: id, listener)
    }

    // MARK: What can be done

    func close(association id: String, _ give: @escaping @Sendable (ControlOutcome<AssociationAction>) -> Void) {
        act(.close, id, give)
    }

    func rekey(association id: String, _ give: @escaping @Sendable (ControlOutcome<AssociationAction>) -> Void) {
        act(.rekey, id, give)
    }

    private func act(
        _ act: AssociationAct, _ id: String, _ give: @escaping @Sendable (ControlOutcome<AssociationAction>) -> Void
    ) {
        guard let position = ReportPosition(id, current.plans) else { return give(.notFound) }
        workers.act(act, position) { outcome in
            switch outcome {
            case .done, .answered, .unanswered: give(.done(AssociationAction(id: id)))
            case .notFound: give(.notFound)
            case .refused(let reason): give(.refused(reason))
            }
        }
    }

    func ping(association id: String, _ give: @escaping @Sendable (ControlOutcome<PingResult>) -> Void) {
        guard let position = ReportPosition(id, current.plans) else { return give(.notFound) }
        workers.act(.ping, position) { outcome in
            switch outcome {
            case .answered(let roundTrip, let association):
                var result = PingResult(
                    id: id, peerAddress: association.peer.map(\.description) ?? "",
                    roundTripMilliseconds: Double(roundTrip.nanoseconds) / 1e6)
                if let path = association.pathMTU, let maximum = association.maximumDatagram {
                    result.pathMTU = .init(
                        out: path.current, state: path.state.rawValue, probes: path.probes, maximumDatagram: maximum)
                }
                give(.done(result))
            case .unanswered: give(.noAnswer("the heartbeat was lost: the peer did not answer in time"))
            case .done: give(.refused("it was not asked"))
            case .notFound: give(.notFound)
            case .refused(let reason): give(.refused(reason))
            }
        }
    }

    func reload(_ give: @escaping @Sendable (ControlOutcome<ReloadResult>) -> Void) { messages.post(.reload(give)) }

    func drain(_ give: @escaping @Sendable (ControlOutcome<DrainResult>) -> Void) { messages.post(.drain(give)) }

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
}

extension [GroupReport] {
    /// What all workers say of one tunnel.
    fileprivate func members(_ group: Int, _ member: Int) -> [MemberTally] {
        filter { $0.group == group && $0.members.indices.contains(member) }.map { $0.members[member] }
    }

    /// The first elements of all reports, in order, as one page.
    fileprivate func page<Item, Status>(
        _ limit: Int, _ plans: [Int: GroupPlan], _ elements: (GroupReport) -> [Item], _ serial: (Item) -> UInt64,
        make: (GroupReport, Item) -> Status?
    ) -> Page<Status> {
        let all = sorted { ($0.group, $0.worker) < ($1.group, $1.worker) }
        var items: [Status] = []
        var last: String?
        for report in all {
            for element in elements(report) {
                guard items.count < limit else {
                    return Page(items: items, next: last, total: reduce(0) { $0 + $1.total })
                }
                guard let plan = plans[report.group], let status = make(report, element) else { continue }
                items.append(status)
                last = ReportPosition(group: report.group, worker: report.worker, serial: serial(element)).text(plan)
            }
        }
        return Page(items: items, total: reduce(0) { $0 + $1.total })
    }
}

extension ReportPage {
    /// What a query asks for; nil where nothing can be on the page.
    fileprivate init?(_ query: PageQuery, _ plans: [Int: GroupPlan]) {
        self.init(limit: query.limit + 1)
        if let name = query.tunnel {
            let places = plans.lazy.flatMap { group, plan in plan.tunnels.indices.map { (group, $0, plan) } }
            guard let place = places.first(where: { $0.2.tunnels[$0.1].name == name }) else { return nil }
            tunnel = (place.0, place.1)
        }
        if let after = query.after {
            guard let position = ReportPosition(after) else { return nil }
            self.after = position
        }
    }
}
