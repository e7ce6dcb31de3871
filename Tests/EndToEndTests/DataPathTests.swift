// Datagrams of plain applications through two daemons: every address family and size, and who hears whom.

import Testing
import TestSupport
import Wire

@Suite struct DataPathTests {
    struct Route: CustomTestStringConvertible {
        var entrance = IPAddress.loopbackIPv4
        var exit = IPAddress.loopbackIPv4
        var reached: String?
        var target = IPAddress.loopbackIPv4
        let testDescription: String
    }

    @Test(arguments: [
        Route(testDescription: "IPv4 all the way"),
        Route(
            entrance: .loopbackIPv6, exit: .loopbackIPv6, target: .loopbackIPv6, testDescription: "IPv6 all the way"),
        Route(exit: .anyIPv6, reached: "127.0.0.1", testDescription: "an IPv4 client of a dual-stack server"),
        Route(exit: .anyIPv6, reached: "[::1]", testDescription: "an IPv6 client of a dual-stack server"),
        Route(exit: .anyIPv6, reached: "localhost", testDescription: "a host name"),
        Route(exit: .loopbackIPv6, target: .loopbackIPv4, testDescription: "IPv4 through IPv6"),
    ])
    func `datagrams pass both ways`(_ route: Route) async throws {
        let pair = try await Pair(
            entrance: route.entrance, exit: route.exit, reached: route.reached, target: route.target)
        let sender = try pair.sender()
        let first = try await pair.converse(sender, Array("ping".utf8), answer: Array("pong".utf8))
        let second = try await pair.converse(sender, Array("more".utf8))
        #expect(first == second)
        #expect(first.address == route.target)

        let client = try #require(pair.client.associations().first)
        #expect(client.state == "established" && client.role == "client" && client.tunnel == "echo")
        #expect(client.sender == "\(sender.endpoint)")
        #expect(client.peerIdentity?.contains("localhost") == true)
        #expect(client.datagrams.out == 2 && client.datagrams.in == 2)
        #expect(client.bytes.out == 8 && client.bytes.in == 8)
        let server = try #require(pair.server.associations().first)
        #expect(server.state == "established" && server.role == "server")
        #expect(server.peerIdentity?.contains("edge-7") == true)
        #expect(server.datagrams.out == 2 && server.datagrams.in == 2)
        #expect(server.cipher == client.cipher)
    }

    @Test func `datagrams of every size that a record carries arrive whole`() async throws {
        let pair = try await Pair()
        let sender = try pair.sender()
        for size in [0, 1, 1472, 1473, 9000, 16_384] { try await pair.converse(sender, pattern(size)) }
        // A first datagram without bytes begins a flow like any other.
        let other = try pair.sender()
        try await pair.converse(other, [], answer: [])
    }

    @Test func `what no record carries is dropped, counted and said once by both ends`() async throws {
        let pair = try await Pair()
        let sender = try pair.sender()
        let seen = try await pair.converse(sender, [1])
        for size in [16_385, 20_000, 65_507] {
            #expect(sender.send(pattern(size)) == 0)
            #expect(pair.target.send(pattern(size), to: seen) == 0)
        }
        try await pair.converse(sender, [2])
        for daemon in [pair.client, pair.server] {
            try await daemon.has("three drops") { $0.first?.dropped["oversize"] == 3 }
            let lines = daemon.lines(with: "dropped a datagram of 16385 bytes")
            #expect(lines.count == 1, "\(daemon.log)")
            #expect(daemon.lines(with: "dropped a datagram").count == 1, "\(daemon.log)")
        }
    }

    @Test func `an answer comes from the address that was asked`() async throws {
        let other = try #require(IPAddress("127.0.0.2"))
        let pair = try await Pair(
            entrance: .anyIPv4, exit: .anyIPv4, reached: "127.0.0.2", clientTunnel: "server_name = \"localhost\"")
        // Connected sockets hear nobody else; the client daemon's towards the server is one too.
        try await pair.converse(try pair.sender(to: other), [1])
        try await pair.converse(try pair.sender(to: .loopbackIPv4), [2])
        #expect(try pair.client.associations().allSatisfy { $0.peerAddress == "127.0.0.2:\(pair.exit.port)" })
    }

    @Test func `each sender has its own association and its own port at the target`() async throws {
        let pair = try await Pair(clientDaemon: "workers = 3", serverDaemon: "workers = 3")
        let senders = try (0..<20).map { _ in try pair.sender() }
        var seen: Set<Endpoint> = []
        for (number, sender) in senders.enumerated() {
            seen.insert(try await pair.converse(sender, [UInt8(number)], answer: [UInt8(number), 0]))
        }
        #expect(seen.count == senders.count)
        for sender in senders { #expect(seen.contains(try await pair.converse(sender, [7]))) }
        let associations = try pair.client.associations()
        #expect(Set(associations.compactMap(\.sender)) == Set(senders.map { "\($0.endpoint)" }))
        #expect(Set(associations.map(\.id)).count == senders.count)
        #expect(associations.allSatisfy { $0.state == "established" && $0.datagrams.out == 2 })
        #expect(try pair.server.associations().count == senders.count)
    }

    @Test func `a burst at the start waits for the handshake and arrives in order`() async throws {
        let pair = try await Pair()
        let sender = try pair.sender()
        for number in 0..<60 { sender.send([UInt8(number)]) }
        for number in 0..<60 { #expect(try await pair.target.receive()?.bytes == [UInt8(number)]) }
    }

    @Test func `two tunnels of one daemon do not mix`() async throws {
        let bench = try await Bench()
        let targets = try (0..<2).map { _ in try Peer() }
        let entrances = try (0..<2).map { _ in Endpoint(address: .loopbackIPv4, port: try FreePorts.next()) }
        let exits = try (0..<2).map { _ in Endpoint(address: .loopbackIPv4, port: try FreePorts.next()) }
        for (name, from, to) in [
            ("server", exits.map { "dtls://\($0)" }, targets.map { "udp://\($0.endpoint)" }),
            ("client", entrances.map { "udp://\($0)" }, exits.map { "dtls://\($0)" }),
        ] {
            let tunnels = (0..<2).map {
                "[[tunnel]]\nname = \"tunnel-\($0)\"\nlisten = \"\(from[$0])\"\nforward = \"\(to[$0])\"\n"
            }
            try bench.configure(name, tunnels: tunnels.joined())
        }
        let server = try await bench.start("server")
        let client = try await bench.start("client")
        // One sender, both tunnels: two flows.
        let sender = try Peer()
        for round in 0..<50 {
            for index in 0..<2 { sender.send([UInt8(index), UInt8(round)], to: entrances[index]) }
        }
        for (index, target) in targets.enumerated() {
            for round in 0..<50 { #expect(try await target.receive()?.bytes == [UInt8(index), UInt8(round)]) }
        }
        #expect(Set(try client.associations().map(\.tunnel)) == ["tunnel-0", "tunnel-1"])
        #expect(Set(try server.associations().map(\.tunnel)) == ["tunnel-0", "tunnel-1"])
    }
}
