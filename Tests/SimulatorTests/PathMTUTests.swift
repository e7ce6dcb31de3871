// Path MTU discovery between real tunnels on paths whose two directions differ, shrink and grow, without any ICMP.

import DTLS
import Impairment
import Settings
import Testing
import Tunnel
import Wire

@Suite struct PathMTUTests {
    private static let overheadOfAES = 37

    private func cast(oversize: OversizePolicy = .fragment, usesIPv6: Bool = false) throws -> Cast {
        let path = TunnelPath(
            settings: PathSettings(pathMTU: PathMTUSettings(interval: .seconds(60))), oversize: oversize)
        return try Cast(
            keys: .beating, server: .init(usesIPv6: usesIPv6, path: path),
            client: .init(
                target: .endpoint(ServerNode.endpoint(0, usesIPv6: usesIPv6)), path: path, usesIPv6: usesIPv6))
    }

    /// What both ends have found: towards the server, towards the client.
    private func found(_ cast: Cast) -> (toServer: PathMTU, toClient: PathMTU)? {
        guard let client = cast.client.tunnel.snapshots().page.first?.pathMTU,
            let server = cast.server.tunnel.snapshots().page.first?.pathMTU
        else { return nil }
        return (client, server)
    }

    private func expect(
        _ cast: Cast, _ toServer: Int, _ toClient: Int, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        guard let found = found(cast) else {
            Issue.record("no association", sourceLocation: sourceLocation)
            return
        }
        #expect(
            (toServer - 7...toServer).contains(found.toServer.current) && found.toServer.state == .complete
                && (toClient - 7...toClient).contains(found.toClient.current) && found.toClient.state == .complete,
            "\(toServer) and \(toClient): \(found)", sourceLocation: sourceLocation)
    }

    @Test(
        arguments: [(1500, 1500), (1400, 1280), (1280, 1400), (1500, 1000), (600, 1492), (1499, 576)], [false, true])
    func `each direction's MTU is found for itself`(mtu: (toServer: Int, toClient: Int), usesIPv6: Bool) throws {
        let cast = try cast(usesIPv6: usesIPv6)
        cast.network.mtu = (mtu.toServer, mtu.toClient)
        cast.establish()
        // As long as nothing has been answered, each probe is waited for for a second.
        cast.simulation.run(for: .seconds(30))
        expect(cast, mtu.toServer, mtu.toClient)
        // The largest datagram that goes through unfragmented does, the next one would not.
        let snapshot = try #require(cast.client.tunnel.snapshots().page.first)
        let largest = try #require(snapshot.maximumDatagram)
        let found = try #require(snapshot.pathMTU).current
        #expect(largest == found - (usesIPv6 ? 48 : 28) - Self.overheadOfAES)
        cast.application.send(size: largest)
        cast.simulation.run(for: .seconds(1))
        let packet = cast.network.history.last { $0.direction == .toServer && $0.packet.bytes.count > largest }?.packet
        #expect(packet?.mayFragment == false && packet?.size == found)
        #expect(cast.server.target.deliveries(cast.application).count == 2)
        cast.simulation.finish()
    }

    @Test(arguments: [false, true])
    func `a path that shrinks and grows is followed while data flows, and nothing that fits it is lost`(
        usesIPv6: Bool
    ) throws {
        let cast = try cast(usesIPv6: usesIPv6)
        let headers = usesIPv6 ? 48 : 28
        cast.network.mtu = (1500, 1500)
        cast.establish()
        cast.simulation.run(for: .seconds(3))
        var fitting = cast.application.received.count
        for mtu in [1500, 1400, 1280, 1400, 1500] {
            cast.network.mtu = (mtu, mtu)
            // Every other one fits exactly, the others are too large for the smaller paths.
            for step in 1...3000 {
                let size = step.isMultiple(of: 2) ? 1500 - headers - 37 : mtu - headers - 37
                cast.simulation.schedule(after: .milliseconds(step * 50)) { cast.application.send(size: size) }
            }
            let sentBefore = cast.application.sent
            let begin = cast.simulation.now
            cast.simulation.run(for: .seconds(151))
            expect(cast, mtu, mtu)
            let fit = Set(stride(from: sentBefore, to: cast.application.sent, by: 2))
            let arrived = Set(cast.application.received.order)
            fitting += fit.count
            // All that fit, from the first moment on; of the others all but those of the first twelve seconds.
            #expect(fit.subtracting(arrived).isEmpty, "\(fit.subtracting(arrived).count) lost at \(mtu)")
            let lateOnes = Set(sentBefore + 240..<cast.application.sent)
            #expect(
                lateOnes.subtracting(arrived).isEmpty, "\(lateOnes.subtracting(arrived).count) lost later at \(mtu)")
            #expect(cast.simulation.now - begin == .seconds(151))
        }
        #expect(cast.client.handshakes == 1)
        cast.simulation.finish()
    }

    @Test(arguments: [OversizePolicy.fragment, .drop])
    func `datagrams that are too large are fragmented or dropped, as chosen, and told once a minute`(
        policy: OversizePolicy
    ) throws {
        let cast = try cast(oversize: policy)
        cast.network.mtu = (1300, 1300)
        cast.establish()
        cast.simulation.run(for: .seconds(15))
        let limit = try #require(cast.client.tunnel.snapshots().page.first?.maximumDatagram)
        let begin = cast.application.received.count
        for size in [limit, limit + 1, 1400, 1472, 5000, 16_000] { cast.application.send(size: size) }
        cast.simulation.run(for: .seconds(1))
        let isFragmenting = policy == .fragment
        #expect(cast.application.received.count - begin == (isFragmenting ? 6 : 1))
        #expect(cast.client.counters.drops[.oversize] == (isFragmenting ? 0 : 5))
        for crossing in cast.network.history where crossing.packet.size > 1300 && crossing.packet.mayFragment {
            #expect(isFragmenting)
        }
        let told = cast.client.events.compactMap { event -> DatagramFate? in
            if case .oversize(_, let size, let fate) = event, size == limit + 1 { fate } else { nil }
        }
        #expect(told == [isFragmenting ? .fragmented(limit: limit) : .dropped(limit: limit)])
        cast.application.send(500, every: .milliseconds(100), size: 1400)
        cast.simulation.run(for: .seconds(55))
        #expect(cast.client.events.count { if case .oversize = $0 { true } else { false } } == 1)
        cast.application.send(100, every: .milliseconds(100), size: 1400)
        cast.simulation.run(for: .seconds(12))
        #expect(cast.client.events.count { if case .oversize = $0 { true } else { false } } == 2)
        cast.simulation.finish()
    }

    @Test func `forged hints, however many, cost no datagram that fits and do not last`() throws {
        let cast = try cast()
        cast.network.mtu = (1500, 1500)
        cast.establish()
        cast.simulation.run(for: .seconds(3))
        let flow = FlowID(index: 0, generation: 0)
        for round in 1...600 {
            cast.simulation.schedule(after: .milliseconds(round * 100)) { [cast] in
                for size in [68, 576, 100 + round * 7 % 1500] {
                    cast.client.tunnel.handlePathHint(size, flow: flow, now: cast.simulation.now)
                    cast.server.tunnel.handlePathHint(
                        size, peer: cast.clientEndpoint, now: cast.simulation.now)
                }
                cast.application.send(size: 1200)
            }
        }
        let before = cast.application.received.count
        cast.simulation.run(for: .seconds(62))
        #expect(cast.application.received.count == before + 600)
        #expect((576...1500).contains(found(cast)?.toServer.current ?? 0))
        cast.simulation.run(for: .seconds(130))
        expect(cast, 1500, 1500)
        cast.simulation.finish()
    }
}
