// One group on one worker: its sans-IO core with its sockets.
//
// A batch of datagrams:
//   1. is read by the worker from the socket that the poller reported, with UDP_GRO, and pushed in here;
//   2. goes through the core datagram by datagram, and the core writes what is to be sent straight into the send batch:
//      it is borrowed once for the whole batch;
//   3. leaves with sendmmsg and UDP_SEGMENT when the worker flushes, before it waits again.

import DTLS
import LinuxIO
import OpenSSL
import Tunnel
import Wire

/// What a worker runs. Everything that comes to it is pushed in, batch by batch.
protocol Runner: AnyObject {
    /// What it was made from.
    var plan: GroupPlan { get }
    /// When ``handleTimeout(now:)`` has to be called next.
    var deadline: Instant? { get }

    /// Begins to read and to dial. To be called once every worker has opened its sockets: until then the kernel does
    /// not yet give each of them its share of the peers and senders, and a handshake could change workers.
    func begin(now: Instant) throws(SystemError)
    /// Finds out for another worker what the group's peer is.
    func findOut(for worker: Int, now: Instant)
    /// Takes another worker's answer.
    func learn(_ mode: PeerMode, _ parcel: SpareParcel?, now: Instant)
    /// One of its sockets, if it is still there.
    func socket(_ socket: GroupSocket) -> UDPSocket?
    /// Takes the datagrams of a batch that was read from one of its sockets.
    func handle(_ batch: ReceiveBatch, from socket: GroupSocket, now: Instant)
    /// Notes whether more datagrams wait at a socket than were read in one go.
    func setPressure(_ isPressed: Bool, at socket: GroupSocket)
    /// Takes what ICMP has reported about a datagram that one of its sockets sent.
    func handle(_ error: UDPSocket.PathError, at socket: GroupSocket, now: Instant)
    /// Notes that ICMP has refused what one of its sockets sent.
    func handleRefusal(at socket: GroupSocket)
    /// Notes that a socket could not be read.
    func handle(_ error: SystemError, at socket: GroupSocket)
    /// Counts datagrams that the system did not send, with the errno that it gave, and tells what an administrator can
    /// do about it.
    func handleSendFailure(_ origin: DatagramOrigin, code: CInt, count: Int, now: Instant)
    /// Takes the answer to a resolution.
    func handleAddresses(_ addresses: [Endpoint], member: Int, now: Instant)
    /// Does what is due.
    func handleTimeout(now: Instant)
    /// Sends what has waited for the end of a batch, and counts what had no socket.
    func finishBatch(now: Instant)
    /// Tells what has happened.
    func tell()
    /// Tells every peer that this end closes, and lets every socket go.
    func close()

    /// Takes settings that have changed, and what later handshakes are done with.
    func update(_ plan: GroupPlan, now: Instant)
    /// Accepts nothing new from now on.
    func drain()
    /// Carries out a command on one association.
    func act(_ act: AssociationAct, serial: UInt64, now: Instant, _ give: @escaping @Sendable (ActOutcome) -> Void)
    /// What each tunnel has done here in all, and what state it is in.
    func tallies() -> [MemberTally]
    /// A page of associations, and how many there are in all.
    func snapshots(_ page: SnapshotPage) -> (page: [AssociationSnapshot], total: Int)
    /// A page of flows, and how many there are in all.
    func flowSnapshots(_ page: SnapshotPage) -> (page: [FlowSnapshot], total: Int)
}

/// What the next handshake of a group uses; a reload replaces it.
final class HandshakeSource {
    var context: HandshakeContext

    init(_ context: HandshakeContext) { self.context = context }
}

/// How the workers that run a group tell each other what its peer is.
struct Post {
    /// Asks the worker that finds out.
    var question: () -> Void
    /// Answers a worker that has asked.
    var answer: (_ worker: Int, PeerMode, SpareParcel?) -> Void
}

/// Runs one group on its worker's thread.
final class GroupRunner<Side: RunnableSide>: Runner {
    private(set) var plan: GroupPlan
    private var group: Side.Group
    private var log: GroupLog
    private let source: HandshakeSource
    /// Those who wait for a ping, by ticket.
    var askers: [UInt64: (serial: UInt64, give: @Sendable (ActOutcome) -> Void)] = [:]
    private var nextTicket: UInt64 = 0
    private let post: Post
    /// The workers that wait for what this one finds out.
    private var waiting: [Int] = []

    /// Takes a group that was made from `plan` and begins its handshakes with `source`'s context.
    init(
        _ plan: GroupPlan, _ group: consuming Side.Group, source: HandshakeSource, log: GroupLog,
        post: Post
    ) {
        self.post = post
        self.plan = plan
        self.group = group
        self.source = source
        self.log = log
    }

    var deadline: Instant? {
        @specialized(where Side == ClientSide)
        @specialized(where Side == ServerSide)
        get { group.deadline }
    }

    func begin(now: Instant) throws(SystemError) {
        try group.output.beginListening()
        Side.begin(&group, now: now)
    }

    func findOut(for worker: Int, now: Instant) {
        waiting.append(worker)
        Side.findOut(&group, now: now)
    }

    func learn(_ mode: PeerMode, _ parcel: SpareParcel?, now: Instant) {
        Side.learn(mode, parcel, in: &group, now: now)
    }

    // MARK: Datagrams

    func socket(_ socket: GroupSocket) -> UDPSocket? { group.output.socket(socket) }

    @specialized(where Side == ClientSide)
    @specialized(where Side == ServerSide)
    func handle(_ batch: ReceiveBatch, from socket: GroupSocket, now: Instant) {
        Self.push(batch, from: socket, into: &group, now: now)
    }

    func handleRefusal(at socket: GroupSocket) {
        // It is no news that a stranger who was answered is not there.
        guard case .own = socket else { return }
        log.whole.refused(by: group.output.socket(socket)?.remoteEndpoint)
    }

    /// The group is borrowed here for the whole batch.
    private static func push(
        _ batch: ReceiveBatch, from socket: GroupSocket, into group: inout Side.Group, now: Instant
    ) {
        let truncated = batch.truncated
        batch.forEachDatagram { datagram, source, destination in
            Side.take(&datagram, at: socket, from: source, to: destination, into: &group, now: now)
        }
        if batch.truncated != truncated {
            Side.countTruncated(batch.truncated - truncated, at: socket, in: &group)
        }
    }

    @specialized(where Side == ClientSide)
    @specialized(where Side == ServerSide)
    func setPressure(_ isPressed: Bool, at socket: GroupSocket) { Side.setPressure(isPressed, at: socket, in: &group) }

    func handle(_ error: UDPSocket.PathError, at socket: GroupSocket, now: Instant) {
        if let size = error.packetSize {
            Side.take(error, packetSize: size, at: socket, into: &group, now: now)
        } else {
            handleRefusal(at: socket)
        }
    }

    func handle(_ error: SystemError, at socket: GroupSocket) { log.whole.failedToRead(error) }

    func handleSendFailure(_ origin: DatagramOrigin, code: CInt, count: Int, now: Instant) {
        let failure = SendFailure(code)
        switch failure {
        case .noRoom, .tooLarge: break
        case .unreachable, .noAddress: log.whole.notSent(code, to: remote(of: origin))
        }
        let isConfirmed = failure != .noAddress || hasLostAddress(origin)
        group.handleSendFailure(origin, isConfirmed ? failure : .unreachable, count: count, now: now)
    }

    private func remote(of origin: DatagramOrigin) -> Endpoint? {
        guard case .own(let owner) = origin else { return nil }
        return group.output.socket(.own(owner))?.remoteEndpoint
    }

    private func hasLostAddress(_ origin: DatagramOrigin) -> Bool {
        guard case .own(let owner) = origin else { return false }
        return group.output.socket(.own(owner))?.hasLostAddress == true
    }

    func handleAddresses(_ addresses: [Endpoint], member: Int, now: Instant) {
        Side.take(addresses, ofMember: member, into: &group, now: now)
    }

    @specialized(where Side == ClientSide)
    @specialized(where Side == ServerSide)
    func handleTimeout(now: Instant) { group.handleTimeout(now: now) }

    @specialized(where Side == ClientSide)
    @specialized(where Side == ServerSide)
    func finishBatch(now: Instant) {
        group.finishBatch(now: now)
        for owner in group.output.takeStrays() {
            group.handleSendFailure(.own(owner), .unreachable, count: 1, now: now)
        }
    }

    @specialized(where Side == ClientSide)
    @specialized(where Side == ServerSide)
    func tell() {
        let notices = group.takeEvents()
        if !notices.isEmpty { log.tell(notices) }
        let (peerMode, isWanted) = Side.finding(&group)
        if isWanted { post.question() }
        if let peerMode, !waiting.isEmpty {
            for worker in waiting { post.answer(worker, peerMode, Side.takeSpare(&group)) }
            waiting = []
        }
        for (ticket, answer) in group.takePingAnswers() { giveAnswer(answer, to: ticket) }
    }

    func close() {
        Side.close(&group)
        tell()
        group.output.closeAll()
    }

    // MARK: The control plane

    func update(_ plan: GroupPlan, now: Instant) {
        self.plan = plan
        log = log.renewed(for: plan)
        source.context = plan.context
        Side.update(&group, by: plan, now: now)
    }

    func drain() { group.drain() }

    func act(_ act: AssociationAct, serial: UInt64, now: Instant, _ give: @escaping @Sendable (ActOutcome) -> Void) {
        switch act {
        case .close:
            give(Side.close(serial: serial, in: &group, now: now) ? .done : .notFound)
        case .ping:
            nextTicket += 1
            switch group.ping(serial: serial, ticket: nextTicket, now: now) {
            case .sent: askers[nextTicket] = (serial, give)
            case .notFound: give(.notFound)
            case .refused: give(.refused("it is not established, or the peer takes no heartbeat requests"))
            }
        case .rekey:
            switch Side.beginRekeying(serial: serial, in: &group, now: now) {
            case .begun: give(.done)
            case .notFound: give(.notFound)
            case .refused: give(.refused("it is not established, or a handshake is on its way already"))
            case nil: give(.refused("only the client's end of an association can begin a new handshake"))
            }
        }
    }

    private func giveAnswer(_ answer: PingAnswer, to ticket: UInt64) {
        guard let (serial, give) = askers.removeValue(forKey: ticket) else { return }
        // The association may have ended since; then the first one behind it is another.
        let snapshot = snapshots(SnapshotPage(after: serial - 1, limit: 1)).page.first { $0.serial == serial }
        switch (answer, snapshot) {
        case (.roundTrip(let duration), let snapshot?): give(.answered(duration, snapshot))
        case (.lost, _): give(.unanswered)
        default: give(.refused("the association has ended"))
        }
    }

    func tallies() -> [MemberTally] { group.tallies() }

    func snapshots(_ page: SnapshotPage) -> (page: [AssociationSnapshot], total: Int) { group.snapshots(page) }

    func flowSnapshots(_ page: SnapshotPage) -> (page: [FlowSnapshot], total: Int) { group.flowSnapshots(page) }
}
