import DTLS
import Testing
import Wire

@testable import OpenSSL

@Suite struct HandshakeTests {
    private let pki: TestPKI

    init() throws { pki = try TestPKI.shared.get() }

    private func expectData(_ pair: TestPair, sourceLocation: SourceLocation = #_sourceLocation) {
        pair.server.receive(pair.client.seal([1, 2, 3]))
        pair.client.receive(pair.server.seal([4, 5]))
        #expect(pair.server.received == [[1, 2, 3]], sourceLocation: sourceLocation)
        #expect(pair.client.received == [[4, 5]], sourceLocation: sourceLocation)
    }

    @Test func `two ends with certificates agree on keys and know each other`() throws {
        var pair = try TestPair(pki.clientOptions, pki.serverOptions)
        pair.run()
        let client = try #require(pair.client.result, "\(String(describing: pair.client.failure))")
        let server = try #require(pair.server.result, "\(String(describing: pair.server.failure))")
        #expect(client.cipherSuite == "ECDHE-ECDSA-AES128-GCM-SHA256" && server.cipherSuite == client.cipherSuite)
        #expect(!client.isResumed && !server.isResumed)
        #expect(client.peer.dnsNames == ["server.example.net"] && client.peer.commonName == "server.example.net")
        #expect(client.peer.addresses.count == 2)
        #expect(server.peer.commonName == "edge-7.example.net" && server.peer.publicKeyHash?.count == 32)
        expectData(pair)
    }

    @Test func `associations with one peer share what is known of it`() throws {
        let contexts = try (
            HandshakeContext(.client, pki.clientOptions), HandshakeContext(.server, pki.serverOptions)
        )
        func place(_ bytes: [UInt8]) -> UInt { bytes.withUnsafeBufferPointer { UInt(bitPattern: $0.baseAddress) } }
        let results = try (0..<2).map { _ in
            var pair = try TestPair(contexts.0, contexts.1)
            pair.run()
            return try (#require(pair.client.result?.peer), #require(pair.server.result?.peer))
        }
        for (first, second) in [(results[0].0, results[1].0), (results[0].1, results[1].1)] {
            #expect(first == second)
            let hashes = try (#require(first.publicKeyHash), #require(second.publicKeyHash))
            #expect(place(hashes.0) == place(hashes.1))
        }
        #expect(results[0].0 != results[0].1)
    }

    @Test func `the numbers handed over are those after the ones on the wire`() throws {
        var pair = try TestPair(pki.clientOptions, pki.serverOptions)
        pair.run()
        let client = try #require(pair.client.result)
        let server = try #require(pair.server.result)
        for (result, sent, heard) in [
            (client, pair.fromClient, pair.fromServer), (server, pair.fromServer, pair.fromClient),
        ] {
            let own = try sent.flatMap(records(of:)).map { try header(of: $0).number }.filter { $0.epoch == 1 }
            let others = try heard.flatMap(records(of:)).map { try header(of: $0).number }.filter { $0.epoch == 1 }
            #expect(result.nextSequence == own.map(\.sequence).max().map { $0 + 1 })
            #expect(result.receivedSequences == others.map(\.sequence))
        }
    }

    @Test func `only the server of a full handshake keeps the final flight, and it opens as the peer saw it`() throws {
        var pair = try TestPair(pki.clientOptions, pki.serverOptions)
        pair.run()
        #expect(try #require(pair.client.result).finalFlight == nil)
        let flight = try #require(pair.server.result?.finalFlight)
        #expect(flight.sessionTicket == nil)
        let finished = try #require(
            try pair.fromServer.flatMap(records(of:)).last { try header(of: $0).number.epoch == 1 })
        #expect(pair.client.open(finished) == flight.finished)
        let numbers = try pair.fromServer.flatMap(records(of:)).map { try header(of: $0).number }
        #expect(flight.nextSequence == numbers.filter { $0.epoch == 0 }.map(\.sequence).max().map { $0 + 1 })
    }

    @Test(arguments: [
        "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-ECDSA-AES128-CCM", "ECDHE-ECDSA-AES256-CCM", "ECDHE-ECDSA-AES128-CCM8", "ECDHE-ECDSA-AES256-CCM8",
        "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305",
    ])
    func `every suite carries data`(suite: String) throws {
        var serverOptions = pki.serverOptions
        if suite.contains("RSA-") && !suite.contains("ECDSA") { serverOptions.credential = pki.rsa }
        var clientOptions = pki.clientOptions
        clientOptions.ciphers = suite
        serverOptions.ciphers = suite
        var pair = try TestPair(clientOptions, serverOptions)
        pair.run()
        #expect(pair.client.result?.cipherSuite == suite)
        expectData(pair)
    }

    @Test(arguments: [
        "ECDHE-PSK-CHACHA20-POLY1305", "PSK-AES128-GCM-SHA256", "PSK-AES256-GCM-SHA384", "PSK-CHACHA20-POLY1305",
        "PSK-AES128-CCM", "PSK-AES128-CCM8",
    ])
    func `every suite with a pre-shared key carries data`(suite: String) throws {
        var clientOptions = HandshakeContext.Options()
        clientOptions.preSharedKey = preSharedKey("branch-7")
        clientOptions.ciphers = suite
        var serverOptions = HandshakeContext.Options()
        serverOptions.preSharedKeys = try preSharedKeys("branch-7")
        serverOptions.ciphers = suite
        var pair = try TestPair(clientOptions, serverOptions)
        pair.run()
        #expect(pair.client.result?.cipherSuite == suite)
        #expect(pair.server.result?.peer == PeerIdentity(pskIdentity: "branch-7"))
        expectData(pair)
    }

    @Test func `an identity of 128 bytes is carried`() throws {
        let name = String(repeating: "ü", count: 64)
        var clientOptions = HandshakeContext.Options()
        clientOptions.preSharedKey = preSharedKey(name)
        var serverOptions = pki.serverOptions
        serverOptions.preSharedKeys = try preSharedKeys(name)
        var pair = try TestPair(clientOptions, serverOptions)
        pair.run()
        #expect(pair.client.result?.cipherSuite == "ECDHE-PSK-CHACHA20-POLY1305")
        #expect(pair.server.result?.peer.pskIdentity == name)
    }

    @Test func `a client with a pre-shared key offers no certificate suites`() throws {
        var options = pki.clientOptions
        options.preSharedKey = preSharedKey("branch-7")
        #expect(try HandshakeContext(.client, options).cipherSuites == ["ECDHE-PSK-CHACHA20-POLY1305"])
    }

    @Test(arguments: ["DES", "AES128-SHA", "nonsense", "TLS_AES_128_GCM_SHA256"])
    func `a cipher list without an AEAD suite is refused`(list: String) throws {
        var options = pki.clientOptions
        options.ciphers = list
        #expect(throws: OpenSSLError.self) { try HandshakeContext(.client, options) }
    }

    @Test func `suites without an AEAD are left out of a list`() throws {
        var options = pki.clientOptions
        options.ciphers = "ALL"
        let suites = try HandshakeContext(.client, options).cipherSuites
        #expect(suites.contains("ECDHE-RSA-AES128-GCM-SHA256"))
        #expect(!suites.contains { $0.hasSuffix("-SHA") || $0.hasPrefix("TLS_") })
    }

    @Test(arguments: [208, 256, 300, 512, 576, 1200, 1452, 4000])
    func `no datagram is larger than it may be`(size: Int) throws {
        var pair = try TestPair(pki.clientOptions, pki.serverOptions, datagramSize: size)
        pair.run()
        expectData(pair)
        #expect((pair.fromClient + pair.fromServer).allSatisfy { $0.count <= size })
        let finalFlight = try #require(pair.server.result?.finalFlight)
        let finished = try #require(
            try pair.fromServer.flatMap(records(of:)).last { try header(of: $0).number.epoch == 1 })
        #expect(pair.client.open(finished) == finalFlight.finished)
    }

    @Test(arguments: [(-5, 208), (0, 208), (100_000, 4000)])
    func `a datagram size out of reach is brought into it`(asked: Int, given: Int) throws {
        let engine = try OpenSSLHandshake(
            client: HandshakeContext(.client, pki.clientOptions), verifying: .host("a"), datagramSize: asked)
        #expect(engine.datagramSize == given)
    }

    @Test func `flights are packed into few datagrams`() throws {
        var pair = try TestPair(pki.clientOptions, pki.serverOptions)
        pair.run()
        #expect(pair.fromClient.count == 2)
        #expect(pair.fromServer.count == 2)
    }

    @Test func `a verified cookie starts in the middle, and numbers go on from the hello's`() throws {
        let client = TestEnd(
            try OpenSSLHandshake(
                client: HandshakeContext(.client, pki.clientOptions), verifying: PeerName("server.example.net"),
                datagramSize: 1452))
        let server = TestEnd(
            try OpenSSLHandshake(
                server: HandshakeContext(.server, pki.serverOptions), cookieVerified: true, datagramSize: 300))
        client.start()
        let hello = try #require(client.transmits().first)
        let first = try ClientHello(hello.bytes)
        #expect(first.messageSequence == 0)
        client.receive(try helloVerifyRequest(answering: hello))
        let second = try #require(client.transmits().first)
        let number = try header(of: second).number
        #expect(number.sequence > 0)
        server.receive(second)
        var fromServer: [[UInt8]] = []
        while client.result == nil || server.result == nil {
            let flight = server.transmits()
            fromServer += flight
            for datagram in flight { client.receive(datagram) }
            for datagram in client.transmits() { server.receive(datagram) }
            try #require(!flight.isEmpty)
        }
        #expect(try header(of: fromServer[0]).number == number)
        #expect(fromServer.allSatisfy { $0.count <= 300 })
        client.receive(server.seal([9]))
        #expect(client.received == [[9]])
    }

    @Test func `a fragmented hello with a cookie is accepted`() throws {
        let client = TestEnd(
            try OpenSSLHandshake(
                client: HandshakeContext(.client, pki.clientOptions), verifying: PeerName("server.example.net"),
                datagramSize: 208))
        let server = TestEnd(
            try OpenSSLHandshake(
                server: HandshakeContext(.server, pki.serverOptions), cookieVerified: true, datagramSize: 1452))
        client.start()
        let first = client.transmits()
        client.receive(try helloVerifyRequest(answering: first[0]))
        let second = client.transmits()
        #expect(second.count > 1)
        for datagram in second { server.receive(datagram) }
        for _ in 0..<4 {
            for datagram in server.transmits() { client.receive(datagram) }
            for datagram in client.transmits() { server.receive(datagram) }
        }
        #expect(client.result != nil && server.result != nil)
    }

    @Test(arguments: [true, false])
    func `garbage as the first record of a server fails or is ignored, and never more`(cookieVerified: Bool) throws {
        let context = try HandshakeContext(.server, pki.serverOptions)
        var client = try TestPair(pki.clientOptions, pki.serverOptions)
        client.run()
        let genuine = client.fromClient[0]
        for cut in 0..<genuine.count {
            let server = TestEnd(
                try OpenSSLHandshake(server: context, cookieVerified: cookieVerified, datagramSize: 1452))
            var damaged = genuine
            damaged[cut] ^= 0xff
            server.receive(damaged)
            #expect(server.result == nil)
        }
        let server = TestEnd(try OpenSSLHandshake(server: context, cookieVerified: false, datagramSize: 1452))
        for record in [[], [22], [UInt8](repeating: 0, count: 13), [UInt8](repeating: 255, count: 200)] {
            guard case .waiting = server.engine.receive(record.bytes) else {
                Issue.record("garbage was taken for a record")
                return
            }
        }
        server.receive(genuine)
        #expect(!server.transmits().isEmpty)
    }

    @Test func `a resumed handshake ends with the client, which keeps the flight`() throws {
        var clientOptions = pki.clientOptions
        clientOptions.usesSessionTickets = true
        var serverOptions = pki.serverOptions
        serverOptions.usesSessionTickets = true
        let clientContext = try HandshakeContext(.client, clientOptions)
        let serverContext = try HandshakeContext(.server, serverOptions)
        var first = try TestPair(clientContext, serverContext, datagramSize: 300)
        first.run()
        let ticket = try #require(first.server.result?.finalFlight?.sessionTicket)
        let message = HandshakeHeader(ticket.bytes)
        let ticketHeader = try #require(message)
        #expect(ticketHeader.type == .newSessionTicket && ticketHeader.length == ticket.count - HandshakeHeader.size)
        let session = try #require(first.client.engine.session)

        for _ in 0..<2 {
            var second = try TestPair(clientContext, serverContext, session: session)
            second.run()
            let client = try #require(second.client.result)
            let server = try #require(second.server.result)
            #expect(client.isResumed && server.isResumed)
            #expect(server.finalFlight == nil)
            let flight = try #require(client.finalFlight)
            let finished = try #require(
                try second.fromClient.flatMap(records(of:)).last { try header(of: $0).number.epoch == 1 })
            #expect(second.server.open(finished) == flight.finished)
            #expect(server.peer.commonName == "edge-7.example.net")
            expectData(second)
        }
    }

    @Test func `without session tickets there is nothing to resume`() throws {
        var pair = try TestPair(pki.clientOptions, pki.serverOptions)
        pair.run()
        #expect(pair.client.engine.session == nil && pair.server.result?.finalFlight?.sessionTicket == nil)
    }

    @Test func `records of epoch 1 that come first are read when their time comes`() throws {
        var pair = try TestPair(pki.clientOptions, pki.serverOptions)
        pair.client.start()
        pair.client.transmits().forEach(pair.server.receive)
        pair.server.transmits().forEach(pair.client.receive)
        let flight = try pair.client.transmits().flatMap(records(of:)).map { (try header(of: $0), $0) }
        flight.filter { $0.0.number.epoch == 1 }.forEach { pair.server.receive($0.1) }
        #expect(pair.server.result == nil)
        flight.filter { $0.0.number.epoch == 0 }.forEach { pair.server.receive($0.1) }
        #expect(pair.server.result?.receivedSequences == [0])
        pair.exchange()
        expectData(pair)
    }

    @Test(arguments: ["AES128-GCM-SHA256", "CHACHA20-POLY1305", "AES128-CCM"])
    func `forged records of epoch 1 neither stop a handshake nor move the replay window`(suite: String) throws {
        var clientOptions = pki.clientOptions
        clientOptions.ciphers = "ECDHE-ECDSA-\(suite)"
        var pair = try TestPair(
            clientOptions,
            {
                var options = pki.serverOptions
                options.ciphers = "ALL"
                return options
            }())
        pair.client.start()
        pair.client.transmits().forEach(pair.server.receive)
        pair.server.transmits().forEach(pair.client.receive)
        func forged(_ sequence: UInt64, _ type: ContentType, _ length: Int = 48) -> [UInt8] {
            var record = [UInt8](repeating: 0xaa, count: RecordHeader.size + length)
            let number = RecordNumber(epoch: 1, sequence: sequence)
            record.withMutableBytes { _ = RecordHeader(type: type, number: number, length: length).write(into: &$0) }
            return record
        }
        for index in 0..<100 {
            pair.server.receive(forged(UInt64(index), .handshake))
            pair.client.receive(forged(RecordNumber.maximumSequence, .alert))
        }
        for datagram in pair.client.transmits() {
            for record in records(of: datagram) {
                pair.server.receive(record)
                for length in [0, 1, 2, 7, 8, 9, 15, 16, 17, 23, 24, 25, 40, 48, 1000, 16_704, 18_432] {
                    pair.server.receive(forged(RecordNumber.maximumSequence, .handshake, length))
                    pair.server.receive(forged(5, .alert, length))
                    pair.client.receive(forged(5, .alert, length))
                }
            }
        }
        #expect(pair.server.failure == nil)
        #expect(pair.server.result?.receivedSequences == [0])
        pair.exchange()
        #expect(pair.client.result?.receivedSequences == [0])
        expectData(pair)
    }

    @Test func `damaged datagrams end in keys or in a failure, and in nothing else`() throws {
        let clientContext = try HandshakeContext(.client, pki.clientOptions)
        let serverContext = try HandshakeContext(.server, pki.serverOptions)
        var undamaged = try TestPair(clientContext, serverContext, datagramSize: 600)
        undamaged.run()
        let count = undamaged.fromClient.count + undamaged.fromServer.count
        var random = SystemRandomNumberGenerator()
        for which in 0..<count {
            for _ in 0..<60 {
                let pair = try TestPair(clientContext, serverContext, datagramSize: 600)
                pair.client.start()
                var number = 0
                while true {
                    let crossing =
                        pair.client.transmits().map { ($0, pair.server) }
                        + pair.server.transmits().map { ($0, pair.client) }
                    if crossing.isEmpty { break }
                    for (datagram, target) in crossing {
                        var datagram = datagram
                        if number == which {
                            for _ in 0..<Int.random(in: 1...3, using: &random) {
                                datagram[Int.random(in: datagram.indices, using: &random)] = .random(
                                    in: 0...255, using: &random)
                            }
                        }
                        number += 1
                        target.receive(datagram)
                    }
                }
                if pair.client.result != nil, pair.server.result != nil { expectData(pair) }
            }
        }
    }

    @Test func `one context serves many threads`() async throws {
        let clientContext = try HandshakeContext(.client, pki.clientOptions)
        let serverContext = try HandshakeContext(.server, pki.serverOptions)
        try await withThrowingTaskGroup(of: Bool.self) { group in
            for _ in 0..<40 {
                group.addTask {
                    var pair = try TestPair(clientContext, serverContext)
                    pair.run()
                    return pair.client.result != nil && pair.server.result != nil
                }
            }
            for try await isDone in group { #expect(isDone) }
        }
    }

    @Test func `the key log has the master secret's line, only if asked for`() throws {
        let lines = Lines()
        var options = pki.clientOptions
        options.keyLog = { lines.append($0) }
        var pair = try TestPair(options, pki.serverOptions)
        pair.run()
        #expect(lines.all.count == 1)
        #expect(lines.all.allSatisfy { $0.hasPrefix("CLIENT_RANDOM ") && $0.split(separator: " ").count == 3 })
    }

    private final class Lines: @unchecked Sendable {
        private(set) var all: [String] = []
        func append(_ line: String) { all.append(line) }
    }
}

/// The answer to a first ClientHello, with a cookie of 32 bytes.
func helloVerifyRequest(answering hello: [UInt8]) throws -> [UInt8] {
    let cookie = [UInt8](repeating: 0xc0, count: 32)
    let number = try ClientHello(hello.bytes).recordNumber
    var reply = [UInt8](repeating: 0, count: HelloVerifyRequest.size(cookieLength: 32))
    let length = reply.withMutableBytes { HelloVerifyRequest.write(cookie: cookie.bytes, answering: number, into: &$0) }
    #expect(length == reply.count)
    return reply
}
