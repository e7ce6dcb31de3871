import DTLS
import Foundation
import Settings
import Testing
import Wire

@testable import Tunnel

private let peerEndpoint = Endpoint(address: IPAddress(ipv4: 0xc000_0201), port: 6514)

/// What stands in a record under the key of the engine with this number.
private func opened(_ record: [UInt8], key: UInt64 = 1) -> SharedFrame? {
    var record = record
    let protection = FakeProtection(key: key)
    guard let header = RecordHeader(record.bytes, at: 0),
        let range = record.withMutableBytes({ protection.open(&$0, header: header) })
    else { return nil }
    return SharedFrame(Array(record[range]).bytes)
}

/// A frame as a record plaintext.
private func frame(size: Int, _ write: (inout MutableRawSpan) -> Int, _ rest: [UInt8] = []) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: size)
    bytes.withMutableBytes { _ = write(&$0) }
    return bytes + rest
}

private func data(_ flow: UInt64, _ bytes: [UInt8]) -> [UInt8] {
    frame(
        size: SharedFrame.datagramHeaderSize(flow: flow), { SharedFrame.writeDatagramHeader(flow: flow, into: &$0) },
        bytes)
}

private func open(_ flow: UInt64, _ service: String, _ bytes: [UInt8]) -> [UInt8] {
    let name = Array(service.utf8)
    return frame(
        size: SharedFrame.openHeaderSize(flow: flow, service: name),
        { SharedFrame.writeOpenHeader(flow: flow, service: name, into: &$0) }, bytes)
}

private func opened(_ flow: UInt64) -> [UInt8] {
    frame(size: SharedFrame.openedSize(flow: flow), { SharedFrame.writeOpened(flow: flow, into: &$0) })
}

private func close(_ flow: UInt64, _ reason: CloseReason) -> [UInt8] {
    frame(
        size: SharedFrame.closeSize(flow: flow, reason: reason),
        { SharedFrame.writeClose(flow: flow, reason: reason, into: &$0) })
}

// MARK: - The client's end

/// A client's group of two tunnels whose peers have shared mode or not, attempt by attempt.
private final class Client {
    let output = FakeOutput()
    private(set) var engines: [FakeEngine] = []
    private(set) var group: ClientGroup<FakeEngine, FakeOutput>!
    var now = Instant.at(0)
    private var sequence: UInt64 = 0

    init(
        sharing: SharingPolicy = .auto, connect: ConnectPolicy = .start, findsOut: Bool = true,
        limits: TunnelLimits = TunnelLimits(),
        heartbeats: HeartbeatMode? = nil, peers: [Bool] = []
    ) {
        group = ClientGroup(
            ["a", "b"].map { GroupMember(service: $0, target: .endpoint(peerEndpoint), limits: limits) },
            policy: ReconnectPolicy(), sharing: sharing, connect: connect, findsOut: findsOut, output: output, seed: 1
        ) { [unowned self] size in
            let engine = FakeEngine(datagramSize: size, key: UInt64(engines.count + 1))
            let isShared = engines.count < peers.count ? peers[engines.count] : peers.last ?? true
            engine.result.applicationProtocol = isShared ? SharedFrame.applicationProtocol : nil
            engine.result.peerHeartbeatMode = heartbeats
            engines.append(engine)
            return engine
        }
        group.start(now: now)
    }

    func local(_ bytes: [UInt8], _ port: UInt16 = 1, member: Int = 0) {
        group.handleLocal(bytes.bytes, member: member, from: sender(port), to: .loopbackIPv4, now: now)
    }

    /// What the peer sends to the association's socket that was opened as the so manieth.
    func remote(_ datagram: [UInt8], on flow: FlowID? = nil) {
        guard let flow = flow ?? output.open.keys.max(by: { $0.index < $1.index }) else {
            Issue.record("no socket")
            return
        }
        var datagram = datagram
        datagram.withMutableBytes { group.handleRemote(&$0, flow: flow, now: now) }
    }

    func peer(_ content: [UInt8], key: UInt64 = 1) {
        sequence += 1
        remote(FakePeer.sealed(content, sequence: sequence, key: key))
    }

    func finish(on flow: FlowID? = nil) { remote(FakePeer.handshake(20, sequence: 0), on: flow) }

    /// The frames that have left since the last call.
    func frames(key: UInt64 = 1) -> [SharedFrame] { output.takeSent().compactMap { opened($0, key: key) } }

    func events() -> [String] { group.takeEvents().map { summary($0.event) } }
}

@Suite struct SharedClientTests {
    @Test func `the association is up before the first datagram, which asks for its service until it is answered`() {
        let client = Client()
        #expect(client.engines.count == 1)
        client.finish()
        _ = client.output.takeSent()
        client.local([7, 8])
        client.local([9])
        client.local([5], 2, member: 1)
        #expect(
            client.frames() == [
                .open(flow: 1, service: 4..<5, payload: 5..<7), .open(flow: 1, service: 4..<5, payload: 5..<6),
                .open(flow: 2, service: 4..<5, payload: 5..<6),
            ])
        client.peer(opened(1))
        client.local([9])
        client.peer(data(2, [6]))
        client.local([], 2, member: 1)
        #expect(client.frames() == [.datagram(flow: 1, payload: 1..<2), .datagram(flow: 2, payload: 1..<1)])
        let reply = client.output.takeShared()
        #expect(reply.map(\.bytes) == [[6]] && reply.first?.listener == 1 && reply.first?.destination == sender(2))
        #expect(client.engines.count == 1 && client.group.flowSnapshots().page.allSatisfy { $0.state == .open })
    }

    @Test func `without need there is no association until the first datagram, and what waits follows in order`() {
        let client = Client(connect: .firstDatagram)
        #expect(client.engines.isEmpty)
        client.local([1])
        client.local([2], 2)
        client.local([3])
        #expect(client.engines.count == 1)
        client.finish()
        #expect(client.frames().count == 3)
        #expect(client.group.counters(of: 0).datagramsOut == 3)
    }

    @Test func `flows outlive the association and get new numbers in the next one`() {
        let client = Client()
        client.finish()
        client.local([1])
        client.peer(opened(1))
        _ = client.output.takeSent()
        client.remote(FakePeer.sealed([2, 40], as: .alert, sequence: 50))
        client.local([2])
        #expect(client.frames(key: 2).isEmpty)
        for _ in 0..<10 where client.engines.count == 1 {
            client.now = max(client.group.deadline ?? client.now, client.now)
            client.group.handleTimeout(now: client.now)
        }
        client.finish()
        #expect(client.frames(key: 2) == [.open(flow: 1, service: 4..<5, payload: 5..<6)])
        #expect(client.group.flowCount == 1)
    }

    @Test func `an association that is closed by hand is told as ended once, with the wait for the next`() throws {
        let client = Client()
        client.finish()
        client.local([1])
        #expect(client.events() == ["established"])
        let serial = try #require(client.group.snapshots().page.first?.serial)
        let socket = try #require(client.output.open.keys.first)
        #expect(client.group.rekey(serial: serial, now: client.now) == .begun)
        #expect(client.group.close(serial: serial, now: client.now))
        client.remote(FakePeer.sealed([1, 0], as: .alert, sequence: 50), on: socket)
        let notices = client.group.takeEvents()
        #expect(notices.map { summary($0.event) } == ["ended closed"] && notices.map(\.association) == [serial])
        guard case .ended(_, let identity?, _, let retryIn?)? = notices.first?.event else {
            Issue.record("\(notices)")
            return
        }
        #expect(identity.commonName == "peer" && retryIn > .zero)
        #expect(client.group.close(serial: serial, now: client.now) && client.events() == [])
        // Nor has ended what never was.
        for _ in 0..<10 where client.engines.count == 2 {
            client.now = max(client.group.deadline ?? client.now, client.now)
            client.group.handleTimeout(now: client.now)
        }
        #expect(client.engines.count == 3)
        #expect(client.group.close(serial: serial, now: client.now) && client.events() == [])
    }

    @Test func `a flow that the peer does not know gets a new number`() {
        let client = Client()
        client.finish()
        client.local([1])
        client.peer(opened(1))
        client.peer(close(1, .done))
        _ = client.output.takeSent()
        client.local([2])
        #expect(client.frames() == [.open(flow: 2, service: 4..<5, payload: 5..<6)])
        // What is still under way to the old number goes nowhere.
        client.peer(data(1, [9]))
        #expect(client.output.takeShared().isEmpty)
        #expect(client.frames() == [.close(flow: 1, .unknownFlow)])
    }

    @Test func `a refused service is told once, its datagrams are dropped for a second, and it may come back`() {
        let client = Client()
        client.finish()
        client.local([1])
        client.peer(close(1, .unknownService))
        client.local([2])
        client.local([2], 2)
        _ = client.output.takeSent()
        #expect(client.group.counters(of: 0).drops[.service] == 2)
        #expect(client.group.refusal(of: 0)?.reason == .unknownService && client.group.refusal(of: 1) == nil)
        client.now = .at(1.5)
        client.local([3])
        #expect(client.frames() == [.open(flow: 2, service: 4..<5, payload: 5..<6)])
        client.peer(close(2, .unknownService))
        client.now = .at(3)
        client.local([4])
        client.peer(opened(3))
        #expect(
            client.events() == [
                "established", "service a refused: unknown service", "service a accepted",
            ])
        #expect(client.group.refusal(of: 0) == nil)
    }

    @Test func `with a peer without shared mode the first sender gets the association, the next its own`() {
        let client = Client(peers: [false])
        client.finish()
        #expect(client.events() == ["established", "plain mode"])
        _ = client.output.takeSent()
        client.local([7])
        #expect(client.output.takeSent() == [FakePeer.sealed([7], sequence: 1)])
        client.local([8], 2, member: 1)
        #expect(client.engines.count == 2)
        client.finish()
        #expect(client.output.takeSent().last == FakePeer.sealed([8], sequence: 1, key: 2))
        let flows = client.group.flowSnapshots().page
        #expect(flows.count == 2 && flows.allSatisfy { !$0.isShared && $0.state == .open })
    }

    @Test func `what waited for the answer goes in plain mode, too`() {
        let client = Client(connect: .firstDatagram, peers: [false])
        client.local([1])
        client.local([2], 2)
        client.local([3])
        client.finish()
        #expect(client.output.takeSent().contains(FakePeer.sealed([1], sequence: 1)))
        #expect(client.engines.count == 2)
        client.finish()
        #expect(client.output.takeSent().last == FakePeer.sealed([2], sequence: 1, key: 2))
        #expect((0...1).reduce(0) { $0 + client.group.counters(of: $1).datagramsOut } == 3)
    }

    @Test func `a worker that does not find out dials only for its flows, once it knows what the peer is`() {
        let (finder, other) = (Client(peers: [true]), Client(findsOut: false, peers: [true]))
        #expect(finder.engines.count == 1 && other.engines.isEmpty)
        other.local([1])
        other.local([2], 2)
        #expect(other.engines.isEmpty && other.group.takeQuestion() && !other.group.takeQuestion())
        finder.group.answer(other.group, now: other.now)
        #expect(other.engines.isEmpty, "nothing is known yet")
        finder.finish()
        finder.group.answer(other.group, now: other.now)
        #expect(other.engines.count == 1 && finder.group.snapshots().total == 1)
        other.finish()
        #expect(other.frames().count == 2 && other.group.flowSnapshots().page.allSatisfy { $0.isShared })
    }

    @Test func `the association that was made to find out serves the first flow, on whatever worker it is`() {
        let (finder, other) = (Client(peers: [false]), Client(findsOut: false, peers: [false]))
        finder.finish()
        other.local([1])
        other.local([2], 2)
        #expect(other.group.takeQuestion())
        finder.output.sent = []
        finder.group.answer(other.group, now: other.now)
        #expect(finder.group.snapshots().total == 0 && finder.output.sent.isEmpty, "without a goodbye")
        // The finder's key seals the first; the second flow dials.
        #expect(other.output.sent.first?.bytes == FakePeer.sealed([1], sequence: 1))
        #expect(other.engines.count == 1 && other.output.opened.first == handedOver)
        other.finish()
        #expect(other.output.takeSent().last == FakePeer.sealed([2], sequence: 1))
        #expect(other.group.snapshots().page.allSatisfy { $0.state == .established && !$0.isShared })
        // Without a flow that waits, it says goodbye.
        let (again, idle) = (Client(peers: [false]), Client(findsOut: false, peers: [false]))
        again.finish()
        again.group.answer(idle.group, now: idle.now)
        #expect(idle.output.takeSent() == [FakePeer.sealed([1, 0], as: .alert, sequence: 1)])
        #expect(idle.group.snapshots().total == 0)
    }

    @Test func `a worker that is asked finds out although nobody has begun`() {
        let finder = Client(connect: .firstDatagram, peers: [true])
        #expect(finder.engines.isEmpty && finder.group.peerMode == nil)
        finder.group.findOut(now: finder.now)
        finder.finish()
        #expect(finder.group.peerMode == .shared)
    }

    @Test func `a peer that gains shared mode is followed with the next handshake`() {
        let client = Client(peers: [false, true])
        client.finish()
        client.local([1])
        client.local([2], 2)
        client.finish()
        client.local([3], 3)
        let frames = client.frames(key: 2)
        #expect(frames.count == 2 && client.engines.count == 2)
        let flows = client.group.flowSnapshots().page
        #expect(flows.count == 3 && flows.count { $0.isShared } == 2)
        #expect(client.group.snapshots().page.count { $0.isShared } == 1)
    }

    @Test func `where sharing is a must, a peer without it is refused`() {
        let client = Client(sharing: .always, peers: [false])
        client.local([1])
        client.finish()
        #expect(client.events() == ["cannot share"])
        #expect(client.output.takeSent().allSatisfy { $0.first != ContentType.applicationData.rawValue })
        #expect(client.group.counters(of: 0).handshakes == 0)
    }

    @Test func `a datagram of 65507 bytes goes in pieces, and one that must not be cut is counted`() {
        let client = Client()
        client.finish()
        _ = client.output.takeSent()
        client.local([UInt8](repeating: 3, count: 65_507))
        let frames = client.frames()
        let pieces = frames.compactMap { if case .openFragment(_, _, let piece) = $0 { piece } else { nil } }
        #expect(pieces.count == frames.count && pieces.last?.isLast == true)
        #expect(pieces.reduce(0) { $0 + $1.payload.count } == 65_507)
        #expect(client.group.counters(of: 0).datagramsOut == 1)
    }

    @Test func `a flow whose time is up together with that of its association costs no datagram`() {
        /// One datagram, and silence until the association is over.
        func run(flowTimeout: Duration) -> Client {
            let client = Client(limits: TunnelLimits(flowTimeout: flowTimeout), heartbeats: .peerAllowedToSend)
            client.local([1])
            client.finish()
            while let deadline = client.group.deadline, client.group.snapshots().page.first?.state == .established {
                client.now = deadline
                client.group.handleTimeout(now: deadline)
            }
            return client
        }
        let lifetime = run(flowTimeout: .seconds(300)).now - .at(0)
        let client = run(flowTimeout: lifetime)
        #expect(client.events() == ["established", "expired 1", "ended unanswered"])
        #expect(client.group.counters(of: 0).drops.total == 0)
    }

    @Test func `a flow that floods under pressure harms itself alone`() {
        let client = Client()
        client.finish()
        client.local([0], 1)
        client.local([0], 2)
        client.peer(opened(1))
        client.peer(opened(2))
        client.group.finishBatch(now: client.now)
        _ = client.output.takeSent()
        client.group.setPressure(true)
        for batch in 0..<50 {
            for _ in 0..<200 { client.local([1], 1) }
            client.local([UInt8(batch)], 2)
            client.group.finishBatch(now: client.now)
        }
        client.group.setPressure(false)
        client.group.finishBatch(now: client.now)
        let counts = client.frames().reduce(into: [UInt64: Int]()) { counts, frame in
            if case .datagram(let flow, _) = frame { counts[flow, default: 0] += 1 }
        }
        #expect(counts[2] == 50)
        let dropped = client.group.counters(of: 0).drops[.queueFull]
        #expect(dropped > 0 && Int(dropped) + (counts[1] ?? 0) == 10_000)
        let flows = client.group.flowSnapshots().page
        #expect(flows.map(\.counters.dropped) == [dropped, 0])
    }
}

// MARK: - The server's end

/// A server's group of two services, the second of which only `edge` may have.
private final class Server {
    let output = FakeOutput()
    private(set) var group: ServerGroup<FakeEngine, FakeOutput>!
    var now = Instant.at(0)
    private var sequence: UInt64 = 0

    static func target(_ member: Int) -> Endpoint { Endpoint(address: .loopbackIPv4, port: UInt16(100 + member)) }

    init(
        sharing: SharingPolicy = .auto, limits: TunnelLimits = TunnelLimits(), isShared: Bool = true,
        serverName: String? = nil, from sources: [[IPPrefix]] = [[], []]
    ) {
        group = ServerGroup(
            [
                GroupMember(
                    service: "a", target: .endpoint(Self.target(0)), limits: limits,
                    access: AccessList(sources: sources[0])),
                GroupMember(
                    service: "b", target: .endpoint(Self.target(1)), limits: limits,
                    access: AccessList(sources: sources[1], peers: isShared ? [.commonName("edge")] : []),
                    serverName: "b.example"),
            ],
            sharing: sharing, cookieExchange: false, firstKey: FakeKey(1), output: output, now: now,
            makeKey: { FakeKey(UInt64($0) + 1) }
        ) { size in
            let engine = FakeEngine(datagramSize: size)
            engine.flightTimer = .stopped
            engine.result.applicationProtocol = isShared ? SharedFrame.applicationProtocol : nil
            engine.result.serverName = serverName
            return engine
        }
        peer(FakePeer.hello())
        peer(FakePeer.handshake(20, sequence: 9))
        _ = output.takeShared()
    }

    func peer(_ datagram: [UInt8]) {
        var datagram = datagram
        datagram.withMutableBytes { group.handlePeer(&$0, from: sender(1), to: .loopbackIPv4, now: now) }
    }

    func frame(_ content: [UInt8]) {
        sequence += 1
        peer(FakePeer.sealed(content, sequence: sequence))
    }

    func frames() -> [SharedFrame] { output.takeShared().compactMap { opened($0.bytes) } }

    func events() -> [String] { group.takeEvents().map { summary($0.event) } }
}

@Suite struct SharedServerTests {
    @Test func `each flow has a socket of its own to its service's target, and answers come back under its number`()
        throws
    {
        let server = Server()
        server.frame(open(1, "a", [7]))
        server.frame(open(9, "a", []))
        server.frame(data(1, [8]))
        #expect(server.output.sent.map(\.bytes) == [[7], [], [8]])
        #expect(server.output.open.values.allSatisfy { $0 == Server.target(0) } && server.output.open.count == 2)
        #expect(server.frames() == [.opened(flow: 1), .opened(flow: 9)])
        let flow = try #require(server.output.sent.first?.flow)
        server.group.handleTarget([5, 5].bytes, flow: flow, now: server.now)
        #expect(server.frames() == [.datagram(flow: 1, payload: 1..<3)])
        #expect(server.group.counters(of: 0).datagramsIn == 3 && server.group.counters(of: 0).datagramsOut == 1)
        #expect(server.group.flowSnapshots().page.map(\.wireID) == [1, 9])
    }

    @Test func `what is unknown or forbidden is answered with the reason and told`() {
        let server = Server()
        server.frame(open(1, "x", [7]))
        server.frame(open(2, "b", [7]))
        server.frame(data(3, [7]))
        #expect(
            server.frames() == [
                .close(flow: 1, .unknownService), .close(flow: 2, .forbidden), .close(flow: 3, .unknownFlow),
            ])
        #expect(server.output.sent.isEmpty && server.output.open.isEmpty)
        let drops = server.group.counters(of: 0).drops
        #expect(drops[.service] == 2 && drops[.unknownFlow] == 1)
        #expect(server.events() == ["established", "service x denied: unknown service"])
    }

    @Test func `a refusal names the list that the peer is not in`() throws {
        let elsewhere = try #require(IPPrefix("192.0.2.0/24"))
        let plain = Server(isShared: false, serverName: "b.example", from: [[], [elsewhere]])
        #expect(plain.events() == ["refused by allow_from"])
        let shared = Server()
        #expect(shared.events() == ["established"])
        let target = ForwardTarget.endpoint(Server.target(0))
        let others = AccessList(peers: [.commonName("somebody")])
        shared.group.update(
            ["a", "b"].map { GroupMember(service: $0, target: target, access: others) }, now: shared.now)
        #expect(shared.events() == ["refused"])
        let again = Server()
        _ = again.events()
        again.group.update(
            [
                GroupMember(service: "a", target: target, access: AccessList(sources: [elsewhere])),
                GroupMember(service: "b", target: target, access: others),
            ], now: again.now)
        #expect(again.events() == ["refused by allow_from"])
    }

    @Test func `the peer closes its flows, and an idle one is closed here`() {
        var limits = TunnelLimits()
        limits.flowTimeout = .seconds(10)
        let server = Server(limits: limits)
        server.frame(open(1, "a", [1]))
        server.frame(open(2, "a", [2]))
        server.frame(close(1, .done))
        #expect(server.output.open.count == 1)
        _ = server.frames()
        server.now = .at(9)
        server.frame(open(3, "a", [3]))
        _ = server.frames()
        server.now = .at(11)
        server.group.handleTimeout(now: server.now)
        #expect(server.frames() == [.close(flow: 2, .done)])
        #expect(server.output.open.count == 1)
        server.group.close()
        #expect(server.output.open.isEmpty && server.group.flowCount == 0)
    }

    @Test func `a client without shared mode reaches the first tunnel, or the one that it names`() {
        for (name, member) in [(nil, 0), ("other.example", 0), ("b.example", 1)] as [(String?, Int)] {
            let server = Server(isShared: false, serverName: name)
            server.peer(FakePeer.sealed([4], sequence: 1))
            #expect(server.output.open.values.map(\.port) == [Server.target(member).port])
            #expect(server.group.counters(of: member).datagramsIn == 1)
        }
        #expect(Server(sharing: .always, isShared: false).group.flowCount == 0)
    }

    @Test func `a hostile peer fills no more than its limits, and everything is counted`() {
        var limits = TunnelLimits()
        limits.maximumFlows = 50
        let server = Server(limits: limits)
        var random = SplitMix64(seed: 9)
        // In CI a million, at a desk a part of them.
        let count = ProcessInfo.processInfo.environment["CULVERT_VIRTUAL_HOURS"] == nil ? 3000 : 1_000_000
        for number in 1...UInt64(count) {
            server.frame(open(number &* 0x9e37_79b9 & SharedFrameLimits.largest, "a", [1]))
            guard number % UInt64(count / 3000) == 0 else { continue }
            var noise = [UInt8](repeating: 0, count: Int.random(in: 0...40, using: &random))
            for index in noise.indices { noise[index] = UInt8.random(in: 0...255, using: &random) }
            server.frame(noise)
            // Control frames of every type, with whatever follows.
            server.frame([0, UInt8(number / UInt64(count / 3000) % 16)] + noise)
        }
        #expect(server.output.open.count <= 50)
        #expect(server.group.flowSnapshots().total <= 50 && server.group.snapshots().total == 1)
        // Answers that the peer has caused are bounded: OPENED for what was opened, CLOSE a hundred in a second.
        #expect(server.frames().count { if case .close = $0 { true } else { false } } <= 100)
        let counters = server.group.counters(of: 0)
        #expect(Int(counters.drops[.limit]) > count * 2 / 3 && counters.drops[.frame] > 500)
    }
}

private enum SharedFrameLimits {
    static let largest: UInt64 = 1 << 62 - 1
}

@Suite struct FairQueueTests {
    @Test func `flows take turns, each in its order, and the oldest of a full one gives way`() throws {
        var queue = FairQueue()
        for number in 0..<300 { #expect(queue.append([UInt8(number & 255)].bytes, of: 1) == (number < 256 ? 0 : 1)) }
        #expect(queue.append([9].bytes, of: 2) == 0)
        let turns = (0..<3).compactMap { _ in queue.next() }
        try #require(turns.count == 3)
        let (first, second, third) = (turns[0], turns[1], turns[2])
        #expect([first.flow, second.flow, third.flow] == [1, 2, 1])
        #expect(first.datagram == [44] && second.datagram == [9] && third.datagram == [45])
        #expect(queue.holds(1) && !queue.holds(2))
        #expect(queue.remove(1) == 254 && queue.isEmpty && queue.byteCount == 0 && queue.next() == nil)
    }

    @Test func `bytes are bounded, for one flow and for all`() {
        var queue = FairQueue()
        let large = [UInt8](repeating: 0, count: 65_507)
        for flow in 0..<100 as Range<Int32> { for _ in 0..<8 { _ = queue.append(large.bytes, of: flow) } }
        #expect(queue.byteCount <= FairQueue.maximumTotalBytes)
        #expect(queue.append(large.bytes, of: 100) == 1)
    }
}
