import DTLS
import Settings
import Testing
import Wire

@testable import Tunnel

/// A client's group with fake engines and sockets.
private final class Subject {
    let output = FakeOutput()
    private(set) var engines: [FakeEngine] = []
    private(set) var group: ClientGroup<FakeEngine, FakeOutput>!
    var now = Instant.at(0)

    init(
        target: ForwardTarget = .endpoint(Endpoint(address: IPAddress(ipv4: 0xc000_0201), port: 6514)),
        limits: TunnelLimits = TunnelLimits(), access: AccessList = AccessList(),
        engines mayMake: Int = 1000, _ prepare: @escaping (FakeEngine) -> Void = { _ in }
    ) {
        group = ClientGroup(
            [GroupMember(target: target, limits: limits, access: access)], policy: ReconnectPolicy(), output: output,
            seed: 1
        ) { [unowned self] size in
            guard engines.count < mayMake else { return nil }
            let engine = FakeEngine(datagramSize: size)
            prepare(engine)
            engines.append(engine)
            return engine
        }
    }

    func local(_ bytes: [UInt8], from port: UInt16 = 1, to address: IPAddress = .loopbackIPv4) {
        group.handleLocal(bytes.bytes, from: sender(port), to: address, now: now)
    }

    /// What comes to the own socket of a sender's flow.
    func remote(_ datagrams: [UInt8]..., to port: UInt16 = 1) {
        guard let flow = flow(port) else {
            Issue.record("no socket for \(port)")
            return
        }
        for var datagram in datagrams {
            datagram.withMutableBytes { group.handleRemote(&$0, flow: flow, now: now) }
        }
    }

    /// The flow of a sender, as far as it is known; otherwise the last one that has a socket.
    func flow(_ port: UInt16) -> FlowID? { flows[port] ?? output.open.keys.max { $0.index < $1.index } }

    /// Begins a flow and ends its handshake.
    func establish(_ port: UInt16 = 1, sending bytes: [UInt8] = [0]) {
        local(bytes, from: port)
        if let newest = output.sent.last?.flow { flows[port] = newest }
        remote(FakePeer.handshake(20, sequence: 0), to: port)
    }

    var flows: [UInt16: FlowID] = [:]

    func events() -> [String] { group.takeEvents().map { summary($0.event) } }

    func state(_ port: UInt16 = 1) -> AssociationSnapshot.State? {
        group.snapshots().page.first { $0.sender == sender(port) }?.state
    }

    /// Lets time pass, deadline by deadline.
    func pass(_ duration: Duration) {
        let end = now + duration
        for _ in 0..<1000 {
            guard let deadline = group.deadline, deadline <= end else { break }
            now = max(now, deadline)
            for engine in engines where engine.flightTimer != .stopped { engine.flightTimer = .due(in: .zero) }
            group.handleTimeout(now: now)
        }
        now = end
    }

    subscript(reason: DropReason) -> UInt64 { group.counters().drops[reason] }
}

private let remotes = (1...3).map { Endpoint(address: IPAddress(ipv4: 0xc000_0200 + $0), port: 6514) }

@Suite struct ClientGroupTests {
    @Test func `what no record carries is told at once, while the path is still being searched`() {
        let subject = Subject { $0.result.peerHeartbeatMode = .peerAllowedToSend }
        subject.establish()
        subject.local([UInt8](repeating: 1, count: 16_385))
        #expect(subject.events().contains("oversize 16385") && subject[.oversize] == 1)
    }

    @Test func `what waits for the handshake follows it in order`() {
        let subject = Subject()
        for byte in 0..<5 as Range<UInt8> { subject.local([byte]) }
        #expect(subject.engines.count == 1)
        #expect(subject.state() == .handshaking)
        #expect(subject.output.takeSent() == [FakePeer.handshake(1, sequence: 0)])
        subject.remote(FakePeer.handshake(20, sequence: 0))
        #expect(subject.output.takeSent() == (0..<5).map { FakePeer.sealed([$0], sequence: UInt64($0) + 1) })
        subject.local([9])
        #expect(subject.output.takeSent() == [FakePeer.sealed([9], sequence: 6)])
        #expect(subject.events() == ["established"])
        #expect(subject.state() == .established)
        #expect(subject.group.counters().handshakes == 1)
        #expect(subject.output.strays == 0)
    }

    @Test func `what waits is bounded, and the oldest goes first`() {
        let subject = Subject()
        for number in 0..<130 { subject.local([UInt8(number)]) }
        #expect(subject[.queueFull] == 2)
        _ = subject.output.takeSent()
        subject.remote(FakePeer.handshake(20, sequence: 0))
        let sent = subject.output.takeSent()
        #expect(sent.count == 128 && sent.first == FakePeer.sealed([2], sequence: 1))
    }

    @Test func `all flows together keep no more than 16 MiB waiting`() {
        let subject = Subject()
        let large = [UInt8](repeating: 0, count: 16_384)
        for port in 1...140 as ClosedRange<UInt16> { for _ in 0..<8 { subject.local(large, from: port) } }
        #expect(subject[.queueFull] == 140 * 8 - 1024)
        subject.group.close()
        #expect(subject[.closed] == 1024)
        subject.local(large)
        #expect(subject[.queueFull] == 140 * 8 - 1024)
    }

    @Test func `a reply goes to the sender, from the address that it used last`() throws {
        let subject = Subject()
        let other = try #require(IPAddress("127.0.0.9"))
        subject.establish(1)
        subject.establish(2)
        subject.remote(FakePeer.sealed([7], sequence: 1), to: 1)
        subject.local([1], from: 2, to: other)
        subject.remote(FakePeer.sealed([8], sequence: 1) + FakePeer.sealed([], sequence: 2), to: 2)
        let replies = subject.output.takeShared()
        #expect(replies.map(\.destination) == [sender(1), sender(2), sender(2)])
        #expect(replies.map(\.source) == [.loopbackIPv4, other, other])
        #expect(replies.map(\.bytes) == [[7], [8], []])
    }

    @Test func `a datagram too large for a record is counted, and said once a minute`() {
        let subject = Subject()
        let large = [UInt8](repeating: 0, count: 65_507)
        subject.establish()
        _ = subject.events()
        for _ in 0..<3 { subject.local(large) }
        #expect(subject.events() == ["oversize 65507"])
        subject.now = .at(61)
        subject.local(large)
        #expect(subject.events() == ["oversize 65507"])
        #expect(subject.group.snapshots().page.first?.counters.drops[.oversize] == 4)
        subject.local([UInt8](repeating: 0, count: 16_384))
        #expect(subject.group.snapshots().page.first?.counters.datagramsOut == 2)
    }

    @Test func `a datagram for a flow that is gone is counted`() {
        let subject = Subject()
        subject.establish()
        var datagram = FakePeer.sealed([7], sequence: 1)
        for id in [FlowID(index: 0, generation: 9), FlowID(index: 5, generation: 0), FlowID(index: -1, generation: 0)] {
            datagram.withMutableBytes { subject.group.handleRemote(&$0, flow: id, now: .at(0)) }
        }
        #expect(subject[.noAssociation] == 3)
        #expect(subject.output.shared.isEmpty)
    }

    // MARK: Limits and ages

    @Test func `when there are too many flows, the oldest that is idle gives way, and no other`() {
        let subject = Subject(limits: TunnelLimits(maximumFlows: 2))
        subject.establish(1)
        subject.establish(2)
        _ = subject.events()
        subject.now = .at(5)
        subject.local([1], from: 3)
        subject.local([1], from: 3)
        #expect(subject[.limit] == 2)
        #expect(subject.events() == ["max_flows -"])
        subject.local([1], from: 1)
        subject.now = .at(10.5)
        subject.local([1], from: 3)
        #expect(subject.group.flowCount == 2)
        #expect(subject.state(1) != nil && subject.state(2) == nil && subject.state(3) != nil)
        // The one that gave way has said goodbye.
        #expect(subject.output.sent.contains { $0.bytes[0] == 21 && $0.flow == subject.flows[2] })
        #expect(subject.events() == [])
        subject.now = .at(16)
        subject.local([1], from: 4)
        #expect(subject.events() == ["max_flows 1"])
    }

    @Test func `a flow that is idle for its timeout is forgotten with a close_notify`() {
        let subject = Subject(limits: TunnelLimits(flowTimeout: .seconds(30)))
        subject.establish(1)
        subject.now = .at(20)
        subject.remote(FakePeer.sealed([7], sequence: 1))
        _ = subject.output.takeSent()
        subject.pass(.seconds(29))
        #expect(subject.group.flowCount == 1)
        subject.pass(.seconds(2))
        #expect(subject.group.flowCount == 0)
        #expect(subject.output.takeSent() == [FakePeer.sealed([1, 0], as: .alert, sequence: 2)])
        #expect(subject.output.open.isEmpty)
        #expect(subject.events() == ["established", "expired 1"])
        #expect(subject.group.counters().datagramsIn == 1)
        #expect(subject.group.deadline == nil)
    }

    @Test func `a timeout that becomes shorter ends no flow that is in use`() {
        let subject = Subject()
        subject.establish(1)
        let limits = TunnelLimits(flowTimeout: .milliseconds(500))
        subject.group.update(
            [GroupMember(target: .endpoint(remotes[0]), limits: limits)], policy: ReconnectPolicy(), now: subject.now)
        for _ in 0..<20 {
            subject.local([1])
            subject.pass(.milliseconds(100))
        }
        #expect(subject.events() == ["established"] && subject.group.flowCount == 1)
        subject.pass(.milliseconds(500))
        #expect(subject.events() == ["expired 1"])
    }

    @Test func `close says goodbye everywhere and forgets everything`() {
        let subject = Subject()
        subject.establish(1)
        subject.establish(2)
        subject.local([1, 2], from: 3)
        _ = subject.output.takeSent()
        subject.group.close()
        #expect(
            subject.output.takeSent()
                == [UInt8](repeating: 0, count: 2).map { _ in
                    FakePeer.sealed([1, 0], as: .alert, sequence: 2)
                })
        #expect(subject.group.flowCount == 0 && subject.output.open.isEmpty)
        #expect(subject[.closed] == 1)
        #expect(subject.group.counters().datagramsOut == 2)
    }

    // MARK: Reconnecting

    @Test func `a tunnel's problem is told within seconds, and lasts from the first failure until it works`() throws {
        let subject = Subject()
        subject.local([1])
        subject.pass(.seconds(4))
        #expect(subject.events() == ["unanswered"])
        let first = try #require(subject.group.tallies()[0].problem)
        #expect(first.since <= .at(4) && subject.state() == .handshaking)
        // Attempt after attempt fails; the problem is as old as the first of them.
        subject.pass(.seconds(150))
        subject.local([1])
        let later = try #require(subject.group.tallies()[0].problem)
        #expect(later.since == first.since && subject.events().contains("failed timeout"))
        subject.establish(2)
        #expect(subject.group.tallies()[0].problem == nil)
        // An orderly end is none.
        subject.remote(FakePeer.sealed([1, 0], as: .alert, sequence: 1), to: 2)
        #expect(subject.group.tallies()[0].problem == nil)
        subject.establish(3)
        subject.remote(FakePeer.sealed([2, 49], as: .alert, sequence: 1), to: 3)
        #expect(subject.group.tallies()[0].problem.map { summary($0.event) } == "ended alert(access_denied)")
    }

    @Test func `a peer that does not answer is tried again with growing waits, for as long as the flow lives`() {
        let subject = Subject(limits: TunnelLimits(flowTimeout: .seconds(100_000)))
        subject.local([1])
        subject.pass(.seconds(1000))
        // 64 s for each attempt, and waits of 1 to 60 s between.
        #expect((8...13).contains(subject.engines.count))
        #expect(subject.group.counters().failedHandshakes >= 7)
        #expect(subject.events().allSatisfy { $0 == "failed timeout" || $0 == "unanswered" })
        #expect(subject.output.strays == 0)
    }

    @Test func `in the time between two attempts nothing is tried`() throws {
        let subject = Subject()
        subject.local([1])
        subject.remote(FakePeer.handshake(0, sequence: 0))
        #expect(subject.events() == ["failed mismatch"])
        #expect(subject.state() == .waiting)
        #expect(subject.output.open.isEmpty)
        subject.now = .at(0.99)
        subject.local([2])
        subject.group.handleTimeout(now: subject.now)
        #expect(subject.engines.count == 1)
        subject.pass(.seconds(2))
        #expect(subject.engines.count == 2)
        _ = subject.output.takeSent()
        subject.remote(FakePeer.handshake(20, sequence: 0))
        #expect(subject.output.takeSent() == [FakePeer.sealed([1], sequence: 1), FakePeer.sealed([2], sequence: 2)])
    }

    @Test func `what fails at once is not tried for ever in one breath`() {
        let clock = Subject { $0.startProgress = .failed(HandshakeFailure(.clockStep, detail: "set")) }
        clock.local([1])
        clock.group.handleTimeout(now: .at(0))
        clock.group.handleTimeout(now: .at(0.5))
        #expect(clock.engines.count <= 3)

        let sockets = Subject()
        sockets.output.refusesSockets = true
        sockets.local([1])
        sockets.group.handleTimeout(now: .at(0.5))
        #expect(sockets.events() == ["no socket"] && sockets.state() == .waiting)

        let engines = Subject(engines: 0)
        engines.local([1])
        #expect(engines.state() == .waiting && engines.output.open.isEmpty)
    }

    @Test func `after a peer's goodbye the next datagram begins anew`() {
        let subject = Subject()
        subject.establish()
        subject.remote(FakePeer.sealed([7], sequence: 1))
        subject.now = .at(1)
        subject.remote(FakePeer.sealed([1, 0], as: .alert, sequence: 2))
        #expect(subject.events() == ["established", "ended closedByPeer"])
        #expect(subject.state() == .idle && subject.output.open.isEmpty)
        subject.local([1])
        #expect(subject.engines.count == 2)
    }

    @Test func `a peer that says goodbye at once and nothing else is not asked again at once`() {
        let subject = Subject()
        subject.establish()
        subject.remote(FakePeer.sealed([1, 0], as: .alert, sequence: 1))
        #expect(subject.events() == ["established", "ended closedByPeer"])
        for _ in 0..<5 { subject.local([1]) }
        #expect(subject.engines.count == 1)
        #expect(subject.state() == .waiting)
        subject.pass(.seconds(2))
        #expect(subject.engines.count == 2)
    }

    @Test func `a fatal alert is followed by another attempt after a wait`() {
        let subject = Subject()
        subject.establish()
        subject.remote(FakePeer.sealed([2, 49], as: .alert, sequence: 1))
        #expect(subject.state() == .waiting)
        subject.pass(.seconds(2))
        #expect(subject.engines.count == 2)
    }

    @Test func `a server that allow_peers does not name gets nothing and delivers nothing`() {
        let subject = Subject(access: AccessList(peers: [.commonName("collector")]))
        subject.local([1, 2, 3])
        subject.remote(FakePeer.sealed([7], sequence: 1))
        _ = subject.output.takeSent()
        subject.remote(FakePeer.handshake(20, sequence: 0))
        #expect(subject.events() == ["refused"])
        #expect(subject.output.takeSent() == [FakePeer.sealed([2, 49], as: .alert, sequence: 1)])
        #expect(subject.output.shared.isEmpty && subject.output.open.isEmpty)
        #expect(subject.state() == .waiting)
        #expect(subject.group.counters().handshakes == 0)
    }

    @Test func `a send that failed is counted where it belongs`() {
        let subject = Subject()
        subject.establish()
        subject.group.handleSendFailure(subject.flows[1], .unreachable, count: 3, now: subject.now)
        subject.group.handleSendFailure(nil, .noRoom, count: 2, now: subject.now)
        subject.group.handleSendFailure(FlowID(index: 0, generation: 7), .tooLarge, count: 1, now: subject.now)
        #expect(subject.group.snapshots().page.first?.counters.drops[.unreachable] == 3)
        #expect(subject[.sendBuffer] == 2 && subject[.messageSize] == 1)
        #expect(subject.state() == .established)
    }

    // MARK: Names

    @Test func `a name is resolved before the first attempt, once for all flows`() {
        let subject = Subject(target: .name("collector"))
        subject.local([1], from: 1)
        subject.local([1], from: 2)
        #expect(subject.output.resolutions == 1 && subject.engines.isEmpty)
        #expect(subject.state(1) == .resolving && subject.state(2) == .resolving)
        subject.group.handleAddresses(remotes, now: .at(0))
        #expect(subject.output.opened == [remotes[0], remotes[0]])
        // What is fresh is used again; what is not is resolved again.
        subject.now = .at(4.9)
        subject.local([1], from: 3)
        #expect(subject.output.resolutions == 1 && subject.engines.count == 3)
        subject.now = .at(5)
        subject.local([1], from: 4)
        #expect(subject.output.resolutions == 2 && subject.engines.count == 3)
    }

    @Test func `a name without addresses is asked for again, with growing waits`() {
        let subject = Subject(target: .name("collector"))
        subject.local([1])
        for attempt in 1...4 {
            #expect(subject.output.resolutions == attempt)
            subject.group.handleAddresses([], now: subject.now)
            #expect(subject.state() == .waiting)
            #expect(subject.events() == ["unresolved collector"])
            let before = subject.now
            subject.now = subject.group.deadline ?? subject.now
            #expect(subject.now - before >= .seconds(1 << (attempt - 1)))
            subject.group.handleTimeout(now: subject.now)
        }
        subject.group.handleAddresses(remotes, now: subject.now)
        #expect(subject.output.opened == [remotes[0]])
    }

    @Test func `addresses that were good once are used where there are no new ones`() {
        let subject = Subject(target: .name("collector"))
        subject.local([1], from: 1)
        subject.group.handleAddresses([remotes[1]], now: .at(0))
        subject.now = .at(60)
        subject.local([1], from: 2)
        subject.group.handleAddresses([], now: subject.now)
        #expect(subject.output.opened == [remotes[1], remotes[1]])
    }

    @Test func `an answer for a flow that is gone is no trap`() {
        let subject = Subject(target: .name("collector"))
        subject.local([1])
        subject.group.close()
        subject.group.handleAddresses(remotes, now: .at(0))
        #expect(subject.output.opened.isEmpty)
    }

    @Test func `all addresses are tried in turn, at once, before there is a wait`() {
        let subject = Subject(target: .name("collector"), limits: TunnelLimits(flowTimeout: .seconds(10_000)))
        subject.local([1])
        subject.group.handleAddresses(remotes, now: .at(0))
        var waits: [Duration] = []
        for _ in 0..<6 {
            subject.remote(FakePeer.handshake(0, sequence: 0))
            let before = subject.now
            while subject.output.open.isEmpty, let deadline = subject.group.deadline {
                subject.now = deadline
                let resolutions = subject.output.resolutions
                subject.group.handleTimeout(now: deadline)
                if subject.output.resolutions > resolutions { subject.group.handleAddresses(remotes, now: deadline) }
            }
            waits.append(subject.now - before)
        }
        #expect(subject.output.opened == [0, 1, 2, 0, 1, 2, 0].map { remotes[$0] })
        for (index, wait) in waits.enumerated() {
            #expect(index % 3 == 2 ? wait >= .seconds(1) : wait <= .milliseconds(1), "\(index)")
        }
    }

    @Test func `the address that worked is the first to be tried again`() {
        let subject = Subject(target: .name("collector"))
        subject.local([1])
        subject.group.handleAddresses(remotes, now: .at(0))
        subject.remote(FakePeer.handshake(0, sequence: 0))
        subject.pass(.milliseconds(2))
        subject.remote(FakePeer.handshake(20, sequence: 0), FakePeer.sealed([7], sequence: 1))
        subject.remote(FakePeer.sealed([1, 0], as: .alert, sequence: 2))
        subject.local([1])
        #expect(subject.output.opened == [remotes[0], remotes[1], remotes[1]])
    }

    @Test func `with other addresses to try, a silent one is given up after 15 seconds`() {
        let subject = Subject(target: .name("collector"))
        subject.local([1])
        subject.group.handleAddresses(remotes, now: .at(0))
        subject.pass(.seconds(14))
        #expect(subject.output.opened == [remotes[0]])
        subject.pass(.seconds(2))
        subject.group.handleAddresses(remotes, now: subject.now)
        #expect(subject.output.opened == [remotes[0], remotes[1]])
    }
}
