// Wall clocks are set; the monotonic clock is not. OpenSSL's timer follows the wrong one (DESIGN section 4, hazard 6).

import DTLS
import Impairment
import Testing
import Tunnel
import Wire

@Suite struct ClockTests {
    static let steps: [Duration] = [
        .seconds(7200), .seconds(-7200), .seconds(30), .seconds(-30), .seconds(1), .seconds(-1), .seconds(86_400 * 365),
    ]

    /// When the clock is set, in milliseconds after the first datagram: a one-way trip takes twenty.
    static let moments = [0, 10, 30, 50, 70, 90, 1500]

    @Test(arguments: steps)
    func `a handshake completes soon although the wall clock is set while it runs`(step: Duration) throws {
        for moment in Self.moments {
            for (atClient, atServer) in [(true, false), (false, true), (true, true)] {
                for loss in [0, 0.3] {
                    let cast = try Cast(.path(loss: loss), seed: 3)
                    cast.simulation.schedule(after: .milliseconds(moment)) {
                        if atClient { cast.client.wallClockError = step }
                        if atServer { cast.server.wallClockError = step }
                    }
                    cast.application.send()
                    let isUp = cast.simulation.run(within: .seconds(30)) { cast.client.handshakes == 1 }
                    #expect(isUp, "\(moment) ms, client \(atClient), server \(atServer), loss \(loss)")
                    cast.simulation.finish()
                }
            }
        }
    }

    @Test(arguments: steps) func `an established association does not see the wall clock`(step: Duration) throws {
        let cast = try Cast()
        cast.establish()
        cast.client.wallClockError = step
        cast.exchange()
        cast.server.wallClockError = step
        cast.exchange()
        cast.client.wallClockError = .zero
        cast.simulation.run(for: .seconds(60))
        cast.exchange()
        #expect(cast.client.engines.count == 1)
        cast.simulation.finish()
    }

    @Test(arguments: [(1280, 3), (576, 7), (296, 15)])
    func `flights become as small as the path needs`(mtu: Int, seconds: Int) throws {
        let cast = try Cast(.path(mtu: mtu), keys: .init(usesLargeServerCertificate: true))
        let start = cast.simulation.now
        cast.application.send()
        cast.simulation.run(within: .seconds(60)) { cast.client.handshakes == 1 }
        let duration = cast.simulation.now - start
        #expect(duration > .seconds(seconds) && duration < .seconds(seconds * 2 + 2), "\(duration)")
        #expect(cast.client.engines.count == 1)
        let sizes = try #require(cast.server.engines.first).sentSizes
        let limits = [1472, 1200, 548, 268]
        #expect(sizes.first.map { $0 > 1200 } == true)
        #expect(sizes.contains { $0 <= mtu - 28 && $0 > mtu - 28 - 120 })
        // Each of the sizes was tried on the way, and none in between.
        for (larger, smaller) in zip(limits, limits.dropFirst()) where smaller >= mtu - 28 - 52 {
            #expect(sizes.contains { $0 <= larger && $0 > smaller })
        }
        cast.simulation.finish()
    }
}
