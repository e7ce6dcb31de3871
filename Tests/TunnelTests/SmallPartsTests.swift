import DTLS
import Settings
import Testing
import Wire

@testable import Tunnel

@Suite struct DeadlineQueueTests {
    private func flow(_ index: Int32) -> FlowID { FlowID(index: index, generation: 0) }

    @Test func `entries come up in the order of their deadlines and not before`() {
        var queue = DeadlineQueue<FlowID>()
        for index in [3, 1, 4, 2, 5] as [Int32] {
            var armed: Instant?
            queue.arm(flow(index), at: .at(Double(index)), armed: &armed)
            #expect(armed == .at(Double(index)))
        }
        #expect(queue.earliest == .at(1))
        #expect(queue.popDue(.at(0.9)) == nil)
        for index in 1...5 as ClosedRange<Int32> {
            let due = queue.popDue(.at(10))
            #expect(due?.subject == flow(index) && due?.deadline == .at(Double(index)))
        }
        #expect(queue.popDue(.at(10)) == nil && queue.earliest == nil)
    }

    @Test func `a deadline that is put off again and again is one entry`() {
        var queue = DeadlineQueue<FlowID>()
        var armed: Instant?
        for step in 0..<10_000 { queue.arm(flow(1), at: .at(1 + Double(step) / 1000), armed: &armed) }
        #expect(queue.count == 1)
        #expect(armed == .at(1))
        queue.arm(flow(1), at: .at(0.5), armed: &armed)
        #expect(armed == .at(0.5) && queue.earliest == .at(0.5))
    }
}

@Suite struct WaitingQueueTests {
    @Test func `it keeps the newest datagrams in order, bounded by number`() {
        var queue = WaitingQueue()
        var dropped = 0
        for number in 0..<200 {
            let datagram = [UInt8(number)]
            dropped += queue.append(datagram.bytes)
        }
        #expect(dropped == 200 - WaitingQueue.maximumCount)
        #expect(queue.byteCount == WaitingQueue.maximumCount)
        #expect(queue.takeAll().compactMap(\.first) == (72..<200).map { UInt8($0) })
        #expect(queue.isEmpty && queue.byteCount == 0)
    }

    @Test func `it is bounded by bytes`() {
        var queue = WaitingQueue()
        let large = [UInt8](repeating: 1, count: 16_384)
        var dropped = 0
        for _ in 0..<10 { dropped += queue.append(large.bytes) }
        #expect(queue.byteCount <= WaitingQueue.maximumBytes)
        #expect(queue.count == 8 && dropped == 2)
        let empty: [UInt8] = []
        #expect(queue.append(empty.bytes) == 0)
        #expect(queue.takeAll().count == 9)
    }
}

@Suite struct ReconnectPolicyTests {
    @Test(arguments: 1...12) func `a wait is random between half of and the whole doubled wait`(failures: Int) {
        var random = SplitMix64(seed: UInt64(failures))
        let policy = ReconnectPolicy(minimum: .seconds(1), maximum: .seconds(60))
        let whole = Duration.seconds(min(1 << failures, 60))
        let waits = (0..<200).map { _ in policy.wait(failures: failures, random: &random) }
        #expect(waits.allSatisfy { $0 >= max(whole / 2, .seconds(1)) && $0 <= whole })
        // Even the first waits of many clients are not all the same.
        #expect(Set(waits).count > 150)
    }

    @Test(arguments: [Int.min, -1, 0, 1, 2, 31, 63, 64, .max]) func `no number of failures overflows`(failures: Int) {
        var random = SplitMix64(seed: 1)
        for (minimum, maximum) in [
            (Duration.seconds(1), Duration.seconds(60)), (.zero, .zero), (.seconds(Int64.max), .seconds(Int64.max)),
            (.nanoseconds(1), .seconds(Int64.max)), (.seconds(60), .seconds(1)), (.seconds(-5), .seconds(-5)),
        ] {
            let policy = ReconnectPolicy(minimum: minimum, maximum: maximum)
            let wait = policy.wait(failures: failures, random: &random)
            #expect(wait > .zero)
            #expect(wait.nanoseconds <= max(policy.maximum.nanoseconds, 1))
            #expect(wait.nanoseconds >= minimum.nanoseconds)
        }
    }
}

@Suite struct AccessListTests {
    private func allows(_ rules: [PeerRule], _ peer: PeerIdentity) -> Bool { AccessList(peers: rules).allows(peer) }

    @Test(arguments: [
        ("*.branch.example.net", "a.branch.example.net", true),
        ("*.branch.example.net", "a.b.branch.example.net", false),
        ("*.branch.example.net", "branch.example.net", false), ("*.branch.example.net", ".branch.example.net", false),
        ("*.branch.example.net", "abranch.example.net", false),
        ("*.branch.example.net", "a.branch.example.net.", false),
        ("*.branch.example.net", "", false), ("*.branch.example.net", "localhost", false),
        ("a.example", "a.example", true),
        ("a.example", "b.a.example", false), ("a.example", "A.example", false), ("a*.example", "ab.example", false),
        ("*", "example", false), ("a.*.example", "a.b.example", false),
    ]) func `a wildcard stands for one label exactly, at the left end`(pattern: String, name: String, isAllowed: Bool) {
        #expect(allows([.dns(pattern)], PeerIdentity(dnsNames: ["other.example", name])) == isAllowed)
    }

    @Test func `each rule looks at its own part of the identity`() {
        let hash = [UInt8](repeating: 7, count: 32)
        let peer = PeerIdentity(
            commonName: "edge-7", dnsNames: ["a.example"], addresses: [.loopbackIPv4], publicKeyHash: hash,
            pskIdentity: "branch-7")
        for rule in [
            PeerRule.commonName("edge-7"), .dns("a.example"), .address(.loopbackIPv4), .publicKey(hash),
            .psk("branch-7"),
        ] {
            #expect(allows([.dns("nobody"), rule], peer))
            #expect(!allows([rule], PeerIdentity()))
        }
        for rule in [
            PeerRule.commonName("a.example"), .commonName("Edge-7"), .dns("edge-7"), .dns("branch-7"), .psk("edge-7"),
            .address(.loopbackIPv6), .publicKey([]), .publicKey(Array(hash.dropLast())), .commonName(""), .psk(""),
        ] { #expect(!allows([rule], peer)) }
    }

    @Test func `empty lists allow everybody, others only whom they name`() throws {
        let list = AccessList(sources: [
            try #require(IPPrefix("192.0.2.0/24")), try #require(IPPrefix("2001:db8::/32")),
        ])
        #expect(AccessList().allows(IPAddress.loopbackIPv4) && AccessList().allows(PeerIdentity()))
        #expect(list.allows(try #require(IPAddress("192.0.2.77"))))
        #expect(list.allows(try #require(IPAddress("2001:db8:1::1"))))
        #expect(!list.allows(try #require(IPAddress("192.0.3.1"))))
        #expect(!list.allows(IPAddress.loopbackIPv6))
    }
}
