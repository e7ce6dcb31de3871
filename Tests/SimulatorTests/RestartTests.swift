// A second handshake from an address that has an association (RFC 6347 §4.2.8): a client that has restarted, or
// somebody who forges its address.

import DTLS
import Testing
import Tunnel
import Wire

@testable import OpenSSL

@Suite struct RestartTests {
    @Test func `a client that restarts on the same port is served anew, and the old association stays until then`()
        throws
    {
        let cast = try Cast()
        cast.establish()
        // One datagram of the old association is still under way when the process ends.
        var late: Packet?
        cast.network.filter = { packet, direction in
            guard direction == .toServer, late == nil else { return true }
            late = packet
            return false
        }
        cast.application.send()
        cast.simulation.run(for: .milliseconds(5))
        let held = try #require(late)
        let port = cast.clientEndpoint.port
        cast.client.restart(firstPort: port)
        cast.application.send(3, every: .milliseconds(1))
        cast.simulation.run(within: .seconds(1)) { cast.server.engines.count == 2 }
        #expect(cast.clientEndpoint.port == port)

        // The new handshake runs beside the old keys, which still open what they sealed.
        cast.network.inject(held)
        cast.simulation.run(for: .milliseconds(1))
        #expect(cast.server.target.deliveries(cast.application).count == 2)
        #expect(cast.server.counters.handshakes == 1)

        cast.simulation.run(within: .seconds(2)) { cast.application.received.count >= 4 }
        #expect(cast.server.counters.handshakes == 2)
        #expect(cast.server.tunnel.flowCount == 1)
        // The target sees one client all along.
        #expect(cast.server.target.senders.count == 1)
        cast.exchange()
        // Now the old keys are gone.
        let before = cast.server.counters.drops[.notAuthentic] + cast.server.counters.drops[.replayed]
        cast.network.inject(held)
        cast.simulation.run(for: .milliseconds(1))
        #expect(cast.server.counters.drops[.notAuthentic] + cast.server.counters.drops[.replayed] == before + 1)
        cast.simulation.finish()
    }

    @Test(arguments: [false, true])
    func `a stranger who can use the address but has no key never disturbs the association`(retries: Bool) throws {
        let cast = try Cast()
        cast.establish()
        let keys = try SimulatorKeys.shared.get()
        // No certificate: the server will refuse, if it ever comes that far.
        for _ in 0..<(retries ? 8 : 1) {
            let stranger = try OpenSSLHandshake(
                client: keys.clientContext(.init(clientShowsCertificate: false)),
                verifying: PeerName(SimulatorKeys.serverName), datagramSize: 1400)
            let before = cast.network.history.count
            _ = stranger.start()
            while let hello = stranger.pollTransmit() { cast.forge(hello, .toServer) }
            cast.simulation.run(for: .milliseconds(1))
            // It sees the answers on the path, and so has the cookie.
            for crossing in cast.network.history[before...] {
                for record in records(of: crossing.packet.bytes) { _ = stranger.receive(record.bytes) }
            }
            while let hello = stranger.pollTransmit() { cast.forge(hello, .toServer) }
            cast.simulation.run(for: .milliseconds(1))
            cast.exchange(5)
        }
        #expect(cast.server.engines.count == (retries ? 9 : 2))
        #expect(cast.server.tunnel.flowCount == 1)
        cast.application.send(70, every: .seconds(1))
        cast.simulation.run(for: .seconds(75))
        #expect(cast.application.received.count == cast.application.sent)
        #expect(cast.client.engines.count == 1)
        #expect(cast.server.counters.handshakes == 1)
        #expect(cast.server.counters.failedHandshakes >= 1)
        // And it may still be replaced by its owner.
        cast.client.restart(firstPort: cast.clientEndpoint.port)
        cast.establish()
        cast.simulation.finish()
    }

    @Test func `a stranger who goes through the whole handshake and is refused leaves the association as it was`()
        throws
    {
        let cast = try Cast()
        cast.establish()
        let keys = try SimulatorKeys.shared.get()
        let stranger = try OpenSSLHandshake(
            client: keys.clientContext(.init(clientShowsCertificate: false)),
            verifying: PeerName(SimulatorKeys.serverName), datagramSize: 1400)
        var seen = cast.network.history.count
        _ = stranger.start()
        for _ in 1...4 {
            while let datagram = stranger.pollTransmit() { cast.forge(datagram, .toServer) }
            cast.simulation.run(for: .milliseconds(1))
            for crossing in cast.network.history[seen...] {
                for record in records(of: crossing.packet.bytes) { _ = stranger.receive(record.bytes) }
            }
            seen = cast.network.history.count
        }
        #expect(cast.server.counters.failedHandshakes == 1)
        cast.exchange()
        #expect(cast.client.engines.count == 1 && cast.server.tunnel.flowCount == 1)
        cast.simulation.finish()
    }
}
