// One group on one worker: its sockets and its sans-IO core, and the datagrams between them.
//
// A batch of datagrams:
//   1. is read from the socket that the poller reported, with UDP_GRO;
//   2. goes through the core one by one, which writes what is to be sent straight into the send batch;
//   3. leaves with sendmmsg and UDP_SEGMENT when the worker flushes, before it waits again.

import Configuration
import Control
import DTLS
import LinuxIO
import OpenSSL
import Tunnel
import Wire

/// Runs one group on its worker's thread.
final class GroupRunner {
    private enum Core {
        case client(ClientGroup<OpenSSLHandshake, GroupSockets>)
        case server(ServerGroup<OpenSSLHandshake, CookieKey, GroupSockets>)
    }

    private(set) var plan: GroupPlan
    private let core: Core
    private let sockets: GroupSockets
    private let received: ReceiveBatch
    private let log: GroupLog
    /// What the next handshake is done with; a reload brings another.
    private let context: ContextBox

    private final class ContextBox {
        var context: HandshakeContext

        init(_ context: HandshakeContext) { self.context = context }
    }

    init(
        _ plan: GroupPlan, sockets: GroupSockets, received: ReceiveBatch, log: GroupLog, seed: UInt64, now: Instant
    ) throws(OpenSSLError) {
        self.plan = plan
        self.sockets = sockets
        self.received = received
        self.log = log
        let box = ContextBox(plan.context)
        context = box
        let settings = plan.first
        switch plan.role {
        case .client:
            let name = PeerName(settings.serverName)
            let group = ClientGroup(
                plan.members, policy: settings.policy, path: settings.path, sharing: plan.sharing,
                connect: plan.connect, output: sockets, seed: seed
            ) { datagramSize in
                log.whole.engine { () throws(OpenSSLError) in
                    try OpenSSLHandshake(client: box.context, verifying: name, datagramSize: datagramSize)
                }
            }
            core = .client(group)
            group.start(now: now)
        case .server:
            let verified = settings.settings.cookieExchange
            core = .server(
                ServerGroup(
                    plan.members, path: settings.path, sharing: plan.sharing, cookieExchange: verified,
                    firstKey: try CookieKey(), output: sockets, seed: seed, now: now, makeKey: { try? CookieKey() }
                ) { datagramSize in
                    log.whole.engine { () throws(OpenSSLError) in
                        try OpenSSLHandshake(server: box.context, cookieVerified: verified, datagramSize: datagramSize)
                    }
                })
        }
    }

    /// When ``handleTimeout(now:)`` has to be called next.
    var deadline: Instant? {
        switch core {
        case .client(let group): group.deadline
        case .server(let group): group.deadline
        }
    }

    /// Reads a socket that the group listens on.
    func readListener(_ listener: Int) {
        guard listener < sockets.listeners.count else { return }
        let socket = sockets.listeners[listener]
        switch core {
        case .client(let group):
            drain(socket, truncated: { group.countTruncated($0, member: listener) }, { group.setPressure($0) }) {
                datagram, source, destination, now in
                group.handleLocal(datagram.bytes, member: listener, from: source, to: destination, now: now)
            }
        case .server(let group):
            drain(socket, truncated: { group.countTruncated($0, fromPeer: true) }) {
                datagram, source, destination, now in
                group.handlePeer(&datagram, from: source, to: destination, now: now)
            }
        }
    }

    /// Reads a flow's own socket.
    func readFlow(_ index: Int32, generation: UInt16) {
        guard let (flow, socket) = sockets.socket(of: index, generation: generation) else { return }
        let countTruncated: (Int) -> Void = { [core] count in
            switch core {
            case .client(let group): group.countTruncated(count, member: nil)
            case .server(let group): group.countTruncated(count, fromPeer: false)
            }
        }
        drain(socket, truncated: countTruncated) { datagram, _, _, now in
            switch core {
            case .client(let group): group.handleRemote(&datagram, flow: flow, now: now)
            case .server(let group): group.handleTarget(datagram.bytes, flow: flow, now: now)
            }
        }
        guard received.pendingErrors > 0 else { return }
        log.whole.refused(by: socket.remoteEndpoint)
    }

    /// Takes what ICMP has said about the path from a socket that the group listens on. That a stranger who was answered
    /// is not there is no news.
    func readListenerErrors(_ listener: Int) {
        guard listener < sockets.listeners.count else { return }
        readErrors(of: sockets.listeners[listener]) { error, now in
            guard let size = error.packetSize, case .server(let group) = core else { return }
            group.handlePathHint(size, peer: error.destination, now: now)
        }
    }

    /// Takes what ICMP has said about the path from a flow's own socket.
    func readFlowErrors(_ index: Int32, generation: UInt16) {
        guard let (flow, socket) = sockets.socket(of: index, generation: generation) else { return }
        readErrors(of: socket) { error, now in
            guard let size = error.packetSize else { return log.whole.refused(by: socket.remoteEndpoint) }
            guard case .client(let group) = core else { return }
            group.handlePathHint(size, flow: flow, now: now)
        }
    }

    /// Takes the answer to a resolution.
    func handleAddresses(_ addresses: [Endpoint], member: Int, now: Instant) {
        switch core {
        case .client(let group): group.handleAddresses(addresses, now: now)
        case .server(let group): group.handleAddresses(addresses, member: member)
        }
    }

    /// Does what is due.
    func handleTimeout(now: Instant) {
        switch core {
        case .client(let group): group.handleTimeout(now: now)
        case .server(let group): group.handleTimeout(now: now)
        }
    }

    /// Sends what waits, counts what could not be sent, and logs what has happened.
    func flush() {
        if case .client(let group) = core { group.finishBatch(now: Instant(nanoseconds: MonotonicClock.now)) }
        // A refused probe of the path MTU is answered with a smaller one, which is to leave too; sizes only shrink.
        while true {
            let failures = sockets.flush()
            guard !failures.isEmpty else { break }
            let now = Instant(nanoseconds: MonotonicClock.now)
            for failed in failures {
                switch core {
                case .client(let group):
                    group.handleSendFailure(failed.flow, failed.failure, count: failed.count, now: now)
                case .server(let group):
                    group.handleSendFailure(failed.flow, failed.failure, count: failed.count, now: now)
                }
            }
        }
        switch core {
        case .client(let group): log.tell(group.takeEvents())
        case .server(let group): log.tell(group.takeEvents())
        }
    }

    /// Tells every peer that this end closes, and closes every socket.
    func close() {
        switch core {
        case .client(let group): group.close()
        case .server(let group): group.close()
        }
        flush()
        sockets.closeAll()
    }

    // MARK: The control plane

    /// What each tunnel has done here in all, and how it stands.
    func tallies() -> [MemberTally] {
        switch core {
        case .client(let group): group.tallies()
        case .server(let group): group.tallies()
        }
    }

    /// Does what is wanted with one association.
    func act(_ act: AssociationAct, serial: UInt64, now: Instant, _ give: @escaping @Sendable (ActOutcome) -> Void) {
        switch act {
        case .close:
            let isDone =
                switch core {
                case .client(let group): group.close(serial: serial, now: now)
                case .server(let group): group.close(serial: serial)
                }
            give(isDone ? .done : .notFound)
        case .ping:
            let answer: (PingAnswer) -> Void = { [unowned self] answer in
                let page = snapshots(SnapshotPage(after: serial - 1, limit: 1)).page
                switch (answer, page.first) {
                case (.roundTrip(let duration), let snapshot?): give(.answered(duration, snapshot))
                case (.lost, _): give(.unanswered)
                default: give(.refused("the association has ended"))
                }
            }
            let outcome =
                switch core {
                case .client(let group): group.ping(serial: serial, now: now, answer)
                case .server(let group): group.ping(serial: serial, now: now, answer)
                }
            switch outcome {
            case .sent: break
            case .notFound: give(.notFound)
            case .refused:
                give(.refused("it is not established, or the peer takes no heartbeat requests"))
            }
        case .rekey:
            switch core {
            case .client(let group):
                switch group.rekey(serial: serial, now: now) {
                case .begun: give(.done)
                case .notFound: give(.notFound)
                case .refused: give(.refused("it is not established, or a handshake is on its way already"))
                }
            case .server(let group):
                give(
                    group.has(serial: serial)
                        ? .refused("only the client's end of an association can begin a new handshake") : .notFound)
            }
        }
    }

    /// Takes settings that have changed, and what later handshakes are done with.
    func update(_ plan: GroupPlan, now: Instant) {
        self.plan = plan
        context.context = plan.context
        switch core {
        case .client(let group): group.update(plan.members, policy: plan.first.policy, now: now)
        case .server(let group): group.update(plan.members, now: now)
        }
    }

    /// Takes on nothing new from now on.
    func drain() {
        switch core {
        case .client(let group): group.drain()
        case .server(let group): group.drain()
        }
    }

    /// A part of the associations, and how many there are.
    func snapshots(_ page: SnapshotPage) -> (page: [AssociationSnapshot], total: Int) {
        switch core {
        case .client(let group): group.snapshots(page)
        case .server(let group): group.snapshots(page)
        }
    }

    /// A part of the flows, and how many there are.
    func flowSnapshots(_ page: SnapshotPage) -> (page: [FlowSnapshot], total: Int) {
        switch core {
        case .client(let group): group.flowSnapshots(page)
        case .server(let group): group.flowSnapshots(page)
        }
    }

    /// Why the peer refuses the service of the group's tunnel of this number, if it does.
    func refusal(of member: Int) -> ServiceRefusal? {
        if case .client(let group) = core { group.refusal(of: member) } else { nil }
    }

    // MARK: Reading

    /// Reads batch after batch while they come full, but not for ever: other sockets wait too. `note` is told whether more
    /// may be waiting.
    private func drain(
        _ socket: UDPSocket, truncated countTruncated: (Int) -> Void, _ note: (Bool) -> Void = { _ in },
        _ body: (inout MutableRawSpan, _ source: Endpoint, _ destination: IPAddress, _ now: Instant) -> Void
    ) {
        for _ in 0..<Self.batchesInARow {
            let truncated = received.truncated
            guard case .received = received.receive(from: socket) else { return note(false) }
            let now = Instant(nanoseconds: MonotonicClock.now)
            received.forEachDatagram { datagram, source, destination in body(&datagram, source, destination, now) }
            if received.truncated != truncated { countTruncated(received.truncated - truncated) }
            guard received.wasFull else { return note(false) }
            flush()
        }
        note(true)
    }

    private func readErrors(of socket: UDPSocket, _ body: (UDPSocket.PathError, _ now: Instant) -> Void) {
        // Whoever can make ICMP messages must not keep the worker here.
        for _ in 0..<Self.errorsInARow {
            guard let error = socket.nextPathError() else { return }
            body(error, Instant(nanoseconds: MonotonicClock.now))
        }
    }

    private static let batchesInARow = 8
    private static let errorsInARow = 64
}
