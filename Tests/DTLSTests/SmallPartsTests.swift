import Testing
import Wire

@testable import DTLS

@Suite struct DropCountersTests {
    @Test func `every reason has a counter and a name of its own`() {
        var counters = DropCounters()
        #expect(DropReason.allCases.allSatisfy { counters[$0] == 0 } && counters.total == 0)
        for (index, reason) in DropReason.allCases.enumerated() {
            counters.add(reason, index + 1)
            #expect(Int(reason.rawValue) == index)
        }
        for (index, reason) in DropReason.allCases.enumerated() { #expect(counters[reason] == UInt64(index + 1)) }
        let count = DropReason.allCases.count
        #expect(counters.total == UInt64(count * (count + 1) / 2))
        #expect(Set(DropReason.allCases.map(\.name)).count == count)
        for name in DropReason.allCases.map(\.name) {
            #expect(!name.isEmpty && name.allSatisfy { $0 == "_" || ("a"..."z").contains($0) })
        }
    }

    @Test func `counters add up and never overflow`() {
        var counters = DropCounters()
        counters.add(.malformed, .max)
        counters.add(.malformed, .max)
        counters.add(.malformed, .max)
        var other = DropCounters()
        other.add(.closed)
        counters.add(other)
        #expect(counters[.closed] == 1)
        var empty = DropCounters()
        empty.add(other)
        empty.add(DropCounters())
        #expect(empty[.closed] == 1 && empty[.malformed] == 0 && empty.total == 1)
        _ = counters.total
    }
}

@Suite struct EarlyRecordsTests {
    @Test func `it holds a bounded number of records, in order`() {
        var early = EarlyRecords()
        for number in 0..<EarlyRecords.maximumCount {
            let record = [UInt8(number)]
            let isTaken = early.append(record.bytes)
            #expect(isTaken)
        }
        let next: [UInt8] = [99]
        let isTaken = early.append(next.bytes)
        #expect(!isTaken)
        #expect(early.records.map(\.first) == (0..<EarlyRecords.maximumCount).map { UInt8($0) })
    }

    @Test func `it holds a bounded number of bytes, and any one record`() {
        var early = EarlyRecords()
        let large = [UInt8](repeating: 1, count: RecordHeader.size + RecordHeader.maximumLength)
        let rest = [UInt8](repeating: 2, count: EarlyRecords.maximumBytes - large.count)
        let first = early.append(large.bytes)
        let second = early.append(large.bytes)
        let third = early.append(rest.bytes)
        let one: [UInt8] = [0]
        let fourth = early.append(one.bytes)
        #expect(first && !second && third && !fourth)
    }
}

@Suite struct InstantTests {
    @Test func `time does not overflow`() {
        #expect(Instant(nanoseconds: .max) + .seconds(1) == Instant(nanoseconds: .max))
        #expect(Instant.at(1) + .seconds(Int64.max) == Instant(nanoseconds: .max))
        _ = Instant(nanoseconds: .max) - Instant(nanoseconds: .min)
        #expect(Duration.seconds(Int64.max).nanoseconds == .max)
        #expect(Duration.seconds(Int64.min).nanoseconds == .min)
    }

    @Test func `differences and sums fit together`() {
        #expect(Instant.at(3) - .at(1) == .seconds(2))
        #expect(Instant.at(1) - .at(3) == .seconds(-2))
        #expect(Instant.at(1) + .milliseconds(-250) == .at(0.75))
        #expect(Instant.at(1) < .at(1.000000001))
    }
}

@Suite struct PeerIdentityTests {
    @Test func `a peer is called by its most telling name`() {
        #expect(PeerIdentity().description == "anonymous")
        #expect(PeerIdentity(commonName: "edge-7", dnsNames: ["a.example"]).description == "DNS:a.example")
        #expect(PeerIdentity(commonName: "edge-7", addresses: [.loopbackIPv4]).description == "CN:edge-7")
        #expect(PeerIdentity(addresses: [.loopbackIPv4]).description == "IP:127.0.0.1")
        #expect(PeerIdentity(publicKeyHash: [0, 15, 255]).description == "sha256:AA//")
        #expect(PeerIdentity(pskIdentity: "branch-7").description == "psk:branch-7")
    }
}
