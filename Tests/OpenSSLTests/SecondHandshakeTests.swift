import DTLS
import Testing
import Wire

@testable import OpenSSL

/// One end of an address pair that two associations share for a while: one that carries data and one that is to follow it.
private final class SharedAddress {
    let first: Association<OpenSSLHandshake>
    private(set) var second: Association<OpenSSLHandshake>?
    /// What each has delivered.
    private(set) var received: (first: [[UInt8]], second: [[UInt8]]) = ([], [])
    private(set) var ends: (first: AssociationEnd?, second: AssociationEnd?)
    private let make: () throws -> Association<OpenSSLHandshake>

    init(_ make: @escaping () throws -> Association<OpenSSLHandshake>) throws {
        self.make = make
        first = try make()
    }

    func beginSecond() throws { second = try make() }

    func receive(_ datagram: [UInt8]) throws {
        guard let second else { return give(datagram, to: first) { received.first.append($0) } }
        if !RecordHeader.isMeantForHandshake(datagram.bytes, at: 0) {
            // On a copy, because a failed opening destroys it.
            let before = first.counters.drops.total
            give(datagram, to: first) { received.first.append($0) }
            if first.counters.drops.total == before { return }
        }
        give(datagram, to: second) { received.second.append($0) }
    }

    private func give(
        _ datagram: [UInt8], to association: Association<OpenSSLHandshake>, deliver: ([UInt8]) -> Void
    ) {
        var copy = datagram
        copy.withMutableBytes { bytes in
            association.receive(&bytes, now: Instant(nanoseconds: 0)) { deliver($0.copied()) }
        }
        settle()
    }

    /// Lets data flow as soon as there are keys, and notes ends.
    func settle() {
        while let event = first.pollEvent() {
            if case .established = event {
                first.accept(now: Instant(nanoseconds: 0)) { received.first.append($0.copied()) }
            }
            if case .ended(let end) = event { ends.first = end }
        }
        while let event = second?.pollEvent() {
            if case .established = event {
                second?.accept(now: Instant(nanoseconds: 0)) { received.second.append($0.copied()) }
            }
            if case .ended(let end) = event { ends.second = end }
        }
    }

    func transmits() -> [[UInt8]] {
        var result: [[UInt8]] = []
        while let transmit = first.pollTransmit() ?? second?.pollTransmit() { result.append(transmit.datagram) }
        return result
    }
}

private func seal(_ content: [UInt8], with association: Association<OpenSSLHandshake>?) throws -> [UInt8] {
    let association = try #require(association)
    var buffer = [UInt8](repeating: 0, count: content.count + association.overhead)
    let length = buffer.withMutableBytes { association.seal(content.bytes, into: &$0) }
    return Array(buffer[..<(try #require(length))])
}

@Suite struct SecondHandshakeTests {
    private let pki: TestPKI

    init() throws { pki = try TestPKI.shared.get() }

    @Test(arguments: ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"])
    func
        `a second handshake of the same addresses is told apart by epoch and type, while the first association goes on`(
            suite: String
        ) throws
    {
        var clientOptions = pki.clientOptions
        clientOptions.ciphers = suite
        let clientContext = try HandshakeContext(.client, clientOptions)
        let serverContext = try HandshakeContext(.server, pki.serverOptions)
        let now = Instant(nanoseconds: 0)
        let client = try SharedAddress {
            Association(
                engine: try OpenSSLHandshake(
                    client: clientContext, verifying: PeerName("server.example.net"), datagramSize: 300), now: now)
        }
        let server = try SharedAddress {
            Association(
                engine: try OpenSSLHandshake(server: serverContext, cookieVerified: false, datagramSize: 300), now: now)
        }
        func exchange(_ each: () throws -> Void = {}) throws {
            while true {
                let (toServer, toClient) = (client.transmits(), server.transmits())
                if toServer.isEmpty, toClient.isEmpty { return }
                for datagram in toServer {
                    try each()
                    try server.receive(datagram)
                }
                for datagram in toClient {
                    try each()
                    try client.receive(datagram)
                }
            }
        }
        client.first.start(now: now)
        try exchange()
        try #require(client.first.isEstablished && server.first.isEstablished)

        // Data of the first association between all datagrams of the second handshake.
        try client.beginSecond()
        try server.beginSecond()
        client.second?.start(now: now)
        var sent = 0
        try exchange {
            sent += 1
            try server.receive(seal([1, UInt8(sent)], with: client.first))
            try client.receive(seal([2, UInt8(sent)], with: server.first))
        }
        try #require(client.second?.isEstablished == true && server.second?.isEstablished == true)
        #expect(sent >= 8)
        #expect(server.received.first == (1...sent).map { [1, UInt8($0)] })
        #expect(client.received.first == (1...sent).map { [2, UInt8($0)] })
        for end in [client, server] {
            #expect(end.received.second.isEmpty)
            #expect(end.first.counters.drops.total == 0 && end.second?.counters.drops.total == 0)
        }

        // Both carry data; each record finds its own. The first loses a trial to each of the second's.
        for number in 1...5 as ClosedRange<UInt8> {
            let records = try [seal([3, number], with: client.second), seal([4, number], with: client.first)]
            for record in number.isMultiple(of: 2) ? records : records.reversed() { try server.receive(record) }
            try client.receive(seal([5, number], with: server.second))
        }
        #expect(server.received.second == (1...5).map { [3, $0] })
        #expect(server.received.first.suffix(5) == (1...5).map { [4, $0] })
        #expect(client.received.second == (1...5).map { [5, $0] })
        for end in [client, server] {
            let drops = end.first.counters.drops
            #expect(drops[.notAuthentic] + drops[.replayed] == 5 && drops.total == 5)
            #expect(end.second?.counters.drops.total == 0)
        }

        // The first one's farewell is its own too.
        client.first.close()
        client.settle()
        try exchange()
        #expect(client.ends.first == .closed && server.ends.first == .closedByPeer)
        #expect(client.ends.second == nil && server.ends.second == nil)
        try server.receive(seal([6], with: client.second))
        try client.receive(seal([7], with: server.second))
        #expect(server.received.second.last == [6] && client.received.second.last == [7])
    }
}
