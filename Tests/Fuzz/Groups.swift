// Fuzzes both ends of a group with sequences of everything that can come to them: datagrams from peers who know the keys and
// from those who do not, datagrams of programs, time, the system's word, and wishes by hand. Nothing traps, every datagram is
// accounted for, limits hold, and time that passes comes to an end; nothing is left when a group has closed.

import DTLS
import Settings
import Wire

@testable import Tunnel

/// As the tests' stand-ins call it.
typealias FlowID = PlaceID

/// Settings as a script has them, with the bounds that follow.
private struct Choice {
    let members: [GroupMember]

    init(_ script: inout Script, members count: Int, _ bounds: inout TunnelBounds, isNamed: Bool) {
        let limits = TunnelLimits(
            flowTimeout: .seconds([2, 30, 300][script.below(3)]), maximumFlows: 1 + script.below(5),
            maximumAssociations: 1 + script.below(4), maximumHandshakes: 1 + script.below(3))
        bounds.flows = max(bounds.flows, limits.maximumFlows)
        bounds.associations = max(bounds.associations, limits.maximumAssociations)
        bounds.handshakes = max(bounds.handshakes, limits.maximumHandshakes)
        let rest = script.byte()
        let access = AccessList(peers: rest & 3 == 3 ? [.commonName("peer")] : [])
        members = (0..<count).map { member in
            GroupMember(
                service: "s\(member)",
                target: isNamed ? .name("h") : .endpoint(Endpoint(address: .loopbackIPv4, port: 1812)), limits: limits,
                access: member == 0 || rest & 4 == 0 ? access : AccessList(),
                oversize: rest & 8 == 0 ? .fragment : .drop, serverName: "m\(member)")
        }
    }
}

private func path(_ script: inout Script) -> PathSettings {
    let choice = script.byte()
    return PathSettings(
        heartbeat: HeartbeatSettings(interval: .seconds(choice & 1 == 0 ? 10 : 1), retries: choice & 2 == 0 ? 6 : 1),
        recordLimit: choice & 4 == 0 ? 1 << 28 : 3)
}

private func endpoint(_ script: inout Script) -> Endpoint { sender(UInt16(1 + script.below(5))) }

private func place(_ script: inout Script, among open: [FlowID: Endpoint]) -> PlaceID {
    let choice = script.byte()
    let places = open.keys.sorted { $0.rawValue < $1.rawValue }
    guard choice & 0x80 == 0, !places.isEmpty else {
        return PlaceID(index: Int32(choice & 7) - 1, generation: UInt32(choice >> 3 & 3))
    }
    return places[choice % places.count]
}

private func serial(_ script: inout Script, _ page: [AssociationSnapshot]) -> UInt64 {
    let choice = script.byte()
    return page.isEmpty || choice & 0x80 != 0 ? UInt64(choice & 0x7f) : page[choice % page.count].serial
}

private func failure(_ script: inout Script) -> SendFailure {
    [.noRoom, .tooLarge, .unreachable, .noAddress][script.below(4)]
}

/// How often a group may be called at one deadline after the other before time has to go on.
private let callsInARow = 2000

/// What both ends have in common in here.
private struct Bench {
    let output = FakeOutput()
    let engines = Engines()
    var composer = Composer()
    var arrivals = Arrivals()
    var bounds = TunnelBounds()
    var now = Instant(nanoseconds: 1_000_000_000)
    /// What a peer sends with its next datagram.
    var pending: [UInt8] = []
    /// Pings that wait for their answer.
    var tickets: Set<UInt64> = []
    private var ticketCount: UInt64 = 0

    mutating func ping<Side>(_ group: inout GroupEnd<FakeEngine, Side, FakeOutput>, serial: UInt64) {
        ticketCount += 1
        guard group.ping(serial: serial, ticket: ticketCount, now: now) == .sent else { return }
        tickets.insert(ticketCount)
    }

    mutating func takeAnswers<Side>(of group: inout GroupEnd<FakeEngine, Side, FakeOutput>) {
        for (ticket, _) in group.takePingAnswers() {
            precondition(tickets.remove(ticket) != nil, "a ping is answered once")
        }
    }

    mutating func wait(_ script: inout Script) {
        let choice = script.byte()
        now = now + [.milliseconds(choice), .seconds(choice), .seconds(choice * 60), .zero][choice & 3]
    }

    /// Adds to the pending datagram; true where it is to be sent.
    mutating func compose(_ script: inout Script, cookie: [UInt8]) -> Bool {
        let isMore = script.byte() & 3 == 3
        pending += composer.record(&script, keys: engines.made, cookie: cookie)
        return !isMore && pending.count <= 65_535
    }

    mutating func takePending() -> [UInt8] {
        defer { pending = [] }
        arrivals.take(pending)
        return pending
    }

    /// Keeps nothing of what was sent.
    func forgetOutput() {
        precondition(output.strays == 0, "sent through a socket that is not open")
        output.sent = []
        output.shared = []
        output.opened = []
    }
}

/// A server's end.
private struct ServerBench: ~Copyable {
    var bench = Bench()
    var group: ServerGroup<FakeEngine, FakeOutput>
    private var cookies: [UInt16: [UInt8]] = [:]
    private let count: Int
    private let isNamed: Bool

    init(_ script: inout Script) {
        let choice = script.byte()
        count = 1 + choice % 3
        isNamed = choice & 4 != 0
        let sharing: SharingPolicy = [.never, .auto, .auto, .always][choice >> 3 & 3]
        let engines = bench.engines
        engines.mayShare = sharing != .never
        let members = Choice(&script, members: count, &bench.bounds, isNamed: isNamed).members
        group = ServerGroup(
            members, path: path(&script), sharing: sharing, cookieExchange: choice & 0x20 == 0, firstKey: FakeKey(1),
            output: bench.output, now: bench.now, makeKey: { FakeKey(UInt64($0)) }, makeEngine: { engines.make($0) })
    }

    mutating func step(_ script: inout Script) {
        let output = bench.output
        switch script.below(24) {
        case 0...9:
            let source = endpoint(&script)
            guard bench.compose(&script, cookie: cookies[source.port] ?? []) else { break }
            var datagram = bench.takePending()
            let local: IPAddress = source.port & 1 == 0 ? .anyIPv6 : .loopbackIPv4
            datagram.withMutableBytes { group.handlePeer(&$0, from: source, to: local, now: bench.now) }
            // A HelloVerifyRequest, with 13 bytes of record header, 12 of the message's, version and length.
            if let reply = output.shared.last?.bytes, reply.count == 60, reply[13] == 3 {
                cookies[source.port] = Array(reply.dropFirst(28))
            }
        case 10, 11:
            bench.arrivals.plaintext += 1
            group.handleTarget(script.run().bytes, flow: place(&script, among: output.open), now: bench.now)
        case 12: bench.wait(&script)
        case 13: passTime()
        case 14: bench.engines.choose(&script)
        case 15:
            let id = place(&script, among: output.open)
            let origin: DatagramOrigin = [.own(id), .shared(id), .shared(nil)][script.below(3)]
            group.handleSendFailure(origin, failure(&script), count: 1 + script.below(3), now: bench.now)
        case 16: group.handlePathHint(script.byte() * 8, peer: endpoint(&script), now: bench.now)
        case 17: bench.ping(&group, serial: serial(&script, group.snapshots().page))
        case 18: _ = group.close(serial: serial(&script, group.snapshots().page))
        case 19:
            group.update(
                Choice(&script, members: count, &bench.bounds, isNamed: isNamed).members, now: bench.now)
        case 20:
            group.handleAddresses(script.byte() & 1 == 0 ? [] : [endpoint(&script)], member: script.below(count))
        case 21: countTruncated(1 + script.below(3), fromPeer: script.byte() & 1 == 0)
        case 22:
            if script.byte() == 255 { group.drain() }
        default:
            let limit = SnapshotPage(after: UInt64(script.byte()), limit: script.below(3), member: script.below(count))
            precondition(group.snapshots(limit).page.count <= limit.limit)
            precondition(group.flowSnapshots(limit).page.count <= limit.limit)
        }
        finishStep()
    }

    private mutating func countTruncated(_ lost: Int, fromPeer: Bool) {
        group.countTruncated(lost, fromPeer: fromPeer)
        if fromPeer {
            bench.arrivals.datagrams += UInt64(lost)
            bench.arrivals.records += UInt64(lost)
        } else {
            bench.arrivals.plaintext += UInt64(lost)
        }
    }

    private mutating func passTime() {
        for _ in 0..<callsInARow {
            bench.now = max(bench.now, group.deadline ?? bench.now)
            group.handleTimeout(now: bench.now)
            guard let deadline = group.deadline, deadline <= bench.now else { return }
        }
        preconditionFailure("the deadline does not move")
    }

    private mutating func finishStep() {
        group.check(bench.bounds)
        precondition(bench.output.open.keys.allSatisfy { group.flows.place(of: $0) != nil })
        precondition(bench.output.open.count == group.flows.count, "a flow has a socket")
        precondition(group.takeEvents().count < 100, "few notices")
        bench.takeAnswers(of: &group)
        bench.arrivals.check(group.tallies(), isClosed: false)
        bench.forgetOutput()
    }

    mutating func end() {
        group.close()
        finishStep()
        precondition(group.links.count == 0 && group.flows.count == 0 && bench.output.open.isEmpty)
        precondition(group.flowCount == 0)
        precondition(bench.tickets.isEmpty, "every ping is answered")
        bench.arrivals.check(group.tallies(), isClosed: true)
        for _ in 0..<callsInARow where group.deadline != nil { passTime() }
        precondition(group.deadline == nil && group.takeEvents().isEmpty && bench.output.shared.isEmpty)
    }
}

/// A client's end.
private struct ClientBench: ~Copyable {
    var bench = Bench()
    var group: ClientGroup<FakeEngine, FakeOutput>
    private let count: Int
    private let isNamed: Bool
    private var policy = ReconnectPolicy()

    init(_ script: inout Script) {
        let choice = script.byte()
        count = 1 + choice % 3
        isNamed = choice & 4 != 0
        let sharing: SharingPolicy = [.never, .auto, .auto, .always][choice >> 3 & 3]
        let engines = bench.engines
        engines.mayShare = sharing != .never
        let members = Choice(&script, members: count, &bench.bounds, isNamed: isNamed).members
        group = ClientGroup(
            members, policy: policy, path: path(&script), sharing: sharing,
            connect: choice & 0x20 == 0 ? .firstDatagram : .start, output: bench.output, seed: 1,
            makeEngine: { engines.make($0) })
        engines.choose(&script)
        group.start(now: bench.now)
    }

    mutating func step(_ script: inout Script) {
        let output = bench.output
        switch script.below(24) {
        case 0...5:
            guard bench.compose(&script, cookie: []) else { break }
            var datagram = bench.takePending()
            let link = place(&script, among: output.open)
            datagram.withMutableBytes { group.handleRemote(&$0, link: link, now: bench.now) }
        case 6...9:
            bench.arrivals.plaintext += 1
            group.handleLocal(
                script.run().bytes, member: script.below(count), from: endpoint(&script), to: .loopbackIPv4,
                now: bench.now)
        case 10: group.finishBatch(now: bench.now)
        case 11: group.setPressure(script.byte() & 1 == 0)
        case 12: bench.wait(&script)
        case 13: passTime()
        case 14: bench.engines.choose(&script)
        case 15:
            let id = place(&script, among: output.open)
            let origin: DatagramOrigin = [.own(id), .shared(id), .shared(nil)][script.below(3)]
            group.handleSendFailure(origin, failure(&script), count: 1 + script.below(3), now: bench.now)
        case 16:
            group.handlePathHint(script.byte() * 8, link: place(&script, among: output.open), now: bench.now)
        case 17: bench.ping(&group, serial: serial(&script, group.snapshots().page))
        case 18: _ = group.close(serial: serial(&script, group.snapshots().page), now: bench.now)
        case 19:
            policy = ReconnectPolicy(minimum: .seconds(script.below(3)), maximum: .seconds(script.byte()))
            let members = Choice(&script, members: count, &bench.bounds, isNamed: isNamed).members
            group.update(members, policy: policy, now: bench.now)
        case 20:
            group.handleAddresses((0..<script.below(3)).map { _ in endpoint(&script) }, now: bench.now)
        case 21: _ = group.rekey(serial: serial(&script, group.snapshots().page), now: bench.now)
        case 22:
            let choice = script.byte()
            if choice == 255 { group.drain() }
            output.refusesSockets = choice & 7 == 7
        default:
            let limit = SnapshotPage(after: UInt64(script.byte()), limit: script.below(3), member: script.below(count))
            precondition(group.snapshots(limit).page.count <= limit.limit)
            precondition(group.flowSnapshots(limit).page.count <= limit.limit)
        }
        finishStep()
    }

    private mutating func passTime() {
        for _ in 0..<callsInARow {
            bench.now = max(bench.now, group.deadline ?? bench.now)
            group.handleTimeout(now: bench.now)
            guard let deadline = group.deadline, deadline <= bench.now else { return }
        }
        preconditionFailure("the deadline does not move")
    }

    private mutating func finishStep() {
        group.check(bench.bounds)
        precondition(bench.output.open.keys.allSatisfy { group.links.place(of: $0) != nil })
        precondition(group.takeEvents().count < 100, "few notices")
        bench.takeAnswers(of: &group)
        bench.arrivals.check(group.tallies(), isClosed: false)
        bench.forgetOutput()
    }

    mutating func end() {
        group.close()
        finishStep()
        precondition(group.links.count == 0 && group.flows.count == 0 && bench.output.open.isEmpty)
        precondition(group.side.common < 0 && group.side.backlog.isEmpty)
        precondition(bench.tickets.isEmpty, "every ping is answered")
        bench.arrivals.check(group.tallies(), isClosed: true)
        for _ in 0..<callsInARow where group.deadline != nil { passTime() }
        precondition(group.deadline == nil && group.takeEvents().isEmpty && bench.output.sent.isEmpty)
    }
}

/// One input: its first byte says which end; 0 says that it was looked at.
@c(LLVMFuzzerTestOneInput)
public func fuzzGroups(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var script = Script(UnsafeBufferPointer(start: start, count: count))
    if script.byte() & 1 == 0 {
        var server = ServerBench(&script)
        while !script.isAtEnd { server.step(&script) }
        server.end()
    } else {
        var client = ClientBench(&script)
        while !script.isAtEnd { client.step(&script) }
        client.end()
    }
    return 0
}
