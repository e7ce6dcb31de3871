import CVirtualTime
import DTLS
import Testing
import Wire

@testable import OpenSSL

/// Handshakes over bad paths, in a time of their own. Each test stays on one thread from beginning to end.
@Suite struct VirtualTimeTests {
    private let pki: TestPKI

    init() throws { pki = try TestPKI.shared.get() }

    private static let start: Int64 = 2_000_000_000_000_000_000

    /// Runs `body` with a clock that it can set, in milliseconds since the beginning.
    private func inVirtualTime(_ body: (_ setTime: (Int64) -> Void) throws -> Void) rethrows {
        culvert_virtual_time_set(Self.start)
        defer { culvert_virtual_time_clear() }
        try body { culvert_virtual_time_set(Self.start + $0 * 1_000_000) }
    }

    // The certificates are valid today, not in the virtual time: X509_verify_cert reads time(), which stays real.

    @Test func `libssl's retransmission timer follows this thread's virtual time`() throws {
        let context = try HandshakeContext(.client, pki.clientOptions)
        try inVirtualTime { setTime in
            let client = TestEnd(
                try OpenSSLHandshake(client: context, verifying: .host("server.example.net"), datagramSize: 1452))
            #expect(client.engine.flightTimer == .stopped)
            client.start()
            #expect(client.transmits().count == 1)
            #expect(client.engine.flightTimer == .due(in: .seconds(1)))
            setTime(500)
            client.timeOut()
            #expect(client.transmits().isEmpty)
            #expect(client.engine.flightTimer == .due(in: .milliseconds(500)))
            var now: Int64 = 0
            for wait in [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000] as [Int64] {
                now += wait
                setTime(now)
                #expect(client.engine.flightTimer == .due(in: .zero))
                client.timeOut()
                #expect(client.transmits().count == 1 && client.failure == nil)
                #expect(client.engine.flightTimer == .due(in: .milliseconds(min(wait * 2, 60_000))))
            }
            for _ in 0..<5 {
                now += 60_000
                setTime(now)
                client.timeOut()
            }
            #expect(client.failure?.reason == .timeout)
        }
    }

    @Test func `a wall clock that is set back shows as one that cannot be trusted`() throws {
        let context = try HandshakeContext(.client, pki.clientOptions)
        try inVirtualTime { setTime in
            let client = TestEnd(
                try OpenSSLHandshake(client: context, verifying: .host("server.example.net"), datagramSize: 1452))
            client.start()
            // By a minute, the wait might still be OpenSSL's longest.
            setTime(-60_000)
            #expect(client.engine.flightTimer == .due(in: .seconds(61)))
            setTime(-60_001)
            #expect(client.engine.flightTimer == .unreliable)
            setTime(-3_600_000)
            #expect(client.engine.flightTimer == .unreliable)
        }
    }

    @Test func `a smaller datagram size holds for flights that are repeated`() throws {
        let clientContext = try HandshakeContext(.client, pki.clientOptions)
        let serverContext = try HandshakeContext(.server, pki.serverOptions)
        try inVirtualTime { setTime in
            var pair = try TestPair(clientContext, serverContext)
            pair.client.start()
            pair.client.transmits().forEach(pair.server.receive)
            #expect(pair.server.transmits().contains { $0.count > 548 })
            pair.server.engine.datagramSize = 268
            setTime(1100)
            pair.server.timeOut()
            let repeated = pair.server.transmits()
            #expect(repeated.count > 2 && repeated.allSatisfy { $0.count <= 268 })
            repeated.forEach(pair.client.receive)
            pair.exchange()
            #expect(pair.client.result != nil && pair.server.result != nil)
        }
    }

    /// A path that loses, repeats and reorders by a seed.
    struct Path: Sendable, CustomTestStringConvertible {
        var loss: Int
        var datagramSize: Int
        var isMutual: Bool
        var testDescription: String { "\(loss) % lost, \(datagramSize) bytes\(isMutual ? ", mutual" : "")" }
    }

    static let paths = [0, 10, 20, 50].flatMap { loss in
        [256, 548, 1472].flatMap { size in
            [true, false].map { Path(loss: loss, datagramSize: size, isMutual: $0) }
        }
    }

    @Test(arguments: paths)
    func `handshakes come through loss, repetition and disorder, and never reuse a number`(path: Path) throws {
        var clientOptions = pki.clientOptions
        if !path.isMutual { clientOptions.credential = nil }
        var serverOptions = pki.serverOptions
        serverOptions.requiresPeerCertificate = path.isMutual
        let clientContext = try HandshakeContext(.client, clientOptions)
        let serverContext = try HandshakeContext(.server, serverOptions)
        try inVirtualTime { setTime in
            for seed in 1...10 as ClosedRange<UInt64> {
                var random = Generator(state: seed)
                let pair = try TestPair(clientContext, serverContext, datagramSize: path.datagramSize)
                var sent: [[RecordNumber: [UInt8]]] = [[:], [:]]
                var now: Int64 = 0
                setTime(0)
                pair.client.start()
                // The last flight is the association's to repeat, so what counts is the client's end of it.
                while pair.client.result == nil, now < 600_000 {
                    let isQuiet = try cross(pair, path, &random, &sent)
                    if isQuiet {
                        if pair.server.result != nil { break }
                        now += 250
                        setTime(now)
                        for end in [pair.client, pair.server] where end.engine.flightTimer == .due(in: .zero) {
                            end.timeOut()
                        }
                    }
                }
                #expect(pair.client.failure == nil && pair.server.failure == nil)
                let server = try #require(pair.server.result, "seed \(seed)")
                let own = sent[1].keys.filter { $0.epoch == 1 }.map(\.sequence).max()
                #expect(server.nextSequence == own.map { $0 + 1 })
                #expect(server.receivedSequences.allSatisfy { sent[0][RecordNumber(epoch: 1, sequence: $0)] != nil })
            }
        }
    }

    /// Carries what both ends have to send; the result is whether there was nothing.
    private func cross(
        _ pair: TestPair, _ path: Path, _ random: inout Generator, _ sent: inout [[RecordNumber: [UInt8]]]
    ) throws -> Bool {
        var isQuiet = true
        for (index, from, to) in [(0, pair.client, pair.server), (1, pair.server, pair.client)] {
            var datagrams = from.transmits()
            if !datagrams.isEmpty { isQuiet = false }
            for datagram in datagrams {
                #expect(datagram.count <= path.datagramSize)
                for record in records(of: datagram) {
                    let before = sent[index].updateValue(record, forKey: try header(of: record).number)
                    #expect(before == nil)
                }
            }
            datagrams.removeAll { _ in random.next() % 100 < path.loss }
            for datagram in datagrams where random.next() % 100 < path.loss / 2 { datagrams.append(datagram) }
            if path.loss > 0 { datagrams.shuffle(using: &random) }
            datagrams.forEach(to.receive)
        }
        return isQuiet
    }

    private struct Generator: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return (state ^ state >> 33) &* 0xff51_afd7_ed55_8ccd >> 16
        }
    }
}
