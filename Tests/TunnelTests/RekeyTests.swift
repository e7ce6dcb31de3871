import DTLS
import Settings
import Testing
import Wire

@testable import Tunnel

/// A client's group whose keys wear out after three records.
private final class Subject {
    let output = FakeOutput()
    private(set) var engines: [FakeEngine] = []
    private(set) var group: ClientGroup<FakeEngine, FakeOutput>!

    init() {
        let remote = Endpoint(address: IPAddress(ipv4: 0xc000_0201), port: 6514)
        group = ClientGroup(
            [GroupMember(target: .endpoint(remote))], policy: ReconnectPolicy(),
            path: PathSettings(recordLimit: 3), output: output, seed: 1
        ) { [unowned self] size in
            let engine = FakeEngine(datagramSize: size, key: UInt64(engines.count + 1))
            engines.append(engine)
            return engine
        }
    }

    var now = Instant.at(0)

    func local(_ bytes: [UInt8]) {
        group.handleLocal(bytes.bytes, from: sender(1), to: .loopbackIPv4, now: now)
    }

    func remote(_ datagram: [UInt8]) {
        guard let flow = output.open.keys.first else { return }
        var datagram = datagram
        datagram.withMutableBytes { group.handleRemote(&$0, flow: flow, now: now) }
    }

    func events() -> [String] { group.takeEvents().map { summary($0.event) } }
}

@Suite struct RekeyTests {
    @Test func `a handshake for new keys that fails is no problem of a tunnel that works`() {
        let subject = Subject()
        subject.local([0])
        subject.remote(FakePeer.handshake(20, sequence: 0))
        for number in 1...2 { subject.local([UInt8(number)]) }
        #expect(subject.engines.count == 2)
        subject.remote(FakePeer.handshake(0, sequence: 1))
        #expect(subject.events() == ["established", "failed mismatch"])
        #expect(subject.group.tallies()[0].problem == nil)
    }

    @Test func `worn keys are replaced by a handshake beside them, and no datagram waits`() throws {
        let subject = Subject()
        subject.local([0])
        subject.remote(FakePeer.handshake(20, sequence: 0))
        subject.local([1])
        #expect(subject.engines.count == 1)
        subject.local([2])
        // The third record has worn them; what comes meanwhile still goes under the old ones, in both directions.
        #expect(subject.engines.count == 2)
        _ = subject.output.takeSent()
        subject.local([3])
        #expect(subject.output.takeSent().first == FakePeer.sealed([3], sequence: 4))
        subject.remote(FakePeer.sealed([7], sequence: 1))
        #expect(subject.output.takeShared().map(\.bytes) == [[7]])
        subject.remote(FakePeer.handshake(20, sequence: 1))
        subject.local([4])
        #expect(subject.output.takeSent().last == FakePeer.sealed([4], sequence: 1, key: 2))
        subject.remote(FakePeer.sealed([8], sequence: 1, key: 2))
        #expect(subject.output.takeShared().map(\.bytes) == [[8]])
        #expect(subject.events() == ["established", "rekeyed"])
        #expect(subject.group.snapshots().page.first?.rekeys == 1)
        #expect(subject.group.counters().datagramsOut == 5 && subject.group.counters().datagramsIn == 2)
        #expect(subject.group.counters().drops.total == 0)
    }

    @Test func `a failed handshake for new keys leaves the old ones in use, and is tried again`() {
        let subject = Subject()
        subject.local([0])
        subject.remote(FakePeer.handshake(20, sequence: 0))
        for byte in 1...2 as ClosedRange<UInt8> { subject.local([byte]) }
        #expect(subject.engines.count == 2)
        subject.remote(FakePeer.handshake(0, sequence: 1))
        _ = subject.output.takeSent()
        subject.local([3])
        #expect(subject.output.takeSent().first == FakePeer.sealed([3], sequence: 4))
        #expect(subject.engines.count == 3)
        #expect(subject.events() == ["established", "failed mismatch"])
    }

    @Test func `what the peer sealed with the old keys is read for three seconds after they were replaced`() {
        let subject = Subject()
        subject.local([0])
        subject.remote(FakePeer.handshake(20, sequence: 0))
        for byte in 1...2 as ClosedRange<UInt8> { subject.local([byte]) }
        subject.remote(FakePeer.handshake(20, sequence: 1))
        #expect(subject.events() == ["established", "rekeyed"])
        subject.remote(FakePeer.sealed([7], sequence: 1))
        subject.remote(FakePeer.sealed([8], sequence: 1, key: 2))
        subject.remote(FakePeer.sealed([9], sequence: 2))
        #expect(subject.output.takeShared().map(\.bytes) == [[7], [8], [9]])
        // A replay is one under the old keys, too, and what is damaged is counted once.
        subject.remote(FakePeer.sealed([9], sequence: 2))
        subject.remote(FakePeer.sealed([9], sequence: 3, key: 9))
        #expect(subject.output.takeShared().isEmpty && subject.group.counters().drops.total == 2)
        subject.now = .at(3)
        subject.remote(FakePeer.sealed([6], sequence: 3))
        #expect(subject.output.takeShared().isEmpty && subject.group.counters().drops[.notAuthentic] == 3)
        #expect(subject.group.counters().datagramsIn == 3)
    }
}
