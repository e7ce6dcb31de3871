// Groups as objects, for tests whose parts hold them together; the groups themselves are values that are changed in place. Who
// asks for a ping is called with its answer.

import DTLS
import Settings
import Tunnel
import Wire

typealias FlowID = PlaceID

/// Those who have asked for a ping, by ticket.
private struct Askers {
    private var gives: [UInt64: (PingAnswer) -> Void] = [:]
    private var next: UInt64 = 0

    mutating func add(_ give: @escaping (PingAnswer) -> Void) -> UInt64 {
        next += 1
        gives[next] = give
        return next
    }

    mutating func give(_ answers: [(ticket: UInt64, answer: PingAnswer)]) {
        for (ticket, answer) in answers { gives.removeValue(forKey: ticket)?(answer) }
    }
}

/// One end of a group.
final class HeldGroup<Engine: HandshakeEngine, Side: GroupSide, Output: DatagramOutput> {
    fileprivate var group: GroupEnd<Engine, Side, Output>
    private var askers = Askers()

    fileprivate init(_ group: consuming GroupEnd<Engine, Side, Output>) { self.group = group }

    fileprivate func change<Result>(_ body: (inout GroupEnd<Engine, Side, Output>) -> Result) -> Result {
        defer { askers.give(group.takePingAnswers()) }
        return body(&group)
    }

    var deadline: Instant? { group.deadline }

    func handleSendFailure(_ origin: DatagramOrigin, _ failure: SendFailure, count: Int, now: Instant) {
        change { $0.handleSendFailure(origin, failure, count: count, now: now) }
    }
    func countTruncated(_ count: Int, fromPeer: Bool, member: Int = 0) {
        change { $0.countTruncated(count, fromPeer: fromPeer, member: member) }
    }
    func handleTimeout(now: Instant) { change { $0.handleTimeout(now: now) } }
    func finishBatch(now: Instant) { change { $0.finishBatch(now: now) } }
    func drain() { change { $0.drain() } }
    func has(serial: UInt64) -> Bool { group.has(serial: serial) }
    func ping(serial: UInt64, now: Instant, _ give: @escaping (PingAnswer) -> Void) -> PingOutcome {
        let ticket = askers.add(give)
        return change { $0.ping(serial: serial, ticket: ticket, now: now) }
    }
    func takeEvents() -> [TunnelNotice] { group.takeEvents() }
    func counters(of member: Int = 0) -> TunnelCounters { group.counters(of: member) }
    func tallies() -> [MemberTally] { group.tallies() }
    func refusal(of member: Int) -> ServiceRefusal? { group.tallies()[member].refusal }
    func snapshots(_ page: SnapshotPage = SnapshotPage()) -> (page: [AssociationSnapshot], total: Int) {
        group.snapshots(page)
    }
    func flowSnapshots(_ page: SnapshotPage = SnapshotPage()) -> (page: [FlowSnapshot], total: Int) {
        group.flowSnapshots(page)
    }
}

/// Where a socket leads that was handed over.
let handedOver = Endpoint(address: IPAddress(ipv4: 0xc000_0202), port: 6515)

/// A client's group.
typealias ClientGroup<Engine: HandshakeEngine, Output: DatagramOutput> = HeldGroup<Engine, ClientSide, Output>

extension HeldGroup where Side == ClientSide {
    convenience init(
        _ members: [GroupMember], policy: ReconnectPolicy, path: PathSettings = PathSettings(),
        sharing: SharingPolicy = .never, connect: ConnectPolicy = .firstDatagram, findsOut: Bool = true,
        output: Output, seed: UInt64, makeEngine: @escaping (_ datagramSize: Int) -> Engine?
    ) {
        self.init(
            Tunnel.ClientGroup(
                members, policy: policy, path: path, sharing: sharing, connect: connect, findsOut: findsOut,
                output: output,
                seed: seed, makeEngine: makeEngine))
    }

    var flowCount: Int { change { $0.flowCount } }

    func start(now: Instant) { change { $0.start(now: now) } }
    func handleLocal(
        _ datagram: borrowing RawSpan, member: Int = 0, from source: Endpoint, to local: IPAddress, now: Instant
    ) {
        group.handleLocal(datagram, member: member, from: source, to: local, now: now)
        change { _ in }
    }
    func handleRemote(_ datagram: inout MutableRawSpan, flow: PlaceID, now: Instant) {
        group.handleRemote(&datagram, link: flow, now: now)
        change { _ in }
    }
    func takeQuestion() -> Bool { change { $0.takeQuestion() } }
    func findOut(now: Instant) { change { $0.findOut(now: now) } }
    var peerMode: PeerMode? { change { $0.peerMode } }
    /// Hands the answer of this end's group over to another.
    func answer(_ other: HeldGroup, now: Instant) {
        guard let mode = peerMode else { return }
        let spare = group.takeSpare()
        other.group.learn(mode, spare, attach: { output, owner in output.open(owner, to: handedOver) }, now: now)
    }
    func handleAddresses(_ resolved: [Endpoint], now: Instant) { change { $0.handleAddresses(resolved, now: now) } }
    func handleSendFailure(_ link: PlaceID?, _ failure: SendFailure, count: Int, now: Instant) {
        change { $0.handleSendFailure(link.map { .own($0) } ?? .shared(nil), failure, count: count, now: now) }
    }
    func handlePathHint(_ size: Int, flow: PlaceID, now: Instant) {
        change { $0.handlePathHint(size, link: flow, now: now) }
    }
    func close() { change { $0.close() } }
    func update(_ settings: [GroupMember], policy: ReconnectPolicy, now: Instant) {
        change { $0.update(settings, policy: policy, now: now) }
    }
    func close(serial: UInt64, now: Instant) -> Bool { change { $0.close(serial: serial, now: now) } }
    func rekey(serial: UInt64, now: Instant) -> RekeyOutcome { change { $0.rekey(serial: serial, now: now) } }
    func setPressure(_ isPressed: Bool) { change { $0.setPressure(isPressed) } }
}

/// A server's group.
typealias ServerGroup<Engine: HandshakeEngine, Output: DatagramOutput> = HeldGroup<Engine, ServerSide, Output>

extension HeldGroup where Side == ServerSide {
    convenience init(
        _ members: [GroupMember], path: PathSettings = PathSettings(), sharing: SharingPolicy = .never,
        cookieExchange: Bool, firstKey: some MessageAuthentication, output: Output, seed: UInt64 = 0, now: Instant,
        makeKey: @escaping (_ period: Int64) -> (any MessageAuthentication)?,
        makeEngine: @escaping (_ datagramSize: Int) -> Engine?
    ) {
        self.init(
            Tunnel.ServerGroup(
                members, path: path, sharing: sharing, cookieExchange: cookieExchange, firstKey: firstKey,
                output: output, seed: seed, now: now, makeKey: makeKey, makeEngine: makeEngine))
    }

    var flowCount: Int { change { $0.flowCount } }

    func handlePeer(
        _ datagram: inout MutableRawSpan, from source: Endpoint, to local: IPAddress, now: Instant
    ) {
        group.handlePeer(&datagram, from: source, to: local, now: now)
        change { _ in }
    }
    func handleTarget(_ datagram: borrowing RawSpan, flow: PlaceID, now: Instant) {
        group.handleTarget(datagram, flow: flow, now: now)
        change { _ in }
    }
    func handleAddresses(_ resolved: [Endpoint], member: Int = 0) {
        change { $0.handleAddresses(resolved, member: member) }
    }
    func handlePathHint(_ size: Int, peer: Endpoint, now: Instant) {
        change { $0.handlePathHint(size, peer: peer, now: now) }
    }
    func close() { change { $0.close() } }
    func update(_ settings: [GroupMember], now: Instant) { change { $0.update(settings, now: now) } }
    func close(serial: UInt64) -> Bool { change { $0.close(serial: serial) } }
}
