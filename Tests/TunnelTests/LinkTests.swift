// Links that others refer to while they come, change their use, and go; and what old keys still do.

import DTLS
import Settings
import Testing
import Wire

@testable import Tunnel

private let peerEndpoint = Endpoint(address: IPAddress(ipv4: 0xc000_0201), port: 6514)

/// A client's group of two tunnels, whose peer has shared mode or not, attempt by attempt.
private final class Client {
    let output = FakeOutput()
    private(set) var engines: [FakeEngine] = []
    private(set) var group: ClientGroup<FakeEngine, FakeOutput>!
    var now = Instant.at(0)

    init(sharing: SharingPolicy = .auto, connect: ConnectPolicy = .start, peers: [Bool]) {
        group = ClientGroup(
            ["a", "b"].map { GroupMember(service: $0, target: .endpoint(peerEndpoint)) }, policy: ReconnectPolicy(),
            sharing: sharing, connect: connect, output: output, seed: 1
        ) { [unowned self] size in
            let engine = FakeEngine(datagramSize: size, key: UInt64(engines.count + 1))
            let isShared = peers[min(engines.count, peers.count - 1)]
            engine.result.applicationProtocol = isShared ? SharedFrame.applicationProtocol : nil
            engines.append(engine)
            return engine
        }
        group.start(now: now)
    }

    func local(_ bytes: [UInt8], _ port: UInt16 = 1, member: Int = 0) {
        group.handleLocal(bytes.bytes, member: member, from: sender(port), to: .loopbackIPv4, now: now)
    }

    func remote(_ datagram: [UInt8], on link: PlaceID) {
        var datagram = datagram
        datagram.withMutableBytes { group.handleRemote(&$0, flow: link, now: now) }
    }

    /// The link that has just been given a socket.
    var newest: PlaceID { output.sent.last?.flow ?? PlaceID(index: -1, generation: 0) }

    func finish(_ link: PlaceID) { remote(FakePeer.handshake(20, sequence: 0), on: link) }

    func timeOut() {
        now = max(now, group.deadline ?? now)
        group.handleTimeout(now: now)
    }

    /// The payloads of what has left under the key of the engine with this number, and asks for a service.
    func takeOpening(key: UInt64) -> [[UInt8]] {
        output.takeSent().compactMap { datagram in
            var datagram = datagram
            let protection = FakeProtection(key: key)
            guard let header = RecordHeader(datagram.bytes, at: 0),
                let range = datagram.withMutableBytes({ protection.open(&$0, header: header) })
            else { return nil }
            let record = Array(datagram[range])
            guard case .open(_, _, let payload)? = SharedFrame(record.bytes) else { return nil }
            return Array(record[payload])
        }
    }
}

/// A server's group whose engines have a key each.
private final class Server {
    let output = FakeOutput()
    private(set) var engines: [FakeEngine] = []
    private(set) var group: ServerGroup<FakeEngine, FakeOutput>!

    init(
        target: ForwardTarget = .endpoint(Endpoint(address: .loopbackIPv4, port: 1812)),
        limits: TunnelLimits = TunnelLimits()
    ) {
        group = ServerGroup(
            [GroupMember(target: target, limits: limits)], cookieExchange: true, firstKey: FakeKey(1), output: output,
            now: .at(0), makeKey: { FakeKey(UInt64($0) + 1) }
        ) { [unowned self] size in
            let engine = FakeEngine(datagramSize: size, key: UInt64(engines.count) + 1)
            engine.result.peerHeartbeatMode = .peerAllowedToSend
            engines.append(engine)
            return engine
        }
    }

    func peer(_ datagram: [UInt8], _ port: UInt16 = 1) {
        var datagram = datagram
        datagram.withMutableBytes { group.handlePeer(&$0, from: sender(port), to: .loopbackIPv4, now: .at(0)) }
    }

    /// The hello that brings back the cookie which the group gives to this peer.
    func hello(_ port: UInt16 = 1, random: UInt8 = 7) -> [UInt8] {
        peer(FakePeer.hello(random: random), port)
        let cookie = Array(output.shared.removeLast().bytes.dropFirst(28))
        return FakePeer.hello(sequence: 1, cookie: cookie, random: random)
    }

    func establish(_ port: UInt16 = 1, random: UInt8 = 7) {
        peer(hello(port, random: random), port)
        peer(FakePeer.handshake(20, sequence: 9), port)
    }
}

@Suite struct LinkTests {
    @Test func `of two associations that turn out to be shared, the later one's flow goes with the first`() {
        let client = Client(peers: [false, true])
        client.finish(client.newest)
        client.local([1], 1)
        client.local([2], 2)
        let second = client.newest
        client.local([3], 3)
        let third = client.newest
        client.finish(second)
        #expect(client.takeOpening(key: 2) == [[2]])
        client.finish(third)
        #expect(client.takeOpening(key: 2) == [[3]])
        client.local([4], 3)
        #expect(client.takeOpening(key: 2) == [[4]])
        // Its own association is gone; the first sender keeps the one that it has.
        #expect(client.group.snapshots().total == 2)
    }

    @Test func `flows that wait for a link go with the one that has turned out to be shared`() throws {
        let client = Client(peers: [true, false, true])
        let first = client.newest
        client.finish(first)
        client.local([1], 1)
        client.local([2], 2)
        // The peer closes, and has no shared mode any more; nobody has anything to send.
        client.remote(FakePeer.sealed([1, 0], as: .alert, sequence: 1), on: first)
        for _ in 0..<20 where client.engines.count == 1 { client.timeOut() }
        client.finish(client.newest)
        let spare = client.newest
        #expect(client.engines.count == 2)
        // One sender finds an association of its own, the other waits for the peer that has closed again.
        client.local([3], 1)
        let own = client.newest
        #expect(own != spare && client.engines.count == 3)
        client.remote(FakePeer.sealed([1, 0], as: .alert, sequence: 1, key: 2), on: spare)
        client.local([4], 2)
        _ = client.output.takeSent()
        client.finish(own)
        #expect(Set(client.takeOpening(key: 3)) == [[3], [4]])
        #expect(client.group.snapshots().total == 1)
    }

    @Test func `a failure to send for an association that is over counts for its tunnel`() {
        let client = Client(sharing: .never, peers: [false])
        client.local([1], 1, member: 1)
        let link = client.newest
        client.remote(FakePeer.handshake(0, sequence: 0), on: link)
        client.group.handleSendFailure(.own(link), .unreachable, count: 1, now: client.now)
        #expect(client.group.counters(of: 0).drops.total == 0)
        #expect(client.group.counters(of: 1).drops[.unreachable] == 1)
    }

    @Test func `a flow that finds no target takes no association's room`() {
        let server = Server(target: .name("radius"), limits: TunnelLimits(maximumAssociations: 1))
        server.establish(1)
        #expect(server.group.snapshots().total == 0)
        server.group.handleAddresses([sender(1812)])
        server.establish(2)
        #expect(server.group.snapshots().page.map(\.peer) == [sender(2)])
    }

    @Test func `data behind a hello in one datagram is the association's`() {
        let server = Server()
        server.establish()
        server.output.sent = []
        server.peer(server.hello(random: 8) + FakePeer.sealed([9], sequence: 1))
        #expect(server.output.takeSent() == [[9]])
        let counters = server.group.counters()
        #expect(counters.records == counters.datagramsIn + counters.control + counters.drops.total)
    }

    @Test func `data before the end of a handshake beside the association is counted once`() {
        let server = Server()
        server.establish()
        server.output.sent = []
        server.peer(server.hello(random: 8))
        server.peer(FakePeer.sealed([9], sequence: 1, key: 2))
        server.peer(FakePeer.handshake(20, sequence: 9))
        #expect(server.output.takeSent() == [[9]])
        let counters = server.group.counters()
        #expect(counters.records == counters.datagramsIn + counters.control + counters.drops.total)
    }

    @Test func `a heartbeat request under replaced keys is answered, and not kept`() throws {
        let server = Server()
        server.establish()
        server.establish(random: 8)
        _ = server.output.takeShared()
        var random = SplitMix64(seed: 1)
        let message = HeartbeatMessage.bytes(.request, payload: [7].bytes, random: &random)
        let request = try #require(message)
        server.peer(FakePeer.sealed(request, as: .heartbeat, sequence: 1))
        let answers = server.output.takeShared()
        #expect(answers.count == 1)
        var answer = try #require(answers.first?.bytes)
        let read = RecordHeader(answer.bytes, at: 0)
        let header = try #require(read)
        let content = answer.withMutableBytes { FakeProtection().open(&$0, header: header) }
        #expect(header.type == .heartbeat && content != nil)
        // Whatever the old association comes to, the new one goes on.
        server.peer(FakePeer.sealed([1, 0], as: .alert, sequence: 2))
        #expect(server.group.snapshots().page.map(\.state) == [.established])
    }
}
