import DTLS
import Settings
import Testing
import Wire

@testable import Tunnel

/// A server's group with fake engines, keys and sockets.
private final class Subject {
    let output = FakeOutput()
    private(set) var engines: [FakeEngine] = []
    private(set) var group: ServerGroup<FakeEngine, FakeOutput>!
    var now = Instant.at(0)

    init(
        target: ForwardTarget = .endpoint(Endpoint(address: .loopbackIPv4, port: 1812)),
        limits: TunnelLimits = TunnelLimits(), access: AccessList = AccessList(), cookieExchange: Bool = true,
        engines mayMake: Int = 1000
    ) {
        group = ServerGroup(
            [GroupMember(target: target, limits: limits, access: access)], cookieExchange: cookieExchange,
            firstKey: FakeKey(1), output: output, now: .at(0), makeKey: { FakeKey(UInt64($0) + 1) }
        ) { [unowned self] size in
            guard engines.count < mayMake else { return nil }
            // Each engine its own key, so that no record of one association passes for one of another.
            let engine = FakeEngine(datagramSize: size, key: UInt64(engines.count) + 1)
            engine.flightTimer = .stopped
            engines.append(engine)
            return engine
        }
    }

    func peer(_ datagrams: [UInt8]..., from port: UInt16 = 1, to local: IPAddress = .loopbackIPv4) {
        for var datagram in datagrams {
            datagram.withMutableBytes { group.handlePeer(&$0, from: sender(port), to: local, now: now) }
        }
    }

    /// The hello that brings back the cookie which the tunnel gives to this peer.
    func hello(_ port: UInt16 = 1, random: UInt8 = 7) -> [UInt8] {
        peer(FakePeer.hello(random: random), from: port)
        let cookie = Array(output.shared.removeLast().bytes.dropFirst(28))
        return FakePeer.hello(sequence: 1, cookie: cookie, random: random)
    }

    /// Runs a whole handshake.
    func establish(_ port: UInt16 = 1, random: UInt8 = 7) {
        peer(hello(port, random: random), FakePeer.handshake(20, sequence: 9), from: port)
    }

    func target(_ bytes: [UInt8], _ flow: FlowID) { group.handleTarget(bytes.bytes, flow: flow, now: now) }

    func events() -> [String] { group.takeEvents().map { summary($0.event) } }

    var ports: Set<UInt16> { Set(group.snapshots().page.compactMap(\.peer?.port)) }

    subscript(reason: DropReason) -> UInt64 { group.counters().drops[reason] }
}

@Suite struct ServerGroupTests {
    @Test func `a first hello costs nothing but an answer`() {
        let subject = Subject()
        for port in 1...500 as ClosedRange<UInt16> { subject.peer(FakePeer.hello(), from: port) }
        let answers = subject.output.takeShared()
        #expect(answers.count == 500)
        #expect(answers.allSatisfy { $0.flow == nil && $0.bytes.count == 60 && $0.source == .loopbackIPv4 })
        #expect(subject.engines.isEmpty && subject.group.flowCount == 0 && subject.group.deadline == nil)
    }

    @Test func `allow_from is asked before any state, and before any answer`() throws {
        let subject = Subject(access: AccessList(sources: [try #require(IPPrefix("192.0.2.0/24"))]))
        subject.peer(FakePeer.hello(), FakePeer.hello(sequence: 1, cookie: [UInt8](repeating: 0, count: 32)))
        #expect(subject.output.shared.isEmpty && subject.engines.isEmpty)
        #expect(subject[.sourceNotAllowed] == 2)
    }

    @Test func `strangers' datagrams are counted and do nothing`() {
        let subject = Subject()
        subject.peer([], [22], FakePeer.sealed([1], sequence: 1), FakePeer.handshake(20, sequence: 0), from: 9)
        #expect(subject[.noAssociation] == 4)
        subject.peer(FakePeer.hello(sequence: 1, cookie: [UInt8](repeating: 0, count: 32)), from: 9)
        #expect(subject[.cookie] == 1)
        subject.peer(Array(FakePeer.hello().dropLast()), from: 9)
        #expect(subject[.malformed] == 1)
        #expect(subject.output.shared.isEmpty && subject.group.flowCount == 0)
    }

    @Test func `data flows both ways, each peer through a socket of its own`() throws {
        let subject = Subject()
        subject.establish(1)
        subject.establish(2)
        #expect(subject.events() == ["established", "established"])
        #expect(subject.output.open.count == 2)
        subject.peer(FakePeer.sealed([7], sequence: 1, key: 1), from: 1)
        subject.peer(FakePeer.sealed([], sequence: 1, key: 2), from: 2)
        let sent = subject.output.sent
        #expect(sent.map(\.bytes) == [[7], []])
        #expect(sent[0].flow != sent[1].flow)
        subject.target([9], sent[1].flow)
        #expect(
            subject.output.takeShared() == [
                .init(
                    flow: sent[1].flow, destination: sender(2), source: .loopbackIPv4,
                    bytes: FakePeer.sealed([9], sequence: 1, key: 2))
            ])
        subject.target([9], FlowID(index: 0, generation: 44))
        #expect(subject[.noAssociation] == 1)
    }

    @Test(arguments: [
        (PeerIdentity(commonName: "peer"), PeerIdentity(commonName: "peer"), true),
        (PeerIdentity(commonName: "peer"), PeerIdentity(commonName: "other"), false),
        (PeerIdentity(commonName: "peer"), PeerIdentity(), false), (PeerIdentity(), PeerIdentity(), false),
    ])
    func `only the same authenticated peer inherits the flow of an association at its address`(
        old: PeerIdentity, new: PeerIdentity, goesOn: Bool
    ) throws {
        let subject = Subject()
        subject.peer(subject.hello())
        subject.engines[0].result.peer = old
        subject.peer(FakePeer.handshake(20, sequence: 9))
        let first = try #require(subject.output.open.keys.first)
        subject.peer(subject.hello(random: 8))
        subject.engines[1].result.peer = new
        _ = subject.output.takeShared()
        subject.peer(FakePeer.handshake(20, sequence: 10))
        let second = try #require(subject.output.open.keys.first)
        #expect((first == second) == goesOn && subject.output.open.count == 1)
        #expect(
            subject.events()
                == (goesOn
                    ? ["established", "established"]
                    : ["established", "ended replaced(by: \(new))", "established"]))
        // An answer to the first, which is still on its way, reaches nobody else, and the old keys open nothing.
        let sent = subject.output.takeShared()
        #expect(sent.map(\.bytes).contains(FakePeer.sealed([1, 0], as: .alert, sequence: 1)) == !goesOn)
        subject.target([9], first)
        #expect(subject.output.takeShared().isEmpty == !goesOn)
        subject.peer(FakePeer.sealed([7], sequence: 5, key: 1))
        #expect(subject.output.takeSent() == (goesOn ? [[7]] : []))
    }

    @Test func `only an authentic datagram moves the address that replies leave from`() throws {
        let subject = Subject()
        let other = try #require(IPAddress("127.0.0.9"))
        subject.establish()
        let flow = try #require(subject.output.open.keys.first)
        subject.peer([1, 2, 3], FakePeer.sealed([7], sequence: 1, key: 99), FakePeer.hello(), to: other)
        _ = subject.output.takeShared()
        subject.target([9], flow)
        #expect(subject.output.takeShared().map(\.source) == [.loopbackIPv4])
        subject.peer(FakePeer.sealed([7], sequence: 1), to: other)
        subject.target([9], flow)
        #expect(subject.output.takeShared().map(\.source) == [other])
    }

    @Test func `data before the end of the handshake is forwarded after it, in order`() {
        let subject = Subject()
        subject.peer(subject.hello(), FakePeer.sealed([1], sequence: 1), FakePeer.sealed([2], sequence: 2))
        #expect(subject.output.sent.isEmpty)
        subject.peer(FakePeer.handshake(20, sequence: 9))
        #expect(subject.output.takeSent() == [[1], [2]])
        #expect(subject.output.strays == 0)
    }

    @Test func `a peer that allow_peers does not name delivers nothing`() {
        let subject = Subject(access: AccessList(peers: [.commonName("edge-7")]))
        subject.peer(subject.hello(), FakePeer.sealed([1], sequence: 1), FakePeer.handshake(20, sequence: 9))
        #expect(subject.output.shared.last?.bytes == FakePeer.sealed([2, 49], as: .alert, sequence: 1))
        subject.peer(FakePeer.sealed([2], sequence: 2))
        #expect(subject.output.sent.isEmpty && subject.output.opened.isEmpty)
        #expect(subject.events() == ["refused"])
        #expect(subject.group.flowCount == 0)
        #expect(subject[.closed] == 1 && subject[.noAssociation] == 1)
    }

    @Test func `a repeated hello goes to the handshake that it began, another one replaces it`() {
        let subject = Subject()
        let hello = subject.hello()
        subject.peer(hello, hello, hello)
        #expect(subject.engines.count == 1 && subject.engines[0].received.count == 3)
        subject.peer(subject.hello(random: 8))
        #expect(subject.engines.count == 2 && subject.group.flowCount == 1)
        subject.peer(FakePeer.handshake(20, sequence: 9))
        #expect(subject.engines[0].received.count == 3 && subject.engines[1].received.count == 2)
        #expect(subject.events() == ["established"])
        #expect(subject.group.counters().failedHandshakes == 1)
    }

    @Test func `a later fragment of a hello reaches the handshake that its first one began, and no other`() {
        let subject = Subject()
        var fragment = subject.hello()
        fragment[21] = 1
        fragment[24] -= 1
        subject.peer(fragment)
        #expect(subject[.noAssociation] == 1 && subject.engines.isEmpty)
        subject.peer(subject.hello(), fragment)
        #expect(subject.engines[0].received.count == 2)
    }

    // MARK: A client that starts again (RFC 6347 §4.2.8)

    @Test func `the old association stays until the new one has authenticated`() throws {
        let subject = Subject()
        subject.establish()
        let flow = try #require(subject.output.open.keys.first)
        subject.peer(subject.hello(random: 8))
        #expect(subject.engines.count == 2)
        subject.peer(FakePeer.sealed([1], sequence: 1, key: 1))
        subject.target([9], flow)
        #expect(subject.output.takeShared().last?.bytes == FakePeer.sealed([9], sequence: 1, key: 1))
        // Data of the new one comes early and waits.
        subject.peer(FakePeer.sealed([2], sequence: 1, key: 2))
        #expect(subject.output.takeSent() == [[1]])
        subject.peer(FakePeer.handshake(20, sequence: 9))
        #expect(subject.output.takeSent() == [[2]])
        subject.target([9], flow)
        #expect(subject.output.takeShared().last?.bytes == FakePeer.sealed([9], sequence: 1, key: 2))
        // The same socket, so that the application sees no change.
        #expect(subject.output.opened.count == 1 && subject.group.flowCount == 1)
        #expect(subject.group.counters().datagramsIn == 2 && subject.group.counters().handshakes == 2)
    }

    @Test func `a new handshake that fails leaves the old association alone`() {
        let subject = Subject()
        subject.establish()
        subject.peer(subject.hello(random: 8), FakePeer.handshake(0, sequence: 9))
        #expect(subject.events() == ["established", "failed mismatch"])
        subject.peer(FakePeer.sealed([1], sequence: 1, key: 1))
        #expect(subject.output.takeSent() == [[1]])
        subject.peer(subject.hello(random: 9))
        #expect(subject.engines.count == 3)
    }

    @Test func `a new handshake of a peer that is not allowed leaves the old association alone`() {
        let subject = Subject(access: AccessList(peers: [.commonName("peer")]))
        subject.establish()
        subject.peer(subject.hello(random: 8))
        subject.engines[1].result.peer = PeerIdentity(commonName: "stranger")
        subject.peer(FakePeer.handshake(20, sequence: 9))
        #expect(subject.events() == ["established", "refused"])
        subject.peer(FakePeer.sealed([1], sequence: 1, key: 1))
        #expect(subject.output.takeSent() == [[1]])
    }

    @Test func `a goodbye of the old association leaves the new handshake going`() {
        let subject = Subject()
        subject.establish()
        subject.peer(subject.hello(random: 8), FakePeer.sealed([1, 0], as: .alert, sequence: 1, key: 1))
        #expect(subject.output.open.isEmpty && subject.group.flowCount == 1)
        subject.peer(FakePeer.handshake(20, sequence: 9), FakePeer.sealed([2], sequence: 1, key: 2))
        #expect(subject.output.takeSent() == [[2]])
        #expect(subject.events() == ["established", "ended closedByPeer", "established"])
        #expect(subject.output.strays == 0)
    }

    @Test func `forged hellos and their replays never end an association`() {
        let subject = Subject()
        let hello = subject.hello()
        subject.peer(hello, FakePeer.handshake(20, sequence: 9), hello, hello, FakePeer.hello(random: 8))
        subject.peer(FakePeer.hello(sequence: 1, cookie: [UInt8](repeating: 3, count: 32), random: 8))
        #expect(subject.engines.count == 1)
        subject.peer(FakePeer.sealed([1], sequence: 1))
        #expect(subject.output.takeSent() == [[1]])
    }

    // MARK: Limits and ages

    @Test func `of too many handshakes the oldest gives way, and no association`() {
        let subject = Subject(limits: TunnelLimits(maximumHandshakes: 2))
        subject.establish(10)
        for port in 1...3 as ClosedRange<UInt16> { subject.peer(subject.hello(port), from: port) }
        #expect(subject.ports == [10, 2, 3])
        #expect(subject.events() == ["established", "max_handshakes 1"])
        #expect(subject.group.counters().failedHandshakes == 1)
        // A new one at an address that has one under way takes no room.
        subject.peer(subject.hello(2, random: 8), from: 2)
        #expect(subject.ports == [10, 2, 3])
    }

    @Test func `handshakes beside an association count too`() {
        let subject = Subject(limits: TunnelLimits(maximumHandshakes: 2))
        for port in 1...3 as ClosedRange<UInt16> { subject.establish(port) }
        _ = subject.events()
        for port in 1...3 as ClosedRange<UInt16> { subject.peer(subject.hello(port, random: 8), from: port) }
        #expect(subject.engines.count == 5)
        #expect(subject[.limit] == 1)
        #expect(subject.events() == ["max_handshakes -"])
        // One that ends makes room again, however it ends.
        subject.peer(FakePeer.handshake(0, sequence: 9), from: 1)
        subject.peer(subject.hello(3, random: 8), from: 3)
        #expect(subject.engines.count == 6)
        subject.group.close()
        subject.peer(subject.hello(1), from: 1)
        subject.peer(subject.hello(2), from: 2)
        #expect(subject.ports == [1, 2])
    }

    @Test func `of too many associations only one that is idle gives way`() {
        let subject = Subject(limits: TunnelLimits(maximumAssociations: 2))
        subject.establish(1)
        subject.establish(2)
        subject.now = .at(5)
        subject.establish(3)
        #expect(subject.ports == [1, 2])
        #expect(subject[.limit] == 1)
        subject.peer(FakePeer.sealed([1], sequence: 1, key: 1), from: 1)
        subject.now = .at(10.5)
        subject.establish(3)
        #expect(subject.ports == [1, 3])
        #expect(subject.events() == ["established", "established", "max_associations -", "established"])
        #expect(subject.output.shared.contains { $0.destination == sender(2) && $0.bytes[0] == 21 })
    }

    @Test func `without an engine or a socket there is no association`() {
        let engines = Subject(engines: 0)
        engines.peer(engines.hello())
        #expect(engines[.limit] == 1 && engines.group.flowCount == 0)
        let sockets = Subject()
        sockets.output.refusesSockets = true
        sockets.establish()
        #expect(sockets.events() == ["no socket"] && sockets.group.flowCount == 0)
        let names = Subject(target: .name("radius"))
        #expect(names.output.resolutions == 1)
        names.establish()
        #expect(names.group.flowCount == 0)
        names.group.handleAddresses([])
        names.group.handleAddresses([sender(99)])
        names.group.handleAddresses([])
        names.establish(1, random: 9)
        #expect(names.output.opened == [sender(99)])
        #expect(names.events() == ["unresolved radius", "unresolved radius", "established"])
    }

    @Test func `an association that is idle ends with a close_notify, a handshake after 64 seconds`() {
        let subject = Subject(limits: TunnelLimits(flowTimeout: .seconds(30)))
        subject.establish(1)
        subject.peer(subject.hello(2), from: 2)
        subject.now = .at(29)
        subject.group.handleTimeout(now: subject.now)
        #expect(subject.ports == [1, 2])
        #expect(subject.group.deadline == .at(30))
        subject.group.handleTimeout(now: .at(30))
        #expect(subject.ports == [2] && subject.output.open.isEmpty)
        #expect(subject.output.shared.last?.bytes == FakePeer.sealed([1, 0], as: .alert, sequence: 1))
        #expect(subject.group.deadline == .at(64))
        subject.group.handleTimeout(now: .at(64))
        #expect(subject.ports.isEmpty && subject.group.deadline == nil)
        #expect(subject.events() == ["established", "expired 1", "failed timeout"])
    }

    @Test func `a timeout that becomes shorter ends no association that is in use`() throws {
        let subject = Subject()
        subject.establish()
        let flow = try #require(subject.output.open.keys.first)
        let limits = TunnelLimits(flowTimeout: .milliseconds(500))
        subject.group.update(
            [GroupMember(target: .endpoint(sender(9)), limits: limits)], now: subject.now)
        for tenth in 1...20 {
            subject.now = .at(0) + .milliseconds(100 * tenth)
            subject.target([1], flow)
            subject.group.handleTimeout(now: subject.now)
        }
        #expect(subject.events() == ["established"] && subject.ports == [1])
        subject.group.handleTimeout(now: subject.now + .milliseconds(500))
        #expect(subject.events() == ["expired 1"])
    }

    @Test func `close says goodbye to every peer`() {
        let subject = Subject()
        for port in 1...3 as ClosedRange<UInt16> { subject.establish(port) }
        subject.peer(subject.hello(4), from: 4)
        _ = subject.output.takeShared()
        subject.group.close()
        #expect(subject.output.takeShared().map(\.destination.port).sorted() == [1, 2, 3])
        #expect(subject.group.flowCount == 0 && subject.output.open.isEmpty)
    }

    @Test func `random datagrams from a known address never do anything but count`() {
        let subject = Subject()
        subject.establish()
        subject.peer(subject.hello(random: 8))
        _ = subject.output.takeShared()
        var random = SplitMix64(seed: 5)
        for _ in 0..<3000 {
            var datagram = (0..<Int.random(in: 0...50, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            if datagram.count > 13 {
                datagram.replaceSubrange(0..<5, with: [UInt8.random(in: 19...25, using: &random), 0xfe, 0xfd, 0, 1])
                datagram.replaceSubrange(11..<14, with: [0, UInt8(datagram.count - 13), 1])
            }
            subject.peer(datagram)
        }
        #expect(subject.output.sent.isEmpty && subject.output.shared.isEmpty)
        subject.peer(FakePeer.sealed([1], sequence: 1, key: 1))
        #expect(subject.output.takeSent() == [[1]])
    }
}
