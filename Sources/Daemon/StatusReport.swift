// From what workers know to what the control API says.

import Configuration
import Control
import DTLS
import FoundationEssentials
import LinuxIO
import OpenSSL
import Settings
import Tunnel
import Wire

/// The API's ids of associations and flows: `TUNNEL-GROUP-WORKER-SERIAL`, where the tunnel is the first of its group. A
/// group that a reload begins anew gets another number, so that no id is given twice. Written and read side by side.
extension ReportPosition {
    /// The id of what is at this position in `plan`'s group.
    func text(_ plan: GroupPlan) -> String { "\(plan.first.name)-\(group)-\(worker)-\(serial)" }

    /// Reads an id; the group may be one that has ended. Nil if it is no id.
    init?(_ text: String) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count >= 4, let group = Int(parts[parts.count - 3]), let worker = Int(parts[parts.count - 2]),
            let serial = UInt64(parts[parts.count - 1])
        else { return nil }
        self.init(group: group, worker: worker, serial: serial)
    }

    /// Reads the id of something in a running group; nil if no group has it.
    init?(_ text: String, _ plans: [Int: GroupPlan]) {
        self.init(text)
        guard serial > 0, let plan = plans[group], self.text(plan) == text else { return nil }
    }
}

/// The wall clock's time of moments on the monotonic clock.
struct WallClock {
    private let date = Date()
    private let instant: Instant

    init(at instant: Instant) { self.instant = instant }

    func date(_ moment: Instant) -> Date { date.addingTimeInterval(-Double((instant - moment).nanoseconds) / 1e9) }
}

extension GroupReport {
    /// An association of the report as the API shows it.
    func status(of association: AssociationSnapshot, _ plans: [Int: GroupPlan]) -> AssociationStatus? {
        guard let group = plans[group] else { return nil }
        let clock = WallClock(at: takenAt)
        let position = ReportPosition(group: self.group, worker: worker, serial: association.serial)
        let plan = association.member.map { group.tunnels[$0] } ?? group.first
        var status = AssociationStatus(
            id: position.text(group), tunnel: plan.name,
            role: group.role == .client ? .client : .server, state: .init(association.state),
            peerAddress: association.peer.map(\.description) ?? "\(plan.settings.forward.value)")
        if association.member == nil { status.tunnels = group.tunnels.map(\.name) }
        status.mode = association.isShared ? .shared : .plain
        status.flows = association.flowCount
        status.rekeys = UInt64(association.rekeys)
        status.sender = association.sender.map(\.description)
        if let description = association.description {
            status.peerIdentity = "\(description.peer)"
            status.cipher = description.cipherSuite
            status.applicationProtocol = description.applicationProtocol
            status.serverName = description.serverName
            status.resumed = description.isResumed
            status.handshakeMilliseconds = Double(description.handshakeDuration.nanoseconds) / 1e6
        }
        status.establishedAt = association.establishedAt.map(clock.date)
        let counters = association.counters
        status.datagrams = .init(in: counters.datagramsIn, out: counters.datagramsOut)
        status.bytes = .init(in: counters.bytesIn, out: counters.bytesOut)
        status.offered = counters.offered
        status.records = counters.records
        status.controlRecords = counters.control
        status.dropped = counters.drops.byName
        status.heartbeat = heartbeat(of: association, plan, clock)
        if let path = association.pathMTU, let maximum = association.maximumDatagram {
            status.pathMTU = .init(
                out: path.current, state: path.state.rawValue, probes: path.probes, maximumDatagram: maximum)
        }
        status.replayed = counters.drops[.replayed]
        status.authenticationFailures = counters.drops[.notAuthentic]
        return status
    }

    /// A flow of the report as the API shows it.
    func status(of flow: FlowSnapshot, _ plans: [Int: GroupPlan]) -> FlowStatus? {
        guard let group = plans[group] else { return nil }
        let clock = WallClock(at: takenAt)
        let plan = group.tunnels[flow.member]
        let isRefused = flow.isShared && isRefused.indices.contains(flow.member) && isRefused[flow.member]
        var status = FlowStatus(
            id: ReportPosition(group: self.group, worker: worker, serial: flow.serial).text(group), tunnel: plan.name,
            service: plan.settings.service, role: group.role == .client ? .client : .server,
            mode: flow.isShared ? .shared : .plain, state: isRefused ? .refused : .init(flow.state),
            since: clock.date(flow.beganAt))
        status.association = flow.association.map {
            ReportPosition(group: self.group, worker: worker, serial: $0).text(group)
        }
        status.sender = flow.sender.map(\.description)
        status.peerAddress = flow.peer.map(\.description)
        status.flowID = flow.wireID
        status.datagrams = .init(in: flow.counters.datagramsIn, out: flow.counters.datagramsOut)
        status.bytes = .init(in: flow.counters.bytesIn, out: flow.counters.bytesOut)
        status.dropped = flow.counters.dropped > 0 ? ["total": flow.counters.dropped] : [:]
        status.idleMilliseconds = UInt64(max((takenAt - flow.touchedAt).nanoseconds / 1_000_000, 0))
        return status
    }

    private func heartbeat(
        of association: AssociationSnapshot, _ plan: TunnelPlan, _ clock: WallClock
    ) -> AssociationStatus.Heartbeat? {
        guard let description = association.description else { return nil }
        var heartbeat = AssociationStatus.Heartbeat(
            negotiated: description.peerHeartbeatMode != nil, localMode: plan.path.heartbeat.mode.name)
        heartbeat.peerMode = description.peerHeartbeatMode?.name
        guard let statistics = association.heartbeat else { return heartbeat }
        heartbeat.sent = statistics.sent
        heartbeat.answered = statistics.answered
        heartbeat.lost = statistics.lost
        heartbeat.lastAnswer = statistics.lastAnswer.map(clock.date)
        if let last = statistics.lastRoundTrip, let minimum = statistics.minimumRoundTrip,
            let mean = statistics.meanRoundTrip
        {
            heartbeat.roundTrip = .init(
                last: Double(last.nanoseconds) / 1e6, min: Double(minimum.nanoseconds) / 1e6,
                mean: Double(mean.nanoseconds) / 1e6)
        }
        return heartbeat
    }
}

extension TunnelPlan {
    /// What the control API says of the tunnel, from the reports of all workers about it.
    func status(of reports: [MemberTally], takenAt: Instant) -> TunnelStatus {
        var status = TunnelStatus(
            name: name, role: settings.role == .client ? .client : .server,
            listen: "\(settings.role == .client ? "udp" : "dtls")://\(settings.listen.value)",
            forward: "\(settings.forward.value)")
        status.service = settings.service
        status.sharing = .init(rawValue: settings.sharing.rawValue) ?? .never
        let limits = settings.limits
        status.limits = .init(
            flows: limits.maximumFlows, associations: limits.maximumAssociations, handshakes: limits.maximumHandshakes)
        var counters = TunnelCounters()
        for report in reports {
            counters.add(report.counters)
            for (state, count) in report.states {
                status.associations[AssociationStatus.State(state).rawValue, default: 0] += count
            }
            status.flows += report.flows
            status.heartbeatsLost &+= report.heartbeatsLost
            if let refusal = report.refusal {
                status.serviceRefused = .init(
                    reason: refusal.reason.name, message: "\(refusal.reason)",
                    since: WallClock(at: takenAt).date(refusal.since))
            }
        }
        status.state = state(of: reports)
        if reports.contains(where: { $0.states[.established, default: 0] > 0 }) {
            status.mode = reports.contains { $0.isShared } ? .shared : .plain
        }
        status.datagrams = .init(in: counters.datagramsIn, out: counters.datagramsOut)
        status.bytes = .init(in: counters.bytesIn, out: counters.bytesOut)
        status.received = .init(in: counters.receivedIn, out: counters.receivedOut)
        status.records = counters.records
        status.controlRecords = counters.control
        status.dropped = counters.drops.byName
        status.handshakes = counters.handshakes
        status.failedHandshakes = counters.failedHandshakes
        status.evictions = counters.evictions
        status.handshakeSeconds = Histogram(counters.handshakeTimes)
        status.roundTripSeconds = Histogram(counters.roundTrips)
        status.certificate = certificate
        return status
    }

    /// The tunnel in one line.
    func summary(of reports: [MemberTally], takenAt: Instant) -> DaemonStatus.Summary {
        let state = state(of: reports)
        var summary = DaemonStatus.Summary(
            name: name, role: settings.role == .client ? .client : .server,
            listen: "\(settings.role == .client ? "udp" : "dtls")://\(settings.listen.value)",
            forward: "\(settings.forward.value)", state: state)
        summary.peers = reports.reduce(0) { $0 + $1.peers }
        summary.ciphers = reports.reduce(into: Set()) { $0.formUnion($1.ciphers) }.sorted()
        summary.peerIdentities = Array(
            Set(reports.lazy.flatMap(\.identities)).map { "\($0)" }.sorted()
                .prefix(DaemonStatus.Summary.longestIdentityList))
        if summary.peers > 0 {
            summary.protocols = ["DTLS 1.2"]
            summary.mode = reports.contains { $0.isShared } ? .shared : .plain
        }
        summary.problem = problem(of: reports, state, takenAt)
        if settings.role == .server, state != .up { summary.lastFailure = lastProblem(of: reports).map(\.event.text) }
        return summary
    }

    private func state(of reports: [MemberTally]) -> TunnelStatus.State {
        var states: [AssociationSnapshot.State: Int] = [:]
        for report in reports { states.merge(report.states, uniquingKeysWith: +) }
        if states[.established, default: 0] > 0 {
            return reports.contains { $0.refusal != nil } ? .down : .up
        }
        if settings.role == .client, reports.contains(where: { $0.problem != nil }) { return .down }
        if states[.handshaking, default: 0] + states[.resolving, default: 0] > 0 { return .connecting }
        return states[.waiting, default: 0] > 0 ? .down : .idle
    }

    private func lastProblem(of reports: [MemberTally]) -> TunnelProblem? {
        reports.lazy.compactMap(\.problem).min { $0.since < $1.since }
    }

    private func problem(of reports: [MemberTally], _ state: TunnelStatus.State, _ takenAt: Instant) -> String? {
        if let refusal = reports.lazy.compactMap(\.refusal).first {
            return "the peer does not give the service '\(settings.service)': \(refusal.reason)"
        }
        guard state == .down, let problem = lastProblem(of: reports) else { return nil }
        let seconds = (takenAt - problem.since).nanoseconds / 1_000_000_000
        let time = seconds < 120 ? "\(seconds) seconds" : "\(seconds / 60) minutes"
        return "\(problem.event.text) (for \(time))"
    }

    private var certificate: CertificateStatus? {
        (context.credential?.certificate).map {
            CertificateStatus(subject: $0.subject, notAfter: Date(timeIntervalSince1970: Double($0.notAfter)))
        }
    }
}

extension Histogram {
    init(_ times: TimeHistogram) { self.init(counts: times.counts, sum: times.sum) }
}

extension CloseReason {
    /// For machines.
    fileprivate var name: String { "\(self)".replacing(" ", with: "_") }
}

extension FlowStatus.State {
    fileprivate init(_ state: FlowSnapshot.State) {
        switch state {
        case .waiting: self = .waiting
        case .opening: self = .opening
        case .open: self = .open
        }
    }
}

extension DropCounters {
    /// The counts that are not zero, under the names of their reasons.
    fileprivate var byName: [String: UInt64] {
        var counts: [String: UInt64] = [:]
        for reason in DropReason.allCases where self[reason] > 0 { counts[reason.name] = self[reason] }
        return counts
    }
}

extension HeartbeatMode {
    /// RFC 6520's name.
    fileprivate var name: String {
        switch self {
        case .peerAllowedToSend: "peer_allowed_to_send"
        case .peerNotAllowedToSend: "peer_not_allowed_to_send"
        }
    }
}

extension AssociationStatus.State {
    fileprivate init(_ state: AssociationSnapshot.State) {
        switch state {
        case .resolving: self = .resolving
        case .handshaking: self = .handshaking
        case .established: self = .established
        case .waiting: self = .reconnecting
        case .idle: self = .idle
        }
    }
}
