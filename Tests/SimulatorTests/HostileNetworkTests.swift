// What strangers and bad networks put between two ends: nonsense, forged alerts, replays, reflections (DESIGN
// section 4, hazard 3). None of it may do more than raise a counter.

import Impairment
import Testing
import Tunnel
import Wire

@Suite struct HostileNetworkTests {
    /// After each datagram of the handshake and the data, delivers what `forgeries` makes of it, in both directions.
    private func accompany(_ cast: Cast, _ forgeries: @escaping (Packet, SimulatedNetwork.Direction) -> [Packet]) {
        cast.network.filter = { [unowned network = cast.network] packet, direction in
            for forged in forgeries(packet, direction) { network.inject(forged) }
            return true
        }
    }

    @Test(arguments: [0, 0.2] as [Double], [false, true])
    func `nonsense in the midst of a handshake does not hurt it`(loss: Double, withPreSharedKey: Bool) throws {
        let cast = try Cast(.path(loss: loss), keys: .init(preSharedKey: withPreSharedKey ? (7, 7) : nil))
        accompany(cast) { packet, _ in
            let back = nonsense.map { Packet(source: packet.destination, destination: packet.source, bytes: $0) }
            return back + nonsense.map { Packet(source: packet.source, destination: packet.destination, bytes: $0) }
        }
        cast.establish(within: .seconds(60))
        #expect(cast.client.engines.count == 1)
        #expect(cast.server.engines.count == 1)
        if loss == 0 { cast.exchange() }
        #expect(cast.client.counters.drops[.contentType] > 0 && cast.client.counters.drops[.malformed] > 0)
        #expect(cast.client.counters.drops[.epoch] > 0 && cast.client.counters.drops[.version] > 0)
        cast.simulation.finish()
    }

    @Test(arguments: [(2, 40), (2, 10), (1, 0), (1, 90)] as [(UInt8, UInt8)])
    func `an alert forged in the clear does not end a handshake`(level: UInt8, description: UInt8) throws {
        let cast = try Cast()
        let alert = record(21, sequence: 3, [level, description])
        accompany(cast) { packet, _ in
            [
                Packet(source: packet.destination, destination: packet.source, bytes: alert),
                Packet(source: packet.source, destination: packet.destination, bytes: alert),
            ]
        }
        cast.establish()
        cast.exchange()
        cast.simulation.run(for: .seconds(5))
        cast.exchange()
        #expect(cast.client.engines.count == 1)
        #expect(cast.server.engines.count == 1)
        #expect(cast.client.counters.drops[.contentType] > 0)
        cast.simulation.finish()
    }

    @Test func `a real alert in the clear ends a handshake soon`() throws {
        // The server asks for a certificate, and this client has none.
        let simulation = Simulation()
        let server = try simulation.addServer()
        let client = try simulation.addClient(.init(keys: .init(clientShowsCertificate: false)))
        let application = simulation.addApplication(at: client)
        application.send()
        simulation.run(for: .seconds(5))
        #expect(server.counters.failedHandshakes >= 1)
        #expect(client.counters.failedHandshakes >= 1)
        let reasons = client.events.compactMap { event in
            if case .handshakeFailed(_, let failure, _) = event { failure.reason } else { nil }
        }
        #expect(
            reasons.first == .alert(Alert.Description(rawValue: 40)) || reasons.first == .alert(.init(rawValue: 116)))
        simulation.finish()
    }

    @Test func `forged records and alerts leave an established association alone`() throws {
        let cast = try Cast()
        cast.establish()
        for round in 0..<20 as Range<UInt64> {
            for direction in [SimulatedNetwork.Direction.toServer, .toClient] {
                for datagram in nonsense { cast.forge(datagram, direction) }
                for epoch in [0, 1, 2] as [UInt16] {
                    for (level, description) in [(2, 40), (1, 0), (2, 0), (1, 90)] as [(UInt8, UInt8)] {
                        cast.forge(record(21, epoch: epoch, sequence: 1000 + round, [level, description]), direction)
                    }
                    let filler = [UInt8](repeating: UInt8(round), count: 64)
                    cast.forge(record(22, epoch: epoch, sequence: 1000 + round, [20] + filler), direction)
                    cast.forge(record(20, epoch: epoch, sequence: 1000 + round, [1]), direction)
                    // Far ahead: a window that moved for it would shut out everything real.
                    cast.forge(record(23, epoch: epoch, sequence: (1 << 48) - 1 - round, filler), direction)
                }
            }
            cast.exchange(2)
        }
        #expect(cast.client.handshakes == 1)
        #expect(cast.server.counters.handshakes == 1)
        #expect(cast.client.counters.drops[.notAuthentic] >= 20 * 5)
        #expect(cast.server.counters.drops[.notAuthentic] >= 20 * 5)
        cast.simulation.finish()
    }

    @Test func `replayed datagrams deliver nothing twice and are counted`() throws {
        let cast = try Cast(Impairment(delay: .milliseconds(20), duplicate: 0.3, reorder: 0.2))
        cast.establish()
        cast.exchange(50)
        let recorded = cast.network.history
        let dataIn = cast.client.counters.datagramsIn
        let before = (cast.client.counters.drops[.replayed], cast.server.counters.drops[.replayed])
        #expect(before.0 > 0 && before.1 > 0)
        for _ in 1...3 {
            for crossing in recorded { cast.network.inject(crossing.packet) }
            cast.simulation.run(for: .seconds(1))
        }
        #expect(cast.client.counters.datagramsIn == dataIn)
        #expect(cast.application.received.repeated == 0)
        // Fifty-one datagrams of data and a Finished, three times.
        #expect(cast.client.counters.drops[.replayed] - before.0 == 3 * 52)
        #expect(cast.server.counters.drops[.replayed] - before.1 == 3 * 52)
        #expect(cast.client.handshakes == 1 && cast.server.engines.count == 1)
        cast.exchange()

        // Nor when the association is over, and its address free for another.
        cast.client.close()
        cast.simulation.run(for: .seconds(1))
        #expect(cast.server.tunnel.flowCount == 0)
        let delivered = cast.server.target.deliveries(cast.application).order.count
        for crossing in recorded where crossing.direction == .toServer { cast.network.inject(crossing.packet) }
        cast.simulation.run(for: .seconds(1))
        // A hello whose cookie is still good begins a handshake, which nobody can finish.
        #expect(cast.server.engines.count > 1)
        cast.simulation.run(for: .seconds(70))
        #expect(cast.server.tunnel.flowCount == 0)
        #expect(cast.server.counters.handshakes == 1)
        #expect(cast.server.target.deliveries(cast.application).order.count == delivered)
        cast.simulation.finish()
    }

    @Test(arguments: [true, false], [true, false])
    func `reflected datagrams do not hurt at any stage`(atClient: Bool, withTickets: Bool) throws {
        let cast = try Cast(keys: .init(usesSessionTickets: withTickets))
        accompany(cast) { packet, direction in
            guard (direction == .toServer) == atClient else { return [] }
            return [Packet(source: packet.destination, destination: packet.source, bytes: packet.bytes)]
        }
        cast.establish()
        cast.exchange()
        #expect(cast.client.engines.count == 1)
        #expect(cast.server.engines.count == 1)
        cast.client.close()
        cast.simulation.run(for: .seconds(1))
        #expect(cast.server.tunnel.flowCount == 0)
        cast.simulation.finish()
    }
}
