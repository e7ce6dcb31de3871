// Bounds on flows, associations, handshakes, queues and idleness: who gives way, and that it is counted.

import DTLS
import Impairment
import Settings
import Testing
import Tunnel
import Wire

@Suite struct LimitTests {
    private func limitEvents(_ events: [TunnelEvent]) -> [TunnelLimit] {
        events.compactMap { if case .limit(let limit, _) = $0 { limit } else { nil } }
    }

    @Test func `when there are too many flows the oldest idle one gives way, and none that is in use`() throws {
        let cast = try Cast(client: .init(limits: TunnelLimits(maximumFlows: 3)))
        let programs = (0..<4).map { _ in cast.simulation.addApplication(at: cast.client) }
        for program in programs.prefix(3) { program.send() }
        cast.simulation.run(for: .seconds(1))
        // All three are fresh: the fourth is turned away and counted.
        programs[3].send()
        cast.simulation.run(for: .seconds(1))
        #expect(cast.client.counters.drops[.limit] == 1)
        #expect(cast.client.tunnel.flowCount == 3)
        // The second falls silent; the others go on.
        for program in [programs[0], programs[2]] { program.send(15, every: .seconds(1)) }
        cast.simulation.run(for: .seconds(14))
        programs[3].send()
        cast.simulation.run(for: .seconds(1))
        #expect(cast.client.tunnel.flowCount == 3)
        #expect(
            Set(cast.client.tunnel.snapshots().page.compactMap(\.sender))
                == Set([0, 2, 3].map { programs[$0].endpoint }))
        #expect(programs[3].received.count == 1)
        #expect(limitEvents(cast.client.events).contains(.flows))
        #expect(cast.server.tunnel.flowCount == 3)
        cast.simulation.finish()
    }

    @Test func `when there are too many associations the oldest idle one gives way, and none that is in use`() throws {
        let cast = try Cast(server: .init(limits: TunnelLimits(maximumAssociations: 2)))
        let programs = (0..<3).map { _ in cast.simulation.addApplication(at: cast.client) }
        programs[0].send(20, every: .seconds(1))
        programs[1].send()
        cast.simulation.run(for: .seconds(5))
        programs[2].send()
        cast.simulation.run(for: .seconds(1))
        // Nobody has been idle for long enough.
        #expect(programs[2].received.count == 0)
        #expect(cast.server.tunnel.flowCount == 2)
        cast.simulation.run(for: .seconds(9))
        programs[2].send()
        cast.simulation.run(for: .seconds(5))
        #expect(programs[2].received.count == 1)
        #expect(programs[0].received.count >= 19)
        #expect(cast.server.tunnel.flowCount == 2)
        #expect(limitEvents(cast.server.events).contains(.associations))
        cast.simulation.finish()
    }

    @Test func `when there are too many handshakes the oldest one gives way, and associations stay`() throws {
        let cast = try Cast(server: .init(limits: TunnelLimits(maximumHandshakes: 4)))
        cast.establish()
        // Six clients whose third flight never arrives.
        let stalled = try (0..<6).map { _ in try cast.simulation.addClient() }
        let addresses = Set(stalled.map(\.host.shared.address))
        cast.network.filter = { packet, _ in
            !(addresses.contains(packet.source.address)
                && headers(of: packet.bytes).contains { $0.type == .changeCipherSpec })
        }
        for client in stalled { cast.simulation.addApplication(at: client).send() }
        cast.simulation.run(for: .seconds(1))
        #expect(cast.server.tunnel.flowCount == 5)
        #expect(cast.server.counters.failedHandshakes == 2)
        #expect(limitEvents(cast.server.events) == [.handshakes])
        cast.exchange()
        cast.simulation.finish()
    }

    @Test func `flows and associations that are idle for their timeout are forgotten at both ends`() throws {
        let limits = TunnelLimits(flowTimeout: .seconds(20))
        let cast = try Cast(server: .init(limits: limits), client: .init(limits: limits))
        cast.establish()
        // Data in one direction is enough to stay, in either.
        cast.server.target.answers = false
        cast.application.send(30, every: .seconds(5))
        cast.simulation.run(for: .seconds(151))
        #expect(cast.client.engines.count == 1 && cast.client.tunnel.flowCount == 1)
        let socket = try #require(cast.server.host.localEndpoints.first)
        for number in 0..<30 {
            cast.simulation.schedule(after: .seconds(5 * (number + 1))) { [cast] in
                cast.server.target.send(number: 1000 + number, for: cast.application, to: socket)
            }
        }
        cast.simulation.run(for: .seconds(151))
        #expect(cast.client.engines.count == 1 && cast.client.tunnel.flowCount == 1)
        #expect(cast.application.received.count == 31)
        cast.simulation.run(for: .seconds(22))
        #expect(cast.client.tunnel.flowCount == 0 && cast.server.tunnel.flowCount == 0)
        #expect(cast.client.tunnel.deadline == nil && cast.server.tunnel.deadline == nil)
        #expect(cast.client.host.localEndpoints == [] && cast.server.host.localEndpoints == [])
        cast.simulation.finish()
    }

    @Test(arguments: [(64, 128), (4000, 32), (16_384, 8)])
    func `a waiting queue drops its oldest datagrams and counts them`(size: Int, room: Int) throws {
        let cast = try Cast(Impairment(delay: .milliseconds(20)))
        cast.network.filter = { _, _ in false }
        let count = room + 50
        for _ in 0..<count { cast.application.send(size: size) }
        cast.simulation.run(for: .seconds(2))
        #expect(cast.client.counters.drops[.queueFull] == 50)
        cast.network.filter = { _, _ in true }
        cast.simulation.run(within: .seconds(30)) { cast.application.received.count == room }
        #expect(cast.application.received.order == Array(50..<count))
        cast.simulation.finish()
    }

    @Test func `datagrams that no record can hold are counted and told once`() throws {
        let cast = try Cast()
        cast.application.send(size: 16_385)
        cast.application.send(size: 65_507)
        cast.application.send(size: 16_384)
        cast.simulation.run(for: .seconds(2))
        #expect(cast.application.received.order == [2])
        #expect(cast.client.counters.drops[.oversize] == 2)
        cast.application.send(size: 20_000)
        cast.simulation.run(for: .seconds(1))
        #expect(cast.client.counters.drops[.oversize] == 3)
        #expect(cast.client.events.count { if case .oversize = $0 { true } else { false } } == 1)
        cast.simulation.finish()
    }

    @Test func `a peer that allow_peers does not name gets no data through, and is told`() throws {
        let cast = try Cast(server: .init(access: AccessList(peers: [.dns("someone.example.net")])))
        cast.application.send(5, every: .milliseconds(1))
        cast.simulation.run(for: .seconds(30))
        #expect(cast.server.target.senders == [])
        #expect(cast.server.events.contains { if case .refused = $0 { true } else { false } })
        let alerts = cast.client.events.compactMap { event in
            if case .ended(_, _, .alert(let alert), _) = event { alert } else { nil }
        }
        #expect(!alerts.isEmpty && alerts.allSatisfy { $0 == .accessDenied })
        // Refused again and again, it does not hammer.
        #expect(cast.client.engines.count < 10)
        cast.simulation.finish()
    }

    @Test func `a source that allow_from does not name gets no answer`() throws {
        let prefix = try #require(IPPrefix("203.0.113.0/24"))
        let cast = try Cast(server: .init(access: AccessList(sources: [prefix])))
        cast.application.send()
        cast.simulation.run(for: .seconds(10))
        #expect(cast.network.history.allSatisfy { $0.direction == .toServer })
        #expect(cast.server.counters.drops[.sourceNotAllowed] > 0 && cast.server.tunnel.flowCount == 0)
        cast.simulation.finish()
    }
}
