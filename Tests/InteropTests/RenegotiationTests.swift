// A peer that wants to negotiate anew is refused, and nothing else happens to the association.

import TestSupport
import Testing

@Suite(.needs([.openssl, .gnutls]), .inTurns) struct RenegotiationTests {
    @Test func `s_client is told that there is no renegotiation, and nobody else is hurt`() async throws {
        let scene = try await ServerScene()
        let bystander = try Tool.openssl.client(.ecdsa, port: scene.port, keys: scene.keys)
        try await scene.converse(bystander)
        let client = try Tool.openssl.client(.ecdsa, port: scene.port, keys: scene.keys)
        try await scene.converse(client)
        client.write("R\n")
        // OpenSSL takes the answer for fatal and ends the association by itself.
        try await client.expect("no renegotiation")
        try await scene.daemon.line(with: "ended: the peer sent alert handshake_failure")
        try await scene.converse(bystander, rounds: 4...6)
        #expect(try scene.daemon.associations().map(\.state) == ["established"])
    }

    @Test func `gnutls-cli is told that there is no renegotiation, and its association lives on`() async throws {
        let scene = try await ServerScene()
        let client = try Tool.gnutls.client(.ecdsa, port: scene.port, keys: scene.keys, extra: ["--rehandshake"])
        try await scene.daemon.associations("a refused renegotiation") {
            $0.first?.dropped["renegotiation"] ?? 0 > 0
        }
        try await client.expect("A TLS warning alert has been received")
        #expect(try scene.daemon.associations().map(\.state) == ["established"], "\(client)")
    }

    @Test(arguments: [Tool.openssl, .gnutls])
    func `a server's wish to renegotiate comes to nothing and data goes on`(_ tool: Tool) async throws {
        let keys = try await TestKeys.shared()
        let port = try FreePorts.next()
        let server = try await tool.server(.ecdsa, port: port, keys: keys)
        let scene = try await ClientScene(to: port)
        try await scene.converse(server, tool)
        let id = try scene.daemon.associations().first?.id
        if tool == .openssl { server.write("r\n") } else { scene.send("**REHANDSHAKE**\n") }
        try await scene.daemon.associations("a refused renegotiation") {
            // GnuTLS does not go on before it is told, which is after it has asked twice.
            $0.first?.dropped["renegotiation"] ?? 0 >= (tool == .gnutls ? 2 : 1)
        }
        try await scene.converse(server, tool, rounds: 4...6)
        let associations = try scene.daemon.associations()
        #expect(associations.map(\.state) == ["established"], "\(server)")
        #expect(associations.first?.id == id && id != nil)
        #expect(!scene.daemon.log.contains("ended:"), "\(scene.daemon.log)")
    }
}
