// Botan's command line. It has no certificate of its own as a client and asks for none as a server.

import TestSupport
import Testing
import Wire

@Suite(.enabled(if: Program.isInstalled("botan"), "botan is not installed"), .inTurns) struct BotanTests {
    @Test(arguments: Road.allCases)
    func `Botan's client exchanges data with a server`(_ road: Road) async throws {
        let keys = try await TestKeys.shared()
        let application = try UDPEndpoint()
        let port = try FreePorts.next()
        let daemon = try await DaemonFixture(
            credentials(.ecdsa, .server, keys)
                + tunnel(
                    listen: "dtls://127.0.0.1:\(port)", forward: "udp://\(application.endpoint)",
                    "require_client_certificate = false"), settings: "", sharing: "auto")
        let way = road == .good ? nil : try await badPath(to: port, seed: 2)
        let client = try Program([
            "stdbuf", "-o0", "botan", "tls_client", "localhost", "--port=\(way?.port ?? port)", "--type=udp",
            "--trusted-cas=\(keys.path("ca.crt"))", "--skip-system-cert-store",
        ])
        try await client.expect("Handshake complete, DTLS v1.2", within: .seconds(60))
        for round in 1...3 {
            try await eventually("the echo \(round) at \(client)\n\(daemon.log)", every: .milliseconds(200)) {
                client.write("round \(round)\n")
                while let (datagram, source) = application.receive() {
                    application.send(Array("echo ".utf8) + datagram, to: source)
                }
                return client.said.contains("echo round \(round)\n")
            }
        }
        #expect(client.said.contains("Certificate validation status: Verified"), "\(client)")
        let list = try daemon.associations()
        #expect(list.map(\.state) == ["established"] && list.allSatisfy { $0.authFailures == 0 }, "\(list)")
        withExtendedLifetime(way) {}
    }

    /// Where culvert's protocol is offered, its server's hello has an extension that OpenSSL refuses; so nothing is offered.
    @Test func `Botan's server exchanges data with a client`() async throws {
        let keys = try await TestKeys.shared()
        let (port, entrance) = (try FreePorts.next(), try FreePorts.next())
        let server = try Program([
            "botan", "tls_server", keys.path("server.crt"), keys.path("server.key"), "--port=\(port)", "--type=udp",
        ])
        let daemon = try await DaemonFixture(
            credentials(Manner(isMutual: false), .client, keys)
                + tunnel(listen: "udp://127.0.0.1:\(entrance)", forward: "dtls://127.0.0.1:\(port)"),
            settings: "", sharing: "never")
        let sender = try UDPEndpoint()
        for round in 1...3 {
            try await eventually("the echo \(round) of \(server)\n\(daemon.log)", every: .milliseconds(200)) {
                sender.send("round \(round)\n", to: entrance)
                while let (datagram, _) = sender.receive() {
                    if String(decoding: datagram, as: UTF8.self) == "round \(round)\n" { return true }
                }
                return false
            }
        }
        #expect(server.said.contains("Handshake complete, DTLS v1.2"), "\(server)")
    }
}
