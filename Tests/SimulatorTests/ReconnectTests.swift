// What a client does when its server goes, comes back, moves or was never there.

import DTLS
import Impairment
import Settings
import Testing
import Tunnel
import Wire

@Suite struct ReconnectTests {
    /// The waits between failed attempts, as they were told.
    private func waits(_ client: ClientNode) -> [Duration] {
        client.events.compactMap { event in
            if case .handshakeFailed(_, _, let wait) = event { wait } else { nil }
        }
    }

    @Test func `a server that vanishes is not noticed until the flow has been idle for its timeout`() throws {
        // Noticing earlier is the heartbeat's task.
        let cast = try Cast(client: .init(limits: TunnelLimits(flowTimeout: .seconds(60))))
        cast.establish()
        cast.network.filter = { _, _ in false }
        cast.application.send(30, every: .seconds(1))
        cast.simulation.run(for: .seconds(31))
        #expect(cast.client.tunnel.snapshots().page.map(\.state) == [.established])
        #expect(cast.client.counters.datagramsOut == 31)
        cast.simulation.run(for: .seconds(58))
        #expect(cast.client.tunnel.flowCount == 1)
        cast.simulation.run(for: .seconds(4))
        #expect(cast.client.tunnel.flowCount == 0)
        let hasExpired = cast.client.events.contains { if case .expired = $0 { true } else { false } }
        #expect(hasExpired)
        cast.network.filter = { _, _ in true }
        // The next datagram begins anew, from another port.
        cast.establish()
        cast.simulation.finish()
    }

    @Test func `a server that restarted drops the old association's data and says nothing`() throws {
        // Without a heartbeat the client goes on in vain until its flow is idle or the program ends: a server must not
        // answer what it cannot authenticate.
        let cast = try Cast(client: .init(limits: TunnelLimits(flowTimeout: .seconds(60))))
        cast.establish()
        try cast.server.restart()
        let before = cast.network.history.count { $0.direction == .toClient }
        cast.application.send(20, every: .milliseconds(100))
        cast.simulation.run(for: .seconds(5))
        #expect(cast.server.counters.drops[.noAssociation] == 20)
        #expect(cast.network.history.count { $0.direction == .toClient } == before)
        #expect(cast.client.tunnel.snapshots().page.map(\.state) == [.established])
        cast.simulation.run(for: .seconds(62))
        cast.establish()
        cast.exchange()
        cast.simulation.finish()
    }

    @Test func `after the server's close_notify the next datagram begins a new association and nothing is lost`() throws
    {
        let cast = try Cast()
        cast.establish()
        cast.server.close()
        cast.simulation.run(for: .seconds(1))
        #expect(cast.client.tunnel.snapshots().page.map(\.state) == [.idle])
        // The client has answered it, and nobody was there any more.
        cast.simulation.run(for: .seconds(10))
        #expect(cast.client.engines.count == 1)
        for _ in 0..<50 { cast.application.send() }
        cast.simulation.run(within: .seconds(5)) { cast.application.received.count == 51 }
        #expect(cast.application.received.count == 51)
        #expect(cast.server.target.deliveries(cast.application).areInOrder)
        #expect(cast.client.handshakes == 2)
        cast.simulation.finish()
    }

    @Test func `attempts go on for ever with growing waits that differ from client to client`() throws {
        let policy = ReconnectPolicy(minimum: .seconds(1), maximum: .seconds(60))
        let limits = TunnelLimits(flowTimeout: .seconds(48 * 3600))
        let simulation = Simulation()
        let server = try simulation.addServer()
        let clients = try (1...4 as ClosedRange<UInt64>).map {
            try simulation.addClient(.init(limits: limits, policy: policy, seed: $0))
        }
        simulation.network.filter = { _, _ in false }
        let applications = clients.map { simulation.addApplication(at: $0) }
        for application in applications { application.send() }
        simulation.run(for: .seconds(24 * 3600))
        for client in clients {
            let waits = waits(client)
            // An attempt takes 63 seconds, a wait between 30 and 60.
            #expect(waits.count > 24 * 3600 / 128 && waits.count < 24 * 3600 / 90)
            #expect(waits.allSatisfy { $0 >= policy.minimum && $0 <= policy.maximum })
            #expect(waits[0] <= .seconds(2) && waits[1] <= .seconds(4) && waits[2] <= .seconds(8))
            #expect(waits[6...].allSatisfy { $0 >= .seconds(30) })
            #expect(Set(waits[6...]).count > waits.count / 2)
        }
        #expect(Set(clients.map { waits($0)[6] }).count == clients.count)
        // All that time the datagram has waited.
        simulation.network.filter = { _, _ in true }
        simulation.run(within: .seconds(200)) { applications.allSatisfy { $0.received.count == 1 } }
        #expect(applications.allSatisfy { $0.received.count == 1 })
        #expect(server.counters.handshakes == 4)
        simulation.finish()
    }

    @Test func `of several addresses the one that works is found and kept`() throws {
        let simulation = Simulation()
        let server = try simulation.addServer()
        let dead = (5...7).map { ServerNode.endpoint($0) }
        let client = try simulation.addClient(
            .init(target: .name("collector.example.net"), addresses: dead + [ServerNode.endpoint(0)]))
        let application = simulation.addApplication(at: client)
        let begin = simulation.now
        application.send(3, every: .milliseconds(1))
        simulation.run(within: .seconds(120)) { application.received.count == 3 }
        #expect(application.received.count == 3)
        // Three addresses were given up after 1 + 2 + 4 + 8 seconds each, and none was waited for in between.
        #expect(simulation.now - begin < .seconds(50))
        #expect(Set(simulation.network.history.map(\.packet.destination)).isSuperset(of: dead))

        server.close()
        simulation.run(for: .seconds(10))
        let before = simulation.network.history.count
        application.send()
        simulation.run(within: .seconds(5)) { application.received.count == 4 }
        #expect(application.received.count == 4)
        let tried = simulation.network.history[before...].filter { $0.direction == .toServer }.map(\.packet.destination)
        #expect(Set(tried) == [ServerNode.endpoint(0)])
        // Each attempt asks anew, so that an address that is no longer good is forgotten.
        #expect(client.resolutions == 5)
        simulation.finish()
    }

    @Test func `a name without addresses is asked for again, and what waits is sent when it has one`() throws {
        let simulation = Simulation()
        let server = try simulation.addServer()
        let client = try simulation.addClient(.init(target: .name("collector.example.net")))
        let application = simulation.addApplication(at: client)
        application.send(10, every: .milliseconds(10))
        simulation.run(for: .seconds(60))
        #expect(client.resolutions >= 4 && client.resolutions < 12)
        client.addresses = [ServerNode.endpoint(0)]
        simulation.run(within: .seconds(61)) { application.received.count == 10 }
        #expect(application.received.count == 10)
        #expect(server.target.deliveries(application).areInOrder)
        simulation.finish()
    }

    @Test func `a server that moves is found at its new address`() throws {
        let simulation = Simulation()
        let old = try simulation.addServer()
        let new = try simulation.addServer()
        let client = try simulation.addClient(
            .init(target: .name("collector.example.net"), addresses: [ServerNode.endpoint(0)]))
        let application = simulation.addApplication(at: client)
        application.send()
        simulation.run(for: .seconds(10))
        client.addresses = [ServerNode.endpoint(1)]
        old.close()
        simulation.run(for: .seconds(1))
        application.send(5, every: .milliseconds(10))
        simulation.run(for: .seconds(5))
        #expect(application.received.count == 6)
        #expect(new.target.deliveries(application).count == 5)
        simulation.finish()
    }

    @Test func `a socket that the system refuses is asked for again`() throws {
        let cast = try Cast()
        cast.client.host.refusesSockets = true
        cast.application.send(3, every: .milliseconds(10))
        cast.simulation.run(for: .seconds(20))
        #expect(cast.client.events.contains { if case .noSocket = $0 { true } else { false } })
        cast.client.host.refusesSockets = false
        cast.simulation.run(within: .seconds(61)) { cast.application.received.count == 3 }
        #expect(cast.application.received.count == 3)
        cast.simulation.finish()
    }

    @Test func `a client whose address changes is a stranger, and its old association is left alone`() throws {
        // Until Connection IDs (RFC 9146) are there, an association belongs to an address.
        let cast = try Cast(client: .init(limits: TunnelLimits(flowTimeout: .seconds(30))))
        cast.establish()
        let moved = Endpoint(address: IPAddress(ipv4: 0xc000_02fe), port: 61_000)
        cast.network.rebind(cast.clientEndpoint, to: moved)
        cast.application.send(5, every: .milliseconds(10))
        cast.simulation.run(for: .seconds(1))
        #expect(cast.application.received.count == 1)
        #expect(cast.server.counters.drops[.noAssociation] == 5)
        #expect(cast.server.tunnel.flowCount == 1)
        cast.simulation.run(for: .seconds(32))
        cast.establish()
        cast.simulation.finish()
    }
}
