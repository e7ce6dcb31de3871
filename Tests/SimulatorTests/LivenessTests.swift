// Heartbeats between real tunnels: a peer that is gone is noticed and replaced, one that is there is left alone.

import DTLS
import Impairment
import Settings
import Testing
import Tunnel
import Wire

extension SimulatorKeys.Choice {
    /// Both ends answer heartbeats.
    static let beating = SimulatorKeys.Choice(heartbeat: (.peerAllowedToSend, .peerAllowedToSend))
}

@Suite struct LivenessTests {
    private static let long = TunnelLimits(flowTimeout: .seconds(100 * 3600))

    private func deaths(_ events: [TunnelEvent]) -> Int {
        events.count { if case .ended(_, _, .unanswered, _) = $0 { true } else { false } }
    }

    private func cast(loss: Double = 0, seed: UInt64 = 1, keys: SimulatorKeys.Choice = .beating) throws -> Cast {
        try Cast(
            .path(loss: loss), seed: seed, keys: keys, server: .init(limits: Self.long),
            client: .init(
                limits: Self.long, policy: ReconnectPolicy(minimum: .seconds(1), maximum: .seconds(1)), keys: keys))
    }

    @Test(arguments: [0, 0.1, 0.19])
    func `an idle association lives for hours on a lossy path`(loss: Double) throws {
        let cast = try cast(loss: loss)
        cast.application.send()
        cast.simulation.run(within: .seconds(120)) {
            cast.client.tunnel.snapshots().page.map(\.state) == [.established]
        }
        cast.network.keepsHistory = false
        cast.simulation.run(for: .seconds(2 * 3600))
        #expect(cast.client.handshakes == 1 && cast.server.counters.handshakes == 1)
        #expect(cast.client.tunnel.snapshots().page.map(\.state) == [.established])
        let heartbeat = try #require(cast.client.tunnel.snapshots().page.first?.heartbeat)
        #expect(heartbeat.sent > 100 && heartbeat.answered > 100)
        #expect(heartbeat.minimumRoundTrip == .milliseconds(40))
        cast.simulation.finish()
    }

    @Test func `of two idle ends one asks at a time, now this one and now that`() throws {
        let cast = try cast()
        cast.establish()
        cast.network.keepsHistory = false
        cast.simulation.run(for: .seconds(3 * 3600))
        let client = try #require(cast.client.tunnel.snapshots().page.first?.heartbeat)
        let server = try #require(cast.server.tunnel.snapshots().page.first?.heartbeat)
        let silences = 3 * 3600 / 10
        #expect(Int(client.sent + server.sent) <= silences * 11 / 10, "\(client.sent) and \(server.sent)")
        #expect(Int(min(client.sent, server.sent)) >= silences / 3, "\(client.sent) and \(server.sent)")
        #expect(client.lost == 0 && server.lost == 0)
        cast.simulation.finish()
    }

    @Test(arguments: [0, 0.1, 0.3], [true, false])
    func `a dead path is noticed by both ends within 25 seconds, with one-way data or without`(
        loss: Double, hasData: Bool
    ) throws {
        for seed in 1...4 as ClosedRange<UInt64> {
            let cast = try cast(loss: loss, seed: seed)
            cast.server.target.answers = false
            if hasData {
                cast.application.send(400, every: .milliseconds(250), size: 1000)
            } else {
                cast.application.send()
            }
            let isUp = cast.simulation.run(within: .seconds(60)) {
                cast.client.handshakes == 1 && cast.server.counters.handshakes == 1
            }
            #expect(isUp)
            cast.simulation.run(for: .milliseconds(5000 + 3333 * Int64(seed)))
            guard cast.client.handshakes == 1, deaths(cast.client.events) == 0 else { continue }
            cast.network.filter = { _, _ in false }
            let cutAt = cast.simulation.now
            cast.simulation.run(within: .seconds(120)) { deaths(cast.client.events) > 0 }
            #expect(cast.simulation.now - cutAt <= .seconds(25))
            cast.simulation.run(within: .seconds(120)) { cast.server.tunnel.flowCount == 0 }
            #expect(cast.simulation.now - cutAt <= .seconds(25))
            // What the peer held is free.
            #expect(cast.server.host.localEndpoints == [] && deaths(cast.server.events) == 1)
            #expect(cast.client.tunnel.flowCount == 1)
            // And when the path is back, the flow goes on by itself.
            cast.network.filter = { _, _ in true }
            if loss == 0 {
                cast.simulation.run(within: .seconds(2)) { cast.client.handshakes == 2 }
                #expect(cast.client.handshakes == 2)
            }
        }
    }

    @Test func `a server that restarts is noticed and healed without a datagram from the application`() throws {
        for offset in [0, 1, 4, 9, 13] {
            let cast = try cast()
            cast.establish()
            cast.simulation.run(for: .seconds(Int64(60 + offset)))
            try cast.server.restart()
            let before = cast.simulation.now
            cast.simulation.run(within: .seconds(60)) { cast.client.handshakes == 2 }
            #expect(cast.simulation.now - before <= .seconds(26))
            #expect(cast.client.tunnel.snapshots().page.map(\.state) == [.established])
            #expect(cast.application.sent == 1)
            cast.exchange()
            cast.simulation.finish()
        }
    }

    @Test func `of several addresses the next one takes over at once, and what waited arrives`() throws {
        let simulation = Simulation()
        let servers = try (0..<3).map { _ in try simulation.addServer(.init(keys: .beating)) }
        let client = try simulation.addClient(
            .init(
                target: .name("collector.example.net"), keys: .beating,
                addresses: (0..<3).map { ServerNode.endpoint($0) }))
        let application = simulation.addApplication(at: client)
        application.send()
        simulation.run(for: .seconds(3))
        #expect(servers[0].counters.handshakes == 1)
        simulation.network.filter = { packet, _ in
            packet.destination != ServerNode.endpoint(0) && packet.source != ServerNode.endpoint(0)
        }
        let cutAt = simulation.now
        simulation.run(within: .seconds(60)) { deaths(client.events) == 1 }
        #expect(simulation.now - cutAt <= .seconds(25))
        // These wait for the new association.
        for _ in 0..<20 { application.send() }
        simulation.run(for: .seconds(1))
        #expect(servers[1].counters.handshakes == 1 && client.tunnel.flowCount == 1)
        #expect(servers[1].target.deliveries(application).count == 20)
        #expect(application.received.count == 21)
        #expect(client.counters.drops[.queueFull] == 0 && client.counters.drops[.closed] == 0)
        simulation.finish()
    }

    @Test(arguments: [nil, .peerNotAllowedToSend] as [HeartbeatMode?])
    func `a peer that takes no heartbeats is asked for nothing, and only the idle timeout ends it`(
        mode: HeartbeatMode?
    ) throws {
        let limits = TunnelLimits(flowTimeout: .seconds(120))
        let cast = try Cast(
            keys: .init(heartbeat: (.peerAllowedToSend, mode)), server: .init(limits: limits),
            client: .init(limits: limits))
        cast.establish()
        cast.simulation.run(for: .seconds(60))
        let snapshot = try #require(cast.client.tunnel.snapshots().page.first)
        #expect(snapshot.description?.peerHeartbeatMode == mode && (snapshot.heartbeat == nil) == (mode == nil))
        #expect(snapshot.pathMTU?.state == .disabled)
        let requests = cast.network.history.count { crossing in
            crossing.direction == .toServer
                && headers(of: crossing.packet.bytes).contains { $0.type == .heartbeat && $0.length > 60 }
        }
        #expect(
            mode != nil
                || cast.network.history.allSatisfy { crossing in
                    headers(of: crossing.packet.bytes).allSatisfy { $0.type != .heartbeat }
                })
        #expect(requests == 0)
        cast.network.filter = { _, _ in false }
        cast.simulation.run(for: .seconds(50))
        #expect(cast.client.tunnel.snapshots().page.map(\.state) == [.established])
        cast.simulation.run(for: .seconds(15))
        #expect(cast.client.tunnel.flowCount == 0 && deaths(cast.client.events) == 0)
        cast.simulation.finish()
    }

    @Test(arguments: [0, 1, 2])
    func `something leaves the client every 25 seconds, so that NAT keeps its mapping`(traffic: Int) throws {
        let cast = try cast()
        cast.establish()
        let socket = try #require(cast.server.host.localEndpoints.first)
        cast.server.target.answers = false
        for second in 1...280 where traffic > 0 {
            cast.simulation.schedule(after: .seconds(second)) { [cast] in
                // Only to the client, or only from the server's side now and then.
                if traffic == 1 || second.isMultiple(of: 9) {
                    cast.server.target.send(number: 1000 + second, for: cast.application, to: socket)
                }
            }
        }
        let begin = cast.simulation.now
        cast.simulation.run(for: .seconds(290))
        let times = cast.network.history.filter { $0.direction == .toServer && $0.sentAt >= begin }.map(\.sentAt)
        let gaps = zip([begin] + times, times + [cast.simulation.now]).map { $1 - $0 }
        #expect(gaps.allSatisfy { $0 <= .seconds(25) } && times.count >= 11)
        cast.simulation.finish()
    }
}
