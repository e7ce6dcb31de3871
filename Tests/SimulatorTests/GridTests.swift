// The grid of issue and design: every loss, link MTU and kind of authentication, in virtual time.

import Impairment
import Settings
import Testing
import Tunnel

@Suite struct GridTests {
    struct Case: CustomTestStringConvertible {
        var loss: Double
        var mtu: Int
        var clientShowsCertificate: Bool
        var usesLargeServerCertificate = false

        var testDescription: String {
            "\(Int(loss * 100)) % loss, MTU \(mtu), \(clientShowsCertificate ? "with" : "no") client certificate"
                + (usesLargeServerCertificate ? ", RSA-4096 chain" : "")
        }
    }

    static let grid: [Case] = [0, 0.1, 0.2, 0.5].flatMap { loss in
        [576, 1280, 1500].flatMap { mtu in
            [true, false].map { Case(loss: loss, mtu: mtu, clientShowsCertificate: $0) }
        }
    }

    static let large: [Case] = [0, 0.1, 0.2, 0.5].flatMap { loss in
        [576, 1280, 1500].map {
            Case(loss: loss, mtu: $0, clientShowsCertificate: true, usesLargeServerCertificate: true)
        }
    }

    @Test(arguments: grid + large)
    func `every handshake completes and data crosses both ways`(item: Case) throws {
        for seed in 1...4 as ClosedRange<UInt64> {
            let simulation = Simulation(.path(loss: item.loss, mtu: item.mtu), seed: seed)
            let keys = SimulatorKeys.Choice(
                clientShowsCertificate: item.clientShowsCertificate,
                usesLargeServerCertificate: item.usesLargeServerCertificate)
            let server = try simulation.addServer(.init(keys: keys))
            // One datagram has to last for all attempts.
            let limits = TunnelLimits(flowTimeout: .seconds(24 * 3600))
            let client = try simulation.addClient(.init(limits: limits, keys: keys))
            let application = simulation.addApplication(at: client)
            application.send()

            let isUp = simulation.run(within: .seconds(2 * 3600)) { client.handshakes > 0 }
            #expect(isUp, "no handshake after \(client.engines.count) attempts with seed \(seed)")
            application.send(100, every: .milliseconds(100), size: 400)
            simulation.run(for: .seconds(15))

            // With a loss of one half in each direction, a quarter comes back: 25 of 100, and 8 is far off.
            let survivors = 100 * (1 - item.loss) * (1 - item.loss)
            #expect(Double(application.received.count) >= (item.loss == 0 ? 100 : survivors / 3), "seed \(seed)")
            #expect(server.target.deliveries(application).count >= application.received.count)
            simulation.finish()
            #expect(application.received.repeated == 0 && application.received.damaged == 0)
        }
    }
}
