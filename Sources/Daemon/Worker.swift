// One thread that carries datagrams: a poller, the batches, and every group of the daemon with its share of the flows.
// Workers share nothing. The kernel spreads senders over their sockets (SO_REUSEPORT) and keeps each sender with one; in shared
// mode each worker has an association of its own with the peer, so that a flow's datagrams stay in order.

import Configuration
import DTLS
import LinuxIO
import OpenSSL
import Tunnel
import Wire

/// What the control plane asks of a worker.
enum WorkerMessage: Sendable {
    /// A name was resolved, or could not be.
    case addresses(group: UInt16, member: Int, [Endpoint])
    /// Something is wanted that a status shows.
    case report(ReportRequest, @Sendable ([GroupReport]) -> Void)
    /// Something is to be done with an association.
    case act(AssociationAct, group: Int, serial: UInt64, @Sendable (ActOutcome) -> Void)
    /// A group's settings have changed in what can change while it runs.
    case update(GroupPlan, group: Int)
    /// A group has been added to the configuration, or replaces one.
    case add(GroupPlan, group: Int, @Sendable (WorkerFailure?) -> Void)
    /// A group is to tell its peers goodbye and end.
    case remove(group: Int, @Sendable () -> Void)
    /// Nothing new is to begin.
    case drain
    /// The worker is to tell its peers goodbye and end.
    case stop
}

/// Why a worker did not start, or has ended by itself.
struct WorkerFailure: Error, CustomStringConvertible {
    let description: String
}

/// A worker, made and used on its own thread.
final class Worker {
    let number: Int
    private let mailbox: Mailbox<WorkerMessage>
    private let poller: Poller
    private let batch = SendBatch()
    private let received = ReceiveBatch()
    private let isAlone: Bool
    private let resolver: Resolver
    private let log: DaemonLog
    private var runners: [Int: GroupRunner] = [:]

    /// Opens all sockets.
    init(
        number: Int, plans: [GroupPlan], isAlone: Bool, mailbox: Mailbox<WorkerMessage>, resolver: Resolver,
        log: DaemonLog
    ) throws(WorkerFailure) {
        self.number = number
        self.mailbox = mailbox
        self.isAlone = isAlone
        self.resolver = resolver
        self.log = log
        do {
            poller = try Poller()
            try poller.add(mailbox.wakeup.descriptor, token: PollToken.mailbox.rawValue)
        } catch {
            throw WorkerFailure(description: "\(error)")
        }
        for (group, plan) in plans.enumerated() { try add(plan, as: group) }
    }

    /// Carries datagrams until it is told to stop; tells every peer goodbye then, and also where it cannot go on.
    func run() throws(SystemError) {
        defer { for runner in runners.values { runner.close() } }
        // What a group has begun by itself.
        for runner in runners.values { runner.flush() }
        var isRunning = true
        while isRunning {
            var reported: GroupRunner?
            try poller.wait(nanoseconds: timeout) { rawToken in
                switch PollToken(rawValue: rawToken) {
                case .mailbox:
                    reported?.flush()
                    reported = nil
                    if !handleMessages() { isRunning = false }
                case .listener(let group, let listener):
                    let runner = attend(Int(group), after: &reported)
                    if poller.hasError { runner?.readListenerErrors(Int(listener)) }
                    runner?.readListener(Int(listener))
                case .flow(let index, let generation, let group):
                    let runner = attend(Int(group), after: &reported)
                    if poller.hasError { runner?.readFlowErrors(index, generation: generation) }
                    runner?.readFlow(index, generation: generation)
                }
            }
            reported?.flush()
            let now = Instant(nanoseconds: MonotonicClock.now)
            for runner in runners.values where runner.deadline.map({ $0 <= now }) ?? false {
                runner.handleTimeout(now: now)
                runner.flush()
            }
        }
    }

    private func add(_ plan: GroupPlan, as number: Int) throws(WorkerFailure) {
        let group = UInt16(truncatingIfNeeded: number)
        let logs = GroupLog(plan, group: number, worker: self.number, log)
        do {
            let sockets = try sockets(group, plan) { [mailbox, resolver] member in
                resolver.resolve(plan.tunnels[member].settings.forward.value) { result in
                    logs.of(member).resolved(result)
                    mailbox.post(.addresses(group: group, member: member, (try? result.get()) ?? []))
                }
            }
            runners[number] = try GroupRunner(
                plan, sockets: sockets, received: received, log: logs, seed: .random(in: .min ... .max),
                now: Instant(nanoseconds: MonotonicClock.now))
        } catch {
            throw WorkerFailure(description: "tunnel '\(plan.name)': \(error)")
        }
    }

    /// The group that a socket belongs to. The batch reports failures by flow, so it is flushed between groups; sockets of
    /// one group share a flush.
    private func attend(_ group: Int, after reported: inout GroupRunner?) -> GroupRunner? {
        guard let runner = runners[group] else { return nil }
        if let reported, reported !== runner { reported.flush() }
        reported = runner
        return runner
    }

    private var timeout: Int64? {
        var earliest: Instant?
        for runner in runners.values {
            guard let deadline = runner.deadline else { continue }
            earliest = earliest.map { min($0, deadline) } ?? deadline
        }
        return earliest.map { max($0.nanoseconds - MonotonicClock.now, 0) }
    }

    /// Answers false when it is time to stop.
    private func handleMessages() -> Bool {
        let now = Instant(nanoseconds: MonotonicClock.now)
        for message in mailbox.takeAll() {
            switch message {
            case .stop:
                return false
            case .addresses(let group, let member, let addresses):
                guard let runner = runner(Int(group)) else { continue }
                runner.handleAddresses(addresses, member: member, now: now)
                runner.flush()
            case .report(let request, let give):
                give(runners.keys.sorted().map { report(request, $0, now) })
            case .act(let act, let group, let serial, let give):
                guard let runner = runner(group) else {
                    give(.notFound)
                    continue
                }
                runner.act(act, serial: serial, now: now, give)
                runner.flush()
            case .add(let plan, let group, let give):
                do throws(WorkerFailure) {
                    try add(plan, as: group)
                    runner(group)?.flush()
                    give(nil)
                } catch {
                    give(error)
                }
            case .update(let plan, let group):
                runner(group)?.update(plan, now: now)
                runner(group)?.flush()
            case .remove(let group, let give):
                runners.removeValue(forKey: group)?.close()
                give()
            case .drain:
                for runner in runners.values { runner.drain() }
            }
        }
        return true
    }

    private func runner(_ group: Int) -> GroupRunner? { runners[group] }

    private func report(_ request: ReportRequest, _ group: Int, _ now: Instant) -> GroupReport {
        var report = GroupReport(group: group, worker: number, takenAt: now)
        guard let runner = runners[group] else { return report }
        switch request {
        case .tunnels:
            report.members = runner.tallies()
        case .associations(let page):
            guard let part = page.part(of: group, worker: number) else { return report }
            (report.associations, report.total) = runner.snapshots(part)
        case .flows(let page):
            guard let part = page.part(of: group, worker: number) else { return report }
            (report.flows, report.total) = runner.flowSnapshots(part)
            report.isRefused = runner.plan.tunnels.indices.map { runner.refusal(of: $0) != nil }
        }
        return report
    }

    private func sockets(
        _ number: UInt16, _ plan: GroupPlan, startResolving: @escaping (_ member: Int) -> Void
    ) throws(SystemError) -> GroupSockets {
        let isServer = plan.role == .server
        var options = UDPSocket.Options()
        options.reusePort = !isAlone
        options.packetInfo = true
        options.pathErrors = isServer
        var listeners: [UDPSocket] = []
        for tunnel in plan.listeners {
            let listener = try UDPSocket.bound(to: tunnel.settings.listen.value, options: options)
            // On the DTLS side every packet says that it must not be fragmented, so that the path MTU shows; the exceptions
            // are made datagram by datagram. What applications exchange with culvert is theirs to size.
            try listener.setFragmentation(isServer ? .probe : .allowed)
            listeners.append(listener)
        }
        return try GroupSockets(
            number: number, listeners: listeners, poller: poller, batch: batch,
            fragmentation: isServer ? .allowed : .probe, startResolving: startResolving)
    }
}
