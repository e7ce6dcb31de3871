// The cookie exchange under a flood and across its secret's rotations (RFC 6347 §4.2.1).

import DTLS
import Settings
import Testing
import Tunnel
import Wire

@testable import OpenSSL

@Suite struct CookieTests {
    /// A first hello as OpenSSL sends it.
    private func firstHello() throws -> (engine: OpenSSLHandshake, datagram: [UInt8]) {
        let engine = try OpenSSLHandshake(
            client: SimulatorKeys.shared.get().clientContext(.init()), verifying: PeerName(SimulatorKeys.serverName),
            datagramSize: 1400)
        _ = engine.start()
        return (engine, try #require(engine.pollTransmit()))
    }

    /// The hello that answers the HelloVerifyRequest which `source` gets.
    private func verifiedHello(from source: Endpoint, _ cast: Cast) throws -> [UInt8] {
        let (engine, hello) = try firstHello()
        var answer: [UInt8]?
        cast.network.bind(source) { answer = $0.bytes }
        cast.network.inject(Packet(source: source, destination: cast.serverEndpoint, bytes: hello))
        cast.simulation.run(for: .milliseconds(50))
        let request = try #require(answer)
        _ = engine.receive(request.bytes)
        return try #require(engine.pollTransmit())
    }

    private func stranger(_ number: UInt32) -> Endpoint {
        Endpoint(
            address: IPAddress(ipv4: 0x0a00_0000 + number), port: UInt16(truncatingIfNeeded: 1024 + number % 50_000))
    }

    @Test func `a hundred thousand first hellos leave nothing behind and cost an association nothing`() throws {
        let cast = try Cast()
        cast.establish()
        let hello = try firstHello().datagram
        let before = cast.network.answered
        // None of the answers crosses: they go to addresses that nobody has.
        cast.network.keepsHistory = false
        cast.network.filter = { [home = cast.client.host.shared.address] packet, direction in
            direction == .toServer || packet.destination.address == home
        }
        cast.application.send(100, every: .milliseconds(10))
        for batch in 0..<100 as Range<UInt32> {
            cast.simulation.schedule(after: .milliseconds(10 * Int(batch))) { [cast] in
                for index in 0..<1000 as Range<UInt32> {
                    cast.network.inject(
                        Packet(source: stranger(batch * 1000 + index), destination: cast.serverEndpoint, bytes: hello))
                }
            }
        }
        cast.simulation.run(for: .seconds(3))
        #expect(cast.server.tunnel.flowCount == 1)
        #expect(cast.server.engines.count == 1)
        #expect(cast.application.received.count == 101)
        #expect(cast.server.counters.drops.total == 0)
        #expect(cast.network.answered - before == 100_000 + 100)
        cast.simulation.finish()
    }

    @Test func `a cookie is worth nothing at another address or port, or for another hello`() throws {
        let cast = try Cast()
        let hello = try verifiedHello(from: stranger(1), cast)
        var others = [Endpoint(address: stranger(2).address, port: stranger(1).port)]
        others.append(Endpoint(address: stranger(1).address, port: stranger(1).port + 1))
        for source in others {
            cast.network.inject(Packet(source: source, destination: cast.serverEndpoint, bytes: hello))
        }
        var changed = hello
        // The last byte of the client's random.
        changed[RecordHeader.size + HandshakeHeader.size + 33] ^= 1
        cast.network.inject(Packet(source: stranger(1), destination: cast.serverEndpoint, bytes: changed))
        cast.simulation.run(for: .seconds(1))
        #expect(cast.server.tunnel.flowCount == 0)
        #expect(cast.server.counters.drops[.cookie] == 3)
        cast.network.inject(Packet(source: stranger(1), destination: cast.serverEndpoint, bytes: hello))
        cast.simulation.run(for: .seconds(1))
        #expect(cast.server.tunnel.flowCount == 1)
        cast.simulation.finish()
    }

    @Test(arguments: [(1, true), (59, true), (61, true), (100, true), (121, false), (1000, false)])
    func `a cookie outlives one rotation of its secret and not two`(age: Int, isGood: Bool) throws {
        let cast = try Cast()
        let begin = cast.simulation.now
        let hello = try verifiedHello(from: stranger(1), cast)
        // Rotations happen when hellos come.
        for second in stride(from: 10, to: age, by: 10) {
            cast.simulation.run(for: begin + .seconds(second) - cast.simulation.now)
            let other = try firstHello().datagram
            cast.network.inject(Packet(source: stranger(9), destination: cast.serverEndpoint, bytes: other))
        }
        cast.simulation.run(for: begin + .seconds(age) - cast.simulation.now)
        cast.network.inject(Packet(source: stranger(1), destination: cast.serverEndpoint, bytes: hello))
        cast.simulation.run(for: .milliseconds(1))
        #expect(cast.server.tunnel.flowCount == (isGood ? 1 : 0))
        #expect(cast.server.counters.drops[.cookie] == (isGood ? 0 : 1))
        cast.simulation.finish()
    }

    @Test func `a cookie's secret that was never asked for again is old all the same`() throws {
        let cast = try Cast()
        let hello = try verifiedHello(from: stranger(1), cast)
        cast.simulation.run(for: .seconds(500))
        cast.network.inject(Packet(source: stranger(1), destination: cast.serverEndpoint, bytes: hello))
        cast.simulation.run(for: .milliseconds(1))
        #expect(cast.server.tunnel.flowCount == 0)
        cast.simulation.finish()
    }

    @Test(arguments: [0, 0.2, 0.5]) func `without the cookie exchange handshakes complete too`(loss: Double) throws {
        let cast = try Cast(
            .path(loss: loss), server: .init(cookieExchange: false),
            client: .init(limits: TunnelLimits(flowTimeout: .seconds(3600))))
        cast.application.send()
        cast.simulation.run(within: .seconds(1800)) { cast.client.handshakes == 1 }
        #expect(cast.client.handshakes == 1)
        if loss == 0 { cast.exchange() }
        cast.simulation.finish()
    }
}
