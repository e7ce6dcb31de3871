// One thread that carries datagrams: a poller, the batches, and every group of the daemon with its share of the flows.
//
// A turn:
//   1. waits until a socket can be read, a message has come, or a group has something due. A wake-up costs what is due;
//      groups that have nothing to do are not looked at;
//   2. reads batch after batch from each socket that is ready, and pushes them into its group;
//   3. does what is due;
//   4. sends everything that was written meanwhile, lets the groups that took part tell what has happened, and sets
//      their timers.
//
// Workers share nothing. The kernel spreads senders over their sockets (SO_REUSEPORT) and keeps each sender with one;
// in shared mode each worker has its own association with the peer, so that a flow's datagrams stay in order.

import Configuration
import DTLS
import LinuxIO
import OpenSSL
import Settings
import Tunnel
import Wire

/// What the control plane asks of a worker.
enum WorkerMessage: Sendable {
    /// A name was resolved, or could not be.
    case addresses(group: UInt16, member: Int, [Endpoint])
    /// A status needs a report.
    case report(ReportRequest, @Sendable ([GroupReport]) -> Void)
    /// A command on an association.
    case act(AssociationAct, group: Int, serial: UInt64, @Sendable (ActOutcome) -> Void)
    /// Settings of a group have changed that can change while it runs.
    case update(GroupPlan, group: Int)
    /// Every worker has opened the sockets of the groups that have not begun yet.
    case begin
    /// A worker needs to know what the peer of a group is.
    case findOut(group: Int, for: Int)
    /// What another worker has found out, perhaps with the association that it was found out with.
    case found(group: Int, PeerMode, SpareParcel?)
    /// A group has been added to the configuration, or replaces one. It does not begin yet.
    case add(GroupPlan, group: Int, @Sendable (WorkerFailure?) -> Void)
    /// A group is to say goodbye to its peers and end.
    case remove(group: Int, @Sendable () -> Void)
    /// Nothing new is to begin.
    case drain
    /// The worker is to say goodbye to its peers and end.
    case stop
}

/// Why a worker did not start, or has ended by itself.
struct WorkerFailure: Error, CustomStringConvertible {
    let description: String
}

/// A worker, made and used on its own thread.
final class Worker {
    /// A group, the deadline that its timer is set to, and whether it takes part in this turn.
    private struct Entry {
        let runner: any Runner
        var armed: Instant?
        var isTouched = false
        var hasBegun = false
    }

    /// A socket that could not be read and is left alone for a while.
    private struct Pause {
        let socket: GroupSocket
        let group: Int
        let until: Instant
    }

    let number: Int
    private let mailbox: Mailbox<WorkerMessage>
    private let poller: Poller
    private let batch = SendBatch()
    private let received = ReceiveBatch()
    /// The mailboxes of all workers.
    private let workers: [Mailbox<WorkerMessage>]
    private let secret: CookieSecret
    private let resolver: Resolver
    private let log: DaemonLog
    /// By their numbers; nil for those that have ended.
    private var groups: [Entry?] = []
    private var deadlines = DeadlineQueue<Int>()
    /// The groups that take part in this turn.
    private var touched: [Int] = []
    private var pauses: [Pause] = []
    private var hasMessages = false

    /// Opens all sockets.
    init(
        number: Int, plans: [GroupPlan], workers: [Mailbox<WorkerMessage>], secret: CookieSecret, resolver: Resolver,
        log: DaemonLog
    ) throws(WorkerFailure) {
        self.number = number
        self.workers = workers
        self.secret = secret
        mailbox = workers[number]
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

    /// Carries datagrams until it is told to stop or cannot go on, and then says goodbye to every peer.
    func run() throws(SystemError) {
        defer { for group in groups.indices { end(group) } }
        var isRunning = true
        while isRunning {
            hasMessages = false
            try poller.wait(nanoseconds: timeout) { rawToken in
                switch PollToken(rawValue: rawToken) {
                case .mailbox: hasMessages = true
                case .socket(let socket, let group): read(socket, of: Int(group))
                }
            }
            if hasMessages, try !handleMessages() { isRunning = false }
            doWhatIsDue(MonotonicClock.instant)
            finishTurn()
        }
    }

    // MARK: A turn

    private var timeout: Int64? {
        let resumed = pauses.isEmpty ? nil : pauses.map(\.until).min()
        return Instant.earlier(deadlines.earliest, resumed).map { max($0.nanoseconds - MonotonicClock.now, 0) }
    }

    /// Reads batch after batch while they come full, but not for ever: other sockets wait too.
    private func read(_ socket: GroupSocket, of group: Int) {
        guard let runner = touch(group) else { return }
        if poller.hasError { readErrors(of: socket, runner) }
        for _ in 0..<Self.batchesInARow {
            guard let descriptor = runner.socket(socket) else { return }
            let outcome = received.receive(from: descriptor)
            if received.pendingErrors > 0 { runner.handleRefusal(at: socket) }
            switch outcome {
            case .received: runner.handle(received, from: socket, now: MonotonicClock.instant)
            case .empty: return runner.setPressure(false, at: socket)
            case .failed(let code):
                pause(socket, of: group, descriptor)
                return runner.handle(SystemError(code, "recvmmsg"), at: socket)
            }
            guard received.wasFull else { return runner.setPressure(false, at: socket) }
            runner.finishBatch(now: MonotonicClock.instant)
            send()
        }
        runner.setPressure(true, at: socket)
    }

    private func readErrors(of socket: GroupSocket, _ runner: any Runner) {
        // Whoever can send ICMP messages must not keep the worker here.
        for _ in 0..<Self.errorsInARow {
            guard let error = runner.socket(socket)?.nextPathError() else { return }
            runner.handle(error, at: socket, now: MonotonicClock.instant)
        }
    }

    /// Leaves a socket that cannot be read alone for a second: the poller would report it again at once, for ever.
    private func pause(_ socket: GroupSocket, of group: Int, _ descriptor: UDPSocket) {
        try? poller.remove(descriptor.descriptor)
        pauses.append(Pause(socket: socket, group: group, until: MonotonicClock.instant + .seconds(1)))
    }

    private func resume(_ now: Instant) {
        guard !pauses.isEmpty else { return }
        for pause in pauses where pause.until <= now {
            guard let socket = entry(pause.group)?.runner.socket(pause.socket) else { continue }
            let token = PollToken.socket(pause.socket, group: UInt16(truncatingIfNeeded: pause.group))
            try? poller.add(socket.descriptor, token: token.rawValue)
        }
        pauses.removeAll { $0.until <= now }
    }

    private func doWhatIsDue(_ now: Instant) {
        resume(now)
        while let (group, deadline) = deadlines.popDue(now) {
            guard entry(group)?.armed == deadline else { continue }
            groups[group]?.armed = nil
            touch(group)?.handleTimeout(now: now)
        }
    }

    private func entry(_ group: Int) -> Entry? { groups.indices.contains(group) ? groups[group] : nil }

    /// Makes a group take part in this turn.
    @discardableResult
    private func touch(_ group: Int) -> (any Runner)? {
        guard let entry = entry(group) else { return nil }
        if !entry.isTouched {
            groups[group]?.isTouched = true
            touched.append(group)
        }
        return entry.runner
    }

    /// Sends what waits, tells what has happened, and sets timers.
    private func finishTurn() {
        guard !touched.isEmpty else { return }
        let now = MonotonicClock.instant
        // By number: a group that has lost a datagram takes part from then on.
        var place = 0
        while place < touched.count {
            entry(touched[place])?.runner.finishBatch(now: now)
            place += 1
        }
        send()
        while let group = touched.popLast() {
            guard let runner = entry(group)?.runner else { continue }
            runner.tell()
            groups[group]?.isTouched = false
            arm(group, runner.deadline)
        }
    }

    private func arm(_ group: Int, _ deadline: Instant?) {
        guard let deadline else { return }
        var armed = groups[group]?.armed
        deadlines.arm(group, at: deadline, armed: &armed)
        groups[group]?.armed = armed
    }

    /// Sends what was written, and tells the groups which datagrams the system did not take. A refused probe of the
    /// path MTU leads to a smaller one, which is sent too; this ends, because sizes only shrink.
    private func send() {
        while true {
            var failures: [(token: SendToken, count: Int, code: CInt)] = []
            batch.flush { token, count, code in failures.append((SendToken(rawValue: token), count, code)) }
            guard !failures.isEmpty else { return }
            let now = MonotonicClock.instant
            for (token, count, code) in failures {
                touch(Int(token.group))?.handleSendFailure(token.origin, code: code, count: count, now: now)
            }
        }
    }

    private static var batchesInARow: Int { 8 }
    private static var errorsInARow: Int { 64 }

    // MARK: Groups

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
            let runner = try makeRunner(plan, number, sockets, logs, now: MonotonicClock.instant)
            while groups.count <= number { groups.append(nil) }
            groups[number] = Entry(runner: runner)
        } catch {
            throw WorkerFailure(description: "tunnel '\(plan.name)': \(error)")
        }
    }

    /// Lets the groups begin that have not.
    private func begin(now: Instant) throws(SystemError) {
        for group in groups.indices where entry(group)?.hasBegun == false {
            groups[group]?.hasBegun = true
            try touch(group)?.begin(now: now)
        }
    }

    /// The worker that finds out what the peer of a group is.
    private func finder(_ group: Int) -> Int { group % workers.count }

    private func post(_ group: Int) -> Post {
        Post(
            question: { [number, finder = workers[finder(group)]] in finder.post(.findOut(group: group, for: number)) },
            answer: { [workers] worker, mode, parcel in workers[worker].post(.found(group: group, mode, parcel)) })
    }

    private func makeRunner(
        _ plan: GroupPlan, _ number: Int, _ sockets: consuming GroupSockets, _ logs: GroupLog, now: Instant
    ) throws(OpenSSLError) -> any Runner {
        let source = HandshakeSource(plan.context)
        let settings = plan.first
        let seed = UInt64.random(in: .min ... .max)
        switch plan.role {
        case .client:
            let name = PeerName(settings.serverName)
            let group = ClientGroup<OpenSSLHandshake, GroupSockets>(
                plan.members, policy: settings.settings.reconnect, path: settings.path,
                sharing: settings.settings.sharing, connect: settings.settings.connect,
                findsOut: finder(number) == self.number,
                output: sockets, seed: seed
            ) { datagramSize in
                logs.whole.engine { () throws(OpenSSLError) in
                    try OpenSSLHandshake(client: source.context, verifying: name, datagramSize: datagramSize)
                }
            }
            return GroupRunner<ClientSide>(plan, group, source: source, log: logs, post: post(number))
        case .server:
            let verified = settings.settings.cookieExchange
            let group = ServerGroup<OpenSSLHandshake, GroupSockets>(
                plan.members, path: settings.path, sharing: settings.settings.sharing, cookieExchange: verified,
                firstKey: try CookieKey(secret, period: CookieExchange.period(at: now)), output: sockets, seed: seed,
                now: now,
                makeKey: { [secret] in try? CookieKey(secret, period: $0) }
            ) { datagramSize in
                logs.whole.engine { () throws(OpenSSLError) in
                    try OpenSSLHandshake(server: source.context, cookieVerified: verified, datagramSize: datagramSize)
                }
            }
            return GroupRunner<ServerSide>(plan, group, source: source, log: logs, post: post(number))
        }
    }

    /// Ends a group, which says goodbye to its peers.
    private func end(_ group: Int) {
        guard let runner = entry(group)?.runner else { return }
        runner.close()
        send()
        groups[group] = nil
        touched.removeAll { $0 == group }
        pauses.removeAll { $0.group == group }
    }

    // MARK: The control plane

    /// Returns false when it is time to stop.
    private func handleMessages() throws(SystemError) -> Bool {
        let now = MonotonicClock.instant
        for message in mailbox.takeAll() {
            switch message {
            case .stop:
                return false
            case .addresses(let group, let member, let addresses):
                touch(Int(group))?.handleAddresses(addresses, member: member, now: now)
            case .report(let request, let give):
                give(groups.indices.filter { groups[$0] != nil }.map { report(request, $0, now) })
            case .act(let act, let group, let serial, let give):
                if let runner = touch(group) {
                    runner.act(act, serial: serial, now: now, give)
                } else {
                    give(.notFound)
                }
            case .begin: try begin(now: now)
            case .findOut(let group, let worker): touch(group)?.findOut(for: worker, now: now)
            case .found(let group, let mode, let parcel): touch(group)?.learn(mode, parcel, now: now)
            case .add(let plan, let group, let give):
                do throws(WorkerFailure) {
                    try add(plan, as: group)
                    give(nil)
                } catch {
                    give(error)
                }
            case .update(let plan, let group):
                touch(group)?.update(plan, now: now)
            case .remove(let group, let give):
                end(group)
                give()
            case .drain:
                for group in groups.indices { touch(group)?.drain() }
            }
        }
        return true
    }

    private func report(_ request: ReportRequest, _ group: Int, _ now: Instant) -> GroupReport {
        var report = GroupReport(group: group, worker: number, takenAt: now)
        guard let runner = entry(group)?.runner else { return report }
        switch request {
        case .tunnels:
            report.members = runner.tallies()
        case .associations(let page):
            guard let part = page.part(of: group, worker: number) else { return report }
            (report.associations, report.total) = runner.snapshots(part)
        case .flows(let page):
            guard let part = page.part(of: group, worker: number) else { return report }
            (report.flows, report.total) = runner.flowSnapshots(part)
            report.isRefused = runner.tallies().map { $0.refusal != nil }
        }
        return report
    }

    private func sockets(
        _ number: UInt16, _ plan: GroupPlan, startResolving: @escaping (_ member: Int) -> Void
    ) throws(SystemError) -> GroupSockets {
        let isServer = plan.role == .server
        var options = UDPSocket.Options()
        options.reusePort = workers.count > 1
        options.pathErrors = isServer
        var listeners: [UDPSocket] = []
        for tunnel in plan.listeners {
            // If the socket has only one address, answers leave from there anyway.
            let address = tunnel.settings.listen.value
            options.packetInfo = address.address.isUnspecified
            let listener = try UDPSocket.bound(to: address, options: options)
            // On the DTLS side every packet has the "do not fragment" bit set, so that the path MTU shows; exceptions
            // are made datagram by datagram. The size of what applications exchange with culvert is their own business.
            try listener.setFragmentation(isServer ? .probe : .allowed)
            listeners.append(listener)
        }
        return GroupSockets(
            number: number, listeners: listeners, poller: poller, batch: batch,
            fragmentation: isServer ? .allowed : .probe, startResolving: startResolving)
    }
}
