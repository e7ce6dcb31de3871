// What the status says of a tunnel that does not work: at once, and the true reason.

import Testing
import TestSupport
import Wire

@Suite struct ProblemTests {
    @Test func `a peer that does not answer is down within seconds, with the reason, until it answers`() async throws {
        let bench = try await Bench()
        // Bound and silent, as behind a firewall that drops.
        var hole: Peer? = try Peer(Endpoint(address: .loopbackIPv4, port: 0))
        let exit = try #require(hole?.endpoint)
        let (entrance, target) = (
            Endpoint(address: .loopbackIPv4, port: try FreePorts.next()),
            try Peer(Endpoint(address: .ownLoopback(), port: 0))
        )
        func tunnel(_ listen: String, _ forward: String) -> String {
            "[[tunnel]]\nname = \"echo\"\nlisten = \"\(listen)\"\nforward = \"\(forward)\"\n"
        }
        try bench.configure("client", tunnels: tunnel("udp://\(entrance)", "dtls://\(exit)"))
        try bench.configure("server", tunnels: tunnel("dtls://\(exit)", "udp://\(target.endpoint)"))
        let client = try await bench.start("client")
        try await eventually("DOWN and why: \(client.log)", within: .seconds(8)) {
            let summary = try client.client.status().tunnels[0]
            return summary.state == .down && summary.problem?.contains("\(exit) has not answered") == true
        }
        #expect(client.lines(with: "\(exit) has not answered yet: check that it runs").count == 1, "\(client.log)")
        hole = nil
        let server = try await bench.start("server")
        try await eventually("UP: \(client.log)", within: .seconds(30)) {
            let summary = try client.client.status().tunnels[0]
            return summary.state == .up && summary.problem == nil && server.process.isRunning
        }
    }

    @Test func `the status of both ends says why no handshake succeeds`() async throws {
        let bench = try await Bench()
        let exit = Endpoint(address: .loopbackIPv4, port: try FreePorts.next())
        try bench.configure(
            "server",
            tunnels: "[[tunnel]]\nname = \"echo\"\nlisten = \"dtls://\(exit)\"\nforward = \"udp://127.0.0.1:9\"\n")
        try bench.configure(
            "client", authority: "other-ca",
            tunnels:
                "[[tunnel]]\nname = \"echo\"\nlisten = \"udp://127.0.0.1:\(try FreePorts.next())\"\nforward = \"dtls://\(exit)\"\n"
        )
        let (server, client) = (try await bench.start("server"), try await bench.start("client"))
        try await eventually("the reason at both ends: \(client.log)\(server.log)") {
            let (down, idle) = (try client.client.status().tunnels[0], try server.client.status().tunnels[0])
            return down.state == .down && down.problem?.contains("unable to get local issuer certificate") == true
                && idle.state == .idle
                && idle.lastFailure?.contains("handshake with 127.0.0.1") == true
        }
    }
}
