// What strangers and attackers can send: it moves counters and nothing else, and costs no memory.

import Foundation
import Testing
import TestSupport
import Wire

@Suite struct GarbageTests {
    @Test func `garbage at a server's port disturbs nobody`() async throws {
        let pair = try await Pair()
        let sender = try pair.sender()
        try await pair.converse(sender, [1])
        let stranger = try Peer(connectedTo: pair.exit)
        var random = Xorshift(seed: 20_261)
        let before = try pair.server.memory()
        for round in 0..<20_000 {
            stranger.send(garbage(round, &random))
            if round % 500 == 0 {
                try await pair.converse(sender, pattern(100))
                stranger.drain()
            }
        }
        let grown = try pair.server.memory() - before
        if !BuildKind.isSanitized { #expect(grown < 1 << 20, "\(grown) bytes more") }
        #expect(pair.server.process.isRunning)
        try await pair.server.has("the one association") {
            // A hello may have passed for a first one, but none begins anything without its cookie.
            $0.count == 1 && $0.first?.state == "established"
        }
        #expect(pair.server.log.split(separator: "\n").count < 30, "\(pair.server.log)")
    }

    @Test func `forged, reflected and replayed datagrams at a live association only count`() async throws {
        // Every datagram between the two daemons passes through here.
        let wire = try await Wiretap()
        let sender = try wire.pair.sender()
        for number in 0..<20 { try await wire.converse(sender, [UInt8(number)]) }
        let client = try #require(wire.clientAddress)
        let recorded = wire.recorded

        // To the server as the client, and to the client as the server: everything again, what the other one had sent,
        // everything damaged, and everything under a number that is still to come.
        var random = Xorshift(seed: 7)
        for datagram in recorded {
            var damaged = datagram.bytes
            if let last = damaged.indices.last { damaged[Int.random(in: 13...last, using: &random)] ^= 0x40 }
            // As if it were the next one, which passes the replay window and has to fail at its seal.
            var ahead = datagram.bytes
            ahead[9] &+= 1
            for bytes in [datagram.bytes, damaged, ahead, datagram.bytes.dropLast(3) + [], garbage(3, &random)] {
                wire.toServer.send(bytes)
                wire.outside.send(bytes, to: client)
            }
            if datagram.bytes.first != 22 {
                // A handshake's end repeated is answered; all that is answered is taken here.
                wire.discard()
            }
        }
        try await Task.sleep(for: .milliseconds(100))
        wire.discard()
        wire.pair.target.drain()
        #expect(sender.take() == nil)
        for number in 0..<20 { try await wire.converse(sender, [UInt8(number)]) }
        for daemon in [wire.pair.client, wire.pair.server] {
            try await daemon.has("the one association, unharmed, and counters") { list in
                list.count == 1 && list[0].state == "established" && list[0].replayed >= 20
                    && list[0].authFailures >= 20 && list[0].datagrams.in == 40
            }
        }
    }

    @Test func `alerts in the clear end neither a handshake nor an association`() async throws {
        let wire = try await Wiretap()
        let sender = try wire.pair.sender()
        // Fatal handshake_failure and close_notify, epoch 0, as anybody can send them.
        let alerts: [[UInt8]] = [
            [21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 5, 0, 2, 2, 40], [21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 6, 0, 2, 1, 0],
            [21, 254, 255, 0, 0, 0, 0, 0, 0, 0, 7, 0, 2, 2, 40],
        ]
        wire.afterEachDatagram = { wire in
            guard let client = wire.clientAddress else { return }
            for alert in alerts {
                wire.toServer.send(alert)
                wire.outside.send(alert, to: client)
            }
        }
        for number in 0..<10 { try await wire.converse(sender, [UInt8(number)]) }
        #expect(try wire.pair.client.associations().map(\.state) == ["established"])
        #expect(try wire.pair.server.associations().map(\.state) == ["established"])
        #expect(wire.pair.client.lines(with: "failed").isEmpty && wire.pair.client.lines(with: "ended").isEmpty)
    }

    @Test func `hellos of every broken kind begin nothing`() async throws {
        let pair = try await Pair()
        let stranger = try Peer(connectedTo: pair.exit)
        let hello = clientHello()
        // The whole one is answered, by a HelloVerifyRequest that is no longer than what asked for it.
        stranger.send(hello)
        let answer = try #require(try await stranger.receive())
        #expect(answer.bytes.first == 22 && answer.bytes[13] == 3)
        #expect(answer.bytes.count < hello.count)
        for length in 0..<hello.count { stranger.send(Array(hello[..<length])) }
        for index in hello.indices {
            for value in [UInt8(0), 1, 0x7f, 0x80, 0xff] {
                var changed = hello
                changed[index] = value
                stranger.send(changed)
            }
        }
        // Fragments: one byte a piece, and a last one without a first.
        let body = Array(hello[25...])
        for offset in stride(from: 0, to: body.count, by: 1) {
            stranger.send(fragment(of: body, offset..<offset + 1))
        }
        stranger.send(fragment(of: body, body.count - 1..<body.count))
        // Announced and real lengths that nobody needs.
        for extensions in [1000, 16_000, 60_000] { stranger.send(clientHello(padding: extensions)) }
        // An invented cookie.
        for length in [1, 20, 32, 255] { stranger.send(clientHello(cookie: [UInt8](repeating: 7, count: length))) }
        stranger.drain()
        try await pair.converse(try pair.sender(), [1])
        #expect(try pair.server.associations().count == 1)
        #expect(pair.server.lines(with: "handshake").isEmpty, "\(pair.server.log)")
    }

    private func garbage(_ round: Int, _ random: inout Xorshift) -> [UInt8] {
        let length = Int(random.next() % (round % 50 == 0 ? 3000 : 120))
        var bytes = (0..<length).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        // Most of it looks like a record at first sight.
        if round % 4 != 0, length > 13 {
            bytes.replaceSubrange(
                0..<3, with: [UInt8([20, 21, 22, 23, 24, 25].randomElement(using: &random) ?? 22), 254, 253])
            if round % 3 == 0 { bytes.replaceSubrange(3..<5, with: [0, UInt8(random.next() & 1)]) }
            if round % 2 == 0 {
                bytes.replaceSubrange(11..<13, with: [UInt8((length - 13) >> 8), UInt8((length - 13) & 255)])
            }
            if round % 5 == 0 { bytes[13] = 1 }
        }
        return bytes
    }
}

/// A man in the middle who only records, unless told otherwise.
private final class Wiretap {
    let pair: Pair
    /// What the client daemon sends to.
    let outside: Peer
    /// The way on to the server.
    let toServer: Peer
    private(set) var recorded: [Peer.Received] = []
    private(set) var clientAddress: Endpoint?
    var afterEachDatagram: ((Wiretap) -> Void)?

    init() async throws {
        outside = try Peer(Endpoint(address: .loopbackIPv4, port: 0))
        pair = try await Pair(reached: "127.0.0.1", through: outside.endpoint.port)
        toServer = try Peer(connectedTo: pair.exit)
    }

    /// Carries what waits, both ways.
    private func carry() {
        while let datagram = outside.take() {
            clientAddress = datagram.source
            recorded.append(datagram)
            toServer.send(datagram.bytes)
            afterEachDatagram?(self)
        }
        while let datagram = toServer.take() {
            recorded.append(datagram)
            if let clientAddress { outside.send(datagram.bytes, to: clientAddress) }
            afterEachDatagram?(self)
        }
    }

    /// Throws away what waits.
    func discard() {
        outside.drain()
        toServer.drain()
    }

    /// Carries one datagram each way.
    func converse(_ sender: Peer, _ bytes: [UInt8], sourceLocation: SourceLocation = #_sourceLocation) async throws {
        sender.send(bytes)
        let asked = try await eventually("a datagram at the target: \(pair.logs)", every: .milliseconds(1)) {
            carry()
            return pair.target.take()
        }
        #expect(asked.bytes == bytes, sourceLocation: sourceLocation)
        pair.target.send(bytes + bytes, to: asked.source)
        let answered = try await eventually("an answer: \(pair.logs)", every: .milliseconds(1)) {
            carry()
            return sender.take()
        }
        #expect(answered.bytes == bytes + bytes, sourceLocation: sourceLocation)
    }
}

/// A small generator, so that failures come again.
struct Xorshift: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }
}

/// A first ClientHello as DTLS 1.2 clients send it, with an extension that nobody knows.
func clientHello(cookie: [UInt8] = [], padding: Int = 8, random: UInt64 = 1) -> [UInt8] {
    func number(_ value: Int, _ size: Int) -> [UInt8] {
        (0..<size).map { UInt8(truncatingIfNeeded: value >> (8 * (size - 1 - $0))) }
    }
    var extensions: [UInt8] = [
        0, 10, 0, 6, 0, 4, 0, 29, 0, 23, 0, 11, 0, 2, 1, 0, 0, 13, 0, 6, 0, 4, 4, 3, 8, 4, 0, 23, 0, 0,
    ]
    extensions += [0xfa, 0xfa] + number(padding, 2) + [UInt8](repeating: 0, count: padding)
    var body: [UInt8] = [254, 253]
    body += number(Int(truncatingIfNeeded: random), 8) + [UInt8](repeating: 0x5a, count: 24)
    body += [0] + number(cookie.count, 1) + cookie
    body += [0, 6, 0xc0, 0x2b, 0xc0, 0x2f, 0xcc, 0xa9, 1, 0] + number(extensions.count, 2) + extensions
    let message = [1] + number(body.count, 3) + [0, 0] + number(0, 3) + number(body.count, 3) + body
    return [22, 254, 255, 0, 0, 0, 0, 0, 0, 0, 0] + number(message.count, 2) + message
}

/// One fragment of a ClientHello.
private func fragment(of body: [UInt8], _ range: Range<Int>) -> [UInt8] {
    func number(_ value: Int, _ size: Int) -> [UInt8] {
        (0..<size).map { UInt8(truncatingIfNeeded: value >> (8 * (size - 1 - $0))) }
    }
    let message =
        [1] + number(body.count, 3) + [0, 0] + number(range.lowerBound, 3) + number(range.count, 3) + body[range]
    return [22, 254, 255, 0, 0, 0, 0, 0, 0, 0, 1] + number(message.count, 2) + message
}
