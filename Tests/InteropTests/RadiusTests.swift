// RADIUS over DTLS (RFC 7360): radsecproxy with its own DTLS at one end, culvert at the other, freeradius behind them.

import TestSupport
import Testing

private let missing = ["radsecproxy", "radclient", "freeradius"].filter { !Program.isInstalled($0) }

@Suite(.enabled(if: missing.isEmpty, "not installed: \(missing.joined(separator: ", "))"), .inTurns)
struct RadiusTests {
    @Test(arguments: Role.allCases, Road.allCases)
    func `RADIUS goes through radsecproxy and culvert`(_ role: Role, _ road: Road) async throws {
        let keys = try await TestKeys.shared()
        let directory = try TemporaryDirectory()
        let (radius, entrance, wire) = (try FreePorts.next(), try FreePorts.next(), try FreePorts.next())
        let server = try radiusServer(radius, directory)
        // radsecproxy gives a handshake five seconds and pauses before the next one: with this seed few are needed.
        let way = road == .good ? nil : try await badPath(to: wire, seed: 4)
        let target = way?.port ?? wire
        let (proxy, daemon): (Program, DaemonFixture)
        switch role {
        case .client:
            proxy = try radsecproxy(Self.behind(wire, radius), "server", keys, directory)
            daemon = try await DaemonFixture(
                credentials(.ecdsa, .client, keys)
                    + tunnel(listen: "udp://127.0.0.1:\(entrance)", forward: "dtls://127.0.0.1:\(target)"),
                settings: "", sharing: "auto")
        case .server:
            daemon = try await DaemonFixture(
                credentials(.ecdsa, .server, keys)
                    + tunnel(listen: "dtls://127.0.0.1:\(wire)", forward: "udp://127.0.0.1:\(radius)"),
                settings: "", sharing: "auto")
            proxy = try radsecproxy(Self.before(entrance, target), "client", keys, directory)
        }
        try await server.expect("Ready to process requests", within: .seconds(60))
        let complaint = try await complaint(ofRadiusAt: entrance, directory, tries: road == .good ? 10 : 60)
        #expect(complaint == nil, "\(complaint ?? "")\n\(proxy)\n\(server)\n\(daemon.log)")
        try await daemon.line(with: role == .client ? "DNS:localhost" : "DNS:edge-7", "established")
        #expect(try daemon.associations().allSatisfy { $0.authFailures == 0 })
        #expect(try await daemon.stop() == 0)
        withExtendedLifetime(way) {}
    }

    private func radsecproxy(
        _ config: String, _ name: String, _ keys: TestKeys, _ directory: TemporaryDirectory
    ) throws -> Program {
        let file = try directory.write(
            """
            tls default {
                CACertificateFile \(keys.path("ca.crt"))
                CertificateFile \(keys.path("\(name).crt"))
                CertificateKeyFile \(keys.path("\(name).key"))
            }
            \(config)
            realm * {
                server next
            }

            """, "radsecproxy.conf")
        return try Program(["radsecproxy", "-f", "-d", "2", "-c", file, "-i", directory("radsecproxy.pid")])
    }

    // By default radsecproxy asks again after five seconds, and takes nobody's repetition within twenty.

    /// It takes DTLS at `wire` and gives it to freeradius.
    private static func behind(_ wire: UInt16, _ radius: UInt16) -> String {
        """
        ListenUDP 127.0.0.1:0
        ListenDTLS 127.0.0.1:\(wire)
        client edge {
            type dtls
            host 127.0.0.1
            secret testing123
            certificateNameCheck off
            matchCertificateAttribute CN:/^edge-7$/
            duplicateInterval 1
        }
        server next {
            type udp
            host 127.0.0.1
            port \(radius)
            secret testing123
        }
        """
    }

    /// It takes plaintext at `entrance` and gives it to a DTLS server.
    private static func before(_ entrance: UInt16, _ target: UInt16) -> String {
        """
        ListenUDP 127.0.0.1:\(entrance)
        client local {
            type udp
            host 127.0.0.1
            secret testing123
            duplicateInterval 1
        }
        server next {
            type dtls
            host 127.0.0.1
            port \(target)
            secret testing123
            retryInterval 1
            retryCount 5
        }
        """
    }
}
