// One thread that carries datagrams: a poller, the batches, and every tunnel of the daemon with its share of the flows.
// Workers share nothing. The kernel spreads senders over their sockets (SO_REUSEPORT) and keeps each sender with one.

import Configuration
import DTLS
import LinuxIO
import OpenSSL
import Tunnel
import Wire

/// What the control plane asks of a worker.
enum WorkerMessage: Sendable {
    /// A name was resolved, or could not be.
    case addresses(tunnel: UInt16, [Endpoint])
    /// Every association is wanted.
    case report(@Sendable ([WorkerReport]) -> Void)
    /// The worker is to tell its peers goodbye and end.
    case stop
}

/// The associations of one tunnel on one worker.
struct WorkerReport: Sendable {
    let tunnel: Int
    let worker: Int
    let takenAt: Instant
    /// What the tunnel has carried here in all, living associations included.
    let counters: TunnelCounters
    let associations: [AssociationSnapshot]
}

/// Why a worker did not start.
struct WorkerFailure: Error, CustomStringConvertible {
    let description: String
}

/// A worker, made and used on its own thread.
final class Worker {
    private let number: Int
    private let mailbox: Mailbox<WorkerMessage>
    private let poller: Poller
    private var runners: [TunnelRunner] = []

    /// Opens all sockets.
    init(
        number: Int, plans: [TunnelPlan], isAlone: Bool, mailbox: Mailbox<WorkerMessage>, resolver: Resolver,
        log: DaemonLog
    ) throws(WorkerFailure) {
        self.number = number
        self.mailbox = mailbox
        let now = Instant(nanoseconds: MonotonicClock.now)
        do {
            poller = try Poller()
            try poller.add(mailbox.wakeup.descriptor, token: PollToken.mailbox.rawValue)
        } catch {
            throw WorkerFailure(description: "\(error)")
        }
        let batch = SendBatch()
        let received = ReceiveBatch()
        for (index, plan) in plans.enumerated() {
            let tunnel = UInt16(index)
            let tunnelLog = TunnelLog(plan, log)
            do {
                let sockets = try Self.sockets(
                    tunnel, plan, isAlone: isAlone, poller: poller, batch: batch
                ) { [mailbox] in
                    resolver.resolve(plan.settings.forward.value) { result in
                        tunnelLog.resolved(result)
                        mailbox.post(.addresses(tunnel: tunnel, (try? result.get()) ?? []))
                    }
                }
                runners.append(
                    try TunnelRunner(
                        plan, sockets: sockets, received: received, log: tunnelLog,
                        seed: .random(in: .min ... .max), now: now))
            } catch {
                throw WorkerFailure(description: "tunnel '\(plan.name)': \(error)")
            }
        }
    }

    /// Carries datagrams until it is told to stop.
    func run() throws(SystemError) {
        var isRunning = true
        while isRunning {
            var reported: TunnelRunner?
            try poller.wait(nanoseconds: timeout) { rawToken in
                switch PollToken(rawValue: rawToken) {
                case .mailbox:
                    reported?.flush()
                    reported = nil
                    if !handleMessages() { isRunning = false }
                case .shared(let tunnel):
                    let runner = attend(Int(tunnel), after: &reported)
                    if poller.hasError { runner?.readSharedErrors() }
                    runner?.readShared()
                case .flow(let index, let generation, let tunnel):
                    let runner = attend(Int(tunnel), after: &reported)
                    if poller.hasError { runner?.readFlowErrors(index, generation: generation) }
                    runner?.readFlow(index, generation: generation)
                }
            }
            reported?.flush()
            let now = Instant(nanoseconds: MonotonicClock.now)
            for runner in runners where runner.deadline.map({ $0 <= now }) ?? false {
                runner.handleTimeout(now: now)
                runner.flush()
            }
        }
        for runner in runners { runner.close() }
    }

    /// The tunnel that a socket belongs to. The batch reports failures by flow, so it is flushed between tunnels; sockets
    /// of one tunnel share a flush.
    private func attend(_ tunnel: Int, after reported: inout TunnelRunner?) -> TunnelRunner? {
        guard tunnel < runners.count else { return nil }
        let runner = runners[tunnel]
        if let reported, reported !== runner { reported.flush() }
        reported = runner
        return runner
    }

    private var timeout: Int64? {
        var earliest: Instant?
        for runner in runners {
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
            case .addresses(let tunnel, let addresses):
                runners[Int(tunnel)].handleAddresses(addresses, now: now)
                runners[Int(tunnel)].flush()
            case .report(let give):
                give(
                    runners.enumerated().map { index, runner in
                        WorkerReport(
                            tunnel: index, worker: number, takenAt: now, counters: runner.counters,
                            associations: runner.snapshots())
                    })
            }
        }
        return true
    }

    private static func sockets(
        _ number: UInt16, _ plan: TunnelPlan, isAlone: Bool, poller: Poller, batch: SendBatch,
        startResolving: @escaping () -> Void
    ) throws(SystemError) -> TunnelSockets {
        var options = UDPSocket.Options()
        options.reusePort = !isAlone
        options.packetInfo = true
        options.pathErrors = plan.settings.role == .server
        let shared = try UDPSocket.bound(to: plan.settings.listen.value, options: options)
        // On the DTLS side every packet says that it must not be fragmented, so that the path MTU shows; the exceptions are
        // made datagram by datagram. What applications exchange with culvert is theirs to size.
        let isServer = plan.settings.role == .server
        try shared.setFragmentation(isServer ? .probe : .allowed)
        return try TunnelSockets(
            number: number, shared: shared, poller: poller, batch: batch, fragmentation: isServer ? .allowed : .probe,
            startResolving: startResolving)
    }
}
