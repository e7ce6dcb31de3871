// Extensions of a hello that libssl answers on our behalf: what is answered must be kept.

import TestSupport
import Testing

@Suite struct HelloExtensionTests {
    @Test(arguments: [512, 1024]) func `a client that asks for small records gets no larger ones`(_ bound: Int)
        async throws
    {
        let scene = try await ServerScene()
        let client = try Tool.openssl.client(
            .ecdsa, port: scene.port, keys: scene.keys, extra: ["-maxfraglen", "\(bound)"])
        client.write("to culvert 0\n")
        let (_, source) = try await eventually("a line from \(client)") { scene.application.receive() }
        // As large as it may be, and one byte more.
        scene.application.send([UInt8](repeating: UInt8(ascii: "a"), count: bound), to: source)
        scene.application.send([UInt8](repeating: UInt8(ascii: "b"), count: bound + 1), to: source)
        try await client.expect(String(repeating: "a", count: bound))
        try await scene.daemon.associations("one that is too large") {
            $0.first?.dropped["oversize"] == 1 && $0.first?.datagrams.out == 1
        }
        // The client is still there, and goes on.
        try await scene.converse(client)
        #expect(!client.said.contains("bbb"))
        try await scene.daemon.line(with: "dropped a datagram of \(bound + 1) bytes", "\(bound)")
    }

    @Test(arguments: [("second.example", true), ("third.example", false)])
    func `a server's name is acknowledged only where it decides something`(name: String, decides: Bool) async throws {
        let keys = try await TestKeys.shared()
        let (port, application) = (try FreePorts.next(), try UDPEndpoint())
        let tunnels = ["first", "second"].map {
            serverTunnel(
                .ecdsa, listen: port, forward: application.endpoint, name: $0,
                $0 == "second" ? "server_name = \"second.example\"" : "")
        }
        let daemon = try await DaemonFixture(credentials(.ecdsa, .server, keys) + tunnels.joined())
        let client = try Tool.openssl.client(
            .ecdsa, port: port, keys: keys, extra: ["-servername", name, "-tlsextdebug"])
        client.write("to culvert\n")
        _ = try await eventually("a line from \(client)") { application.receive() }
        #expect(client.said.contains("TLS server extension \"server name\"") == decides, "\(client)")
        #expect(try daemon.associations().map(\.tunnel) == [decides ? "second" : "first"])
    }
}
