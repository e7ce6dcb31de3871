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
            for reason in DropReason.allCases where counters.drops[reason] > 0 {
                status.dropped[reason.name] = counters.drops[reason]
            }
            status.replayed = counters.drops[.replayed]
            status.authenticationFailures = counters.drops[.notAuthentic]
            return status
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
