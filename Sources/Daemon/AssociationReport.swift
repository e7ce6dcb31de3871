// From what a worker knows of an association to what the control API says about it.

import Configuration
import Control
import DTLS
import FoundationEssentials
import LinuxIO
import Tunnel
import Wire

extension WorkerReport {
    /// The report's associations as the API shows them.
    func statuses(of plan: TunnelPlan) -> [AssociationStatus] {
        let takenAt = Date()
        return associations.map { association in
            var status = AssociationStatus(
                id: "\(plan.name)-\(worker)-\(association.serial)", tunnel: plan.name,
                role: plan.settings.role == .client ? .client : .server, state: .init(association.state),
                peerAddress: association.peer.map(\.description) ?? "\(plan.settings.forward.value)")
            status.sender = association.sender.map(\.description)
            if let description = association.description {
                status.peerIdentity = "\(description.peer)"
                status.cipher = description.cipherSuite
                status.resumed = description.isResumed
                status.handshakeMilliseconds = Double(description.handshakeDuration.nanoseconds) / 1e6
            }
            status.establishedAt = association.establishedAt.map {
                takenAt.addingTimeInterval(-Double((self.takenAt - $0).nanoseconds) / 1e9)
            }
            let counters = association.counters
            status.datagrams = .init(in: counters.datagramsIn, out: counters.datagramsOut)
            status.bytes = .init(in: counters.bytesIn, out: counters.bytesOut)
            status.dropped = counters.drops.byName
            status.heartbeat = heartbeat(of: association, plan, at: takenAt)
            if let path = association.pathMTU, let maximum = association.maximumDatagram {
                status.pathMTU = .init(
                    out: path.current, state: path.state.rawValue, probes: path.probes, maximumDatagram: maximum)
            }
            status.replayed = counters.drops[.replayed]
            status.authenticationFailures = counters.drops[.notAuthentic]
            return status
        }
    }
}

extension WorkerReport {
    private func heartbeat(
        of association: AssociationSnapshot, _ plan: TunnelPlan, at takenAt: Date
    ) -> AssociationStatus.Heartbeat? {
        guard let description = association.description else { return nil }
        var heartbeat = AssociationStatus.Heartbeat(
            negotiated: description.peerHeartbeatMode != nil, localMode: plan.path.settings.heartbeat.mode.name)
        heartbeat.peerMode = description.peerHeartbeatMode?.name
        guard let statistics = association.heartbeat else { return heartbeat }
        heartbeat.sent = statistics.sent
        heartbeat.answered = statistics.answered
        heartbeat.lost = statistics.lost
        heartbeat.lastAnswer = statistics.lastAnswer.map {
            takenAt.addingTimeInterval(-Double((self.takenAt - $0).nanoseconds) / 1e9)
        }
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
    func status(of reports: some Sequence<WorkerReport>) -> TunnelStatus {
        var status = TunnelStatus(
            name: name, role: settings.role == .client ? .client : .server,
            listen: "\(settings.role == .client ? "udp" : "dtls")://\(settings.listen.value)",
            forward: "\(settings.forward.value)")
        var counters = TunnelCounters()
        for report in reports {
            counters.add(report.counters)
            for association in report.associations {
                status.associations[AssociationStatus.State(association.state).rawValue, default: 0] += 1
            }
        }
        status.datagrams = .init(in: counters.datagramsIn, out: counters.datagramsOut)
        status.bytes = .init(in: counters.bytesIn, out: counters.bytesOut)
        status.dropped = counters.drops.byName
        status.handshakes = counters.handshakes
        status.failedHandshakes = counters.failedHandshakes
        status.evictions = counters.evictions
        return status
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
