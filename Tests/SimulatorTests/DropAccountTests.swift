// Everything that can happen to a tunnel at once. What is checked is what every simulation checks at its end: whatever came was
// carried, was used by the protocol, or was dropped for a reason, once.

import DTLS
import Impairment
import Settings
import Testing
import Tunnel
import Wire

@Suite struct DropAccountTests {
    @Test(arguments: 0..<20 as Range<UInt64>)
    func `in any chaos all that came was carried, used or dropped`(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        var path = Impairment.path(loss: Double(seed % 4) / 10)
        (path.duplicate, path.corrupt, path.reorder) = (0.1, 0.1, 0.1)
        var limits = TunnelLimits(maximumFlows: 4, maximumAssociations: 3, maximumHandshakes: 3)
        limits.flowTimeout = .seconds(4)
        let cast = try Cast(
            path, seed: seed, server: .init(limits: limits, cookieExchange: seed % 3 != 0),
            client: .init(limits: limits, path: TunnelPath(oversize: seed % 2 == 0 ? .drop : .fragment)))
        let (simulation, client, server) = (cast.simulation, cast.client, cast.server)
        let applications = [cast.application] + (0..<5).map { _ in simulation.addApplication(at: client) }
        for round in 0..<60 {
            for _ in 0..<Int.random(in: 0...4, using: &random) {
                let isLarge = Int.random(in: 0..<10, using: &random) == 0
                applications.randomElement(using: &random)?.send(size: isLarge ? 17_000 : 64)
            }
            if Int.random(in: 0..<12, using: &random) == 0 { applications[0].send(300, every: .microseconds(10)) }
            for datagram in nonsense.shuffled(using: &random).prefix(2) {
                cast.forge(datagram, .toServer)
                if !client.host.localEndpoints.isEmpty { cast.forge(datagram, .toClient) }
            }
            let serials = client.tunnel.snapshots().page.map(\.serial)
            simulation.perform(wallClockError: .zero) {
                switch (round % 10, serials.randomElement(using: &random)) {
                case (3, let serial?), (6, let serial?): _ = client.tunnel.rekey(serial: serial, now: simulation.now)
                case (8, let serial?): _ = client.tunnel.close(serial: serial, now: simulation.now)
                case (9, _):
                    if let serial = server.tunnel.snapshots().page.randomElement(using: &random)?.serial {
                        _ = server.tunnel.close(serial: serial)
                    }
                default: break
                }
            }
            simulation.run(for: .milliseconds(Int.random(in: 0..<8, using: &random) == 0 ? 2500 : 100))
        }
        #expect(client.counters.datagramsOut > 0 && client.counters.drops.total > 0 && server.counters.drops.total > 0)
        simulation.finish()
    }
}
