import DTLS
import Settings
import Testing
import Wire

@testable import Tunnel

/// A client's group with one association, whose peer takes heartbeat requests.
private final class Subject {
    let output = FakeOutput()
    private(set) var engines: [FakeEngine] = []
    private(set) var group: ClientGroup<FakeEngine, FakeOutput>!
    var now = Instant.at(0)
    private(set) var told: [PingAnswer] = []
    private var sequence: UInt64 = 0

    init() {
        let target = Endpoint(address: IPAddress(ipv4: 0xc000_0201), port: 6514)
        group = ClientGroup(
            [GroupMember(target: .endpoint(target))], policy: ReconnectPolicy(),
            path: PathSettings(pathMTU: PathMTUSettings(discover: false)), output: output, seed: 1
        ) { [unowned self] size in
            let engine = FakeEngine(datagramSize: size, key: UInt64(engines.count + 1))
            engine.result.peerHeartbeatMode = .peerAllowedToSend
            engines.append(engine)
            return engine
        }
        group.handleLocal([0].bytes, from: sender(1), to: .loopbackIPv4, now: now)
        remote(FakePeer.handshake(20, sequence: 0))
        _ = output.takeSent()
    }

    var serial: UInt64 { group.snapshots().page[0].serial }

    func ping() -> PingOutcome {
        group.ping(serial: serial, now: now) { [unowned self] in told.append($0) }
    }

    func remote(_ datagram: [UInt8]) {
        guard let flow = output.open.keys.first else { return }
        var datagram = datagram
        datagram.withMutableBytes { group.handleRemote(&$0, flow: flow, now: now) }
    }

    /// What the peer sends.
    func peer(_ content: [UInt8], as type: ContentType, key: UInt64 = 1) {
        sequence += 1
        remote(FakePeer.sealed(content, as: type, sequence: sequence, key: key))
    }

    /// Lets time pass.
    func run(until end: Double) {
        while let due = group.deadline, due <= .at(end) {
            now = max(now, due)
            group.handleTimeout(now: now)
        }
        now = .at(end)
    }

    /// The heartbeat requests that have left since the last call.
    func requests(key: UInt64 = 1) -> [[UInt8]] {
        output.takeSent().compactMap { datagram in
            var record = datagram
            guard let header = RecordHeader(record.bytes, at: 0), header.type == .heartbeat,
                let range = record.withMutableBytes({ FakeProtection(key: key).open(&$0, header: header) })
            else { return nil }
            return Array(record[range])
        }
    }

    func answer(_ request: [UInt8], key: UInt64 = 1) { peer([2] + request[1...], as: .heartbeat, key: key) }
}

@Suite struct PingTests {
    @Test func `the answer's time is told`() throws {
        let subject = Subject()
        #expect(subject.ping() == .sent)
        let requests = subject.requests()
        try #require(requests.count == 1)
        subject.now = .at(0.03)
        subject.answer(requests[0])
        #expect(subject.told == [.roundTrip(.milliseconds(30))])
    }

    @Test func `a lost heartbeat is told as lost, and the answer to a later one is not told in its place`() throws {
        let subject = Subject()
        #expect(subject.ping() == .sent)
        #expect(subject.requests().count == 1)
        // The peer is alive.
        subject.run(until: 1)
        subject.peer([7], as: .applicationData)
        subject.run(until: 3)
        #expect(subject.told == [.lost] && subject.requests().isEmpty)
        // The next request, for life.
        subject.run(until: 11.6)
        let next = try #require(subject.requests().first)
        subject.answer(next)
        #expect(subject.told == [.lost])
        #expect(subject.ping() == .sent)
        subject.answer(try #require(subject.requests().first))
        #expect(subject.told == [.lost, .roundTrip(.zero)])
    }

    @Test func `a ping that waits behind a request for life is told its own time, or that the peer is silent`() throws {
        let subject = Subject()
        subject.run(until: 10.6)
        let request = try #require(subject.requests().first)
        #expect(subject.ping() == .sent && subject.requests().isEmpty)
        subject.now = .at(10.7)
        subject.answer(request)
        #expect(subject.told == [])
        subject.now = .at(10.75)
        subject.answer(try #require(subject.requests().first))
        #expect(subject.told == [.roundTrip(.milliseconds(50))])

        subject.run(until: 21.4)
        #expect(subject.ping() == .sent)
        subject.run(until: 23.4)
        #expect(subject.told.last == .lost && subject.told.count == 2)
        // The second wish while the peer is silent, and the association's end.
        #expect(subject.ping() == .sent)
        subject.run(until: 25.4)
        #expect(subject.told.count == 3)
        #expect(subject.ping() == .sent)
        #expect(subject.group.close(serial: subject.serial, now: subject.now))
        #expect(subject.told == [.roundTrip(.milliseconds(50)), .lost, .lost, .ended])
    }

    @Test func `several wishes share one request`() throws {
        let subject = Subject()
        for _ in 0..<3 { #expect(subject.ping() == .sent) }
        let requests = subject.requests()
        try #require(requests.count == 1)
        subject.answer(requests[0])
        #expect(subject.told.count == 3 && subject.requests().isEmpty)
    }

    @Test func `whoever waits while the keys are replaced is answered under the new ones`() throws {
        let subject = Subject()
        #expect(subject.ping() == .sent)
        #expect(subject.requests().count == 1)
        #expect(subject.group.rekey(serial: subject.serial, now: subject.now) == .begun)
        subject.remote(FakePeer.handshake(20, sequence: 1))
        subject.answer(try #require(subject.requests(key: 2).first), key: 2)
        #expect(subject.told == [.roundTrip(.zero)])
    }
}
