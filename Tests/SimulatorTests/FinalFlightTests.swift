// The last flight of a handshake gets lost: full and resumed, once and often (DESIGN section 4, hazard 1).

import DTLS
import Testing
import Tunnel
import Wire

@testable import OpenSSL

@Suite struct FinalFlightTests {
    /// Drops the first `count` datagrams with a Finished in this direction.
    private func lose(_ count: Int, _ direction: SimulatedNetwork.Direction, _ cast: Cast) {
        var left = count
        cast.network.filter = { packet, packetDirection in
            guard packetDirection == direction, left > 0, holdsFinished(packet.bytes) else { return true }
            left -= 1
            return false
        }
    }

    private func finishedCount(_ cast: Cast, _ direction: SimulatedNetwork.Direction) -> Int {
        cast.network.history.count { $0.direction == direction && holdsFinished($0.packet.bytes) }
    }

    /// The numbers of all protected records that were sent in this direction.
    private func numbers(_ cast: Cast, _ direction: SimulatedNetwork.Direction) -> [UInt64] {
        cast.network.history.filter { $0.direction == direction }.flatMap { headers(of: $0.packet.bytes) }
            .filter { $0.number.epoch == 1 }.map(\.number.sequence)
    }

    @Test(arguments: [1, 2, 6], ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"])
    func `a server's lost final flight is sent again under fresh numbers`(losses: Int, cipher: String) throws {
        let cast = try Cast(keys: .init(ciphers: cipher))
        lose(losses, .toClient, cast)
        cast.establish(within: .seconds(64))
        cast.exchange()
        // The client asked by repeating its Finished; nothing was begun anew.
        #expect(cast.client.engines.count == 1)
        #expect(cast.server.engines.count == 1)
        #expect(finishedCount(cast, .toClient) == losses + 1)
        #expect(finishedCount(cast, .toServer) == losses + 1)
        for direction in [SimulatedNetwork.Direction.toServer, .toClient] {
            let used = numbers(cast, direction)
            #expect(Set(used).count == used.count)
            #expect(used.sorted() == used)
        }
        cast.simulation.finish()
    }

    @Test func `a final flight is repeated six times and no more`() throws {
        let simulation = Simulation()
        let keys = try SimulatorKeys.shared.get()
        var wallClock = Duration.zero
        func later<Result>(_ body: () throws -> Result) rethrows -> Result {
            wallClock += .seconds(61)
            return try simulation.perform(wallClockError: wallClock, body)
        }
        let client = try OpenSSLHandshake(
            client: keys.clientContext(.init()), verifying: PeerName(SimulatorKeys.serverName), datagramSize: 1400)
        let engine = WatchedEngine(
            try OpenSSLHandshake(server: keys.serverContext(.init()), cookieVerified: false, datagramSize: 1400))
        let server = Association(engine: engine, now: simulation.now)
        func toServer() {
            while var datagram = client.pollTransmit() {
                datagram.withMutableBytes { server.receive(&$0, now: simulation.now) { _ in } }
            }
        }
        func answers() -> [[UInt8]] {
            var datagrams: [[UInt8]] = []
            while let transmit = server.pollTransmit() { datagrams.append(transmit.datagram) }
            return datagrams
        }
        simulation.perform(wallClockError: wallClock) {
            _ = client.start()
            toServer()
            for datagram in answers() { for record in records(of: datagram) { _ = client.receive(record.bytes) } }
            toServer()
        }
        #expect(server.isEstablished)
        #expect(answers().count(where: holdsFinished) == 1)
        // None of the answers reaches the client, which goes on asking.
        var repeats = 0
        for _ in 1...10 {
            later {
                _ = client.handleTimeout()
                toServer()
            }
            repeats += answers().count(where: holdsFinished)
        }
        #expect(repeats == 6)
        #expect(server.counters.drops[.handshakeOver] >= 10)
        #expect(engine.ledger.reused == [])
    }

    @Test func `two ends do not go on answering each other's Finished`() throws {
        // The server's first Finished comes long after the second one, and no data shows that all is well.
        let cast = try Cast()
        var late: Packet?
        cast.network.filter = { packet, direction in
            if headers(of: packet.bytes).contains(where: { $0.type == .applicationData }) { return false }
            guard direction == .toClient, late == nil, holdsFinished(packet.bytes) else { return true }
            late = packet
            return false
        }
        cast.application.send()
        cast.simulation.run(within: .seconds(5)) { cast.client.handshakes == 1 }
        cast.network.inject(try #require(late))
        cast.simulation.run(for: .seconds(10))
        #expect(cast.client.counters.drops[.handshakeOver] == 2)
        #expect(finishedCount(cast, .toServer) == 2 && finishedCount(cast, .toClient) == 2)
        let before = cast.network.history.count
        cast.simulation.run(for: .seconds(120))
        #expect(cast.network.history.count == before)
        cast.network.filter = { _, _ in true }
        cast.exchange()
        cast.simulation.finish()
    }

    @Test(arguments: [0, 1, 3, 6])
    func `the client of a resumed handshake repeats its lost final flight by itself`(losses: Int) throws {
        let cast = try Cast(keys: .init(usesSessionTickets: true))
        cast.establish()
        // A second program begins an association of its own, with the first one's session.
        let second = cast.simulation.addApplication(at: cast.client)
        lose(losses, .toServer, cast)
        let before = cast.network.history.count
        second.send(5, every: .milliseconds(1))
        let isAnswered = cast.simulation.run(within: .seconds(40)) { second.received.count == 5 }
        #expect(isAnswered)
        #expect(cast.client.tunnel.snapshots().page.compactMap(\.description?.isResumed).filter { $0 }.count == 1)
        // What came before the Finished was kept, and in order.
        #expect(cast.server.target.deliveries(second).areInOrder)
        #expect(second.received.areInOrder)
        #expect(cast.client.engines.count == 2)
        // Quiet at once when data has shown that the flight is there.
        cast.simulation.run(for: .seconds(2))
        let after = cast.network.history.count
        cast.simulation.run(for: .seconds(120))
        #expect(cast.network.history.count == after)
        let toServer = cast.network.history[before...].filter { $0.direction == .toServer }
        #expect(toServer.count { holdsFinished($0.packet.bytes) } == losses + 1)
        // The server answers none of them: that would be a ping-pong.
        cast.simulation.finish()
    }

    @Test func `a resumed handshake's final flight is repeated six times at most`() throws {
        let cast = try Cast(keys: .init(usesSessionTickets: true))
        cast.establish()
        let second = cast.simulation.addApplication(at: cast.client)
        let before = cast.network.history.count
        lose(.max, .toServer, cast)
        second.send()
        cast.simulation.run(for: .seconds(200))
        let toServer = cast.network.history[before...].filter { $0.direction == .toServer }
        #expect(toServer.count { holdsFinished($0.packet.bytes) } == 7)
        cast.network.filter = { _, _ in true }
        cast.simulation.finish()
    }

    @Test func `a server's data that overtakes its Finished is kept and delivered in order`() throws {
        let cast = try Cast()
        lose(1, .toClient, cast)
        cast.application.send()
        cast.simulation.run(within: .seconds(5)) {
            cast.server.tunnel.snapshots().page.contains { $0.state == .established }
        }
        let socket = try #require(cast.server.host.localEndpoints.first)
        for number in 100..<120 { cast.server.target.send(number: number, for: cast.application, to: socket) }
        let isAllThere = cast.simulation.run(within: .seconds(5)) { cast.application.received.count == 21 }
        #expect(isAllThere)
        #expect(Array(cast.application.received.order.prefix(20)) == Array(100..<120))
        #expect(cast.client.counters.drops.total == 0)
        cast.simulation.finish()
    }

    @Test func `data that comes before the handshake's end is kept within bounds and the rest is counted`() throws {
        let cast = try Cast()
        lose(1, .toClient, cast)
        cast.application.send()
        cast.simulation.run(within: .seconds(5)) {
            cast.server.tunnel.snapshots().page.contains { $0.state == .established }
        }
        let socket = try #require(cast.server.host.localEndpoints.first)
        for number in 100..<200 { cast.server.target.send(number: number, for: cast.application, to: socket) }
        cast.simulation.run(for: .seconds(5))
        #expect(cast.application.received.count == 33)
        #expect(cast.client.counters.drops[.early] == 68)
        cast.simulation.finish()
    }
}
