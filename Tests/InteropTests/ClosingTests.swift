// Either end says goodbye, and the other one hears it. RFC 5246 §7.2.1.

import TestSupport
import Testing

@Suite(.needs(Tool.allCases), .inTurns) struct ClosingTests {
    @Test(arguments: Tool.allCases)
    func `an association goes when its client says goodbye`(_ tool: Tool) async throws {
        let scene = try await ServerScene()
        let client = try tool.client(.ecdsa, port: scene.port, keys: scene.keys)
        try await scene.converse(client)
        try await scene.daemon.associations("one association") { $0.count == 1 }
        if tool == .openssl { client.write("Q\n") }
        client.closeInput()
        try await scene.daemon.associations("no association any more") { $0.isEmpty }
        try await scene.daemon.line(with: "127.0.0.1:", "(DNS:edge-7", "ended: the peer closed it")
        #expect(try await client.expectExit() == 0)
    }

    /// Of the servers, only socat says goodbye: s_server closes its socket first, gnutls-serv never does it over UDP.
    @Test func `a client's association is idle when its server said goodbye, and comes back with the next datagram`()
        async throws
    {
        let keys = try await TestKeys.shared()
        let port = try FreePorts.next()
        let server = try await Tool.socat.server(.ecdsa, port: port, keys: keys)
        let scene = try await ClientScene(to: port)
        try await scene.converse(server, .socat)
        server.closeInput()
        try await scene.daemon.associations("an idle association") { $0.map(\.state) == ["idle"] }
        try await scene.daemon.line(with: "127.0.0.1:\(port)", "ended: the peer closed it")
        try await server.expectExit()
        let next = try await Tool.socat.server(.ecdsa, port: port, keys: keys)
        try await scene.converse(next, .socat, rounds: 4...5)
        #expect(try scene.daemon.associations().map(\.state) == ["established"])
    }

    @Test(arguments: Tool.allCases)
    func `a server that is stopped says goodbye to its clients within a second`(_ tool: Tool) async throws {
        let scene = try await ServerScene()
        let client = try tool.client(.ecdsa, port: scene.port, keys: scene.keys)
        try await scene.converse(client)
        let begin = ContinuousClock.now
        #expect(try await scene.daemon.stop() == 0)
        #expect(ContinuousClock.now - begin < .seconds(1))
        try await client.expectExit()
        switch tool {
        case .openssl: #expect(client.said.contains("closed"), "\(client)")
        case .gnutls: #expect(client.said.contains("Peer has closed the GnuTLS connection"), "\(client)")
        case .socat: #expect(client.status == 0, "\(client)")
        }
    }

    /// gnutls-serv shows nothing when it is told goodbye over UDP.
    @Test(arguments: [Tool.openssl, .socat])
    func `a client that is stopped says goodbye to its server`(_ tool: Tool) async throws {
        let keys = try await TestKeys.shared()
        let port = try FreePorts.next()
        let server = try await tool.server(.ecdsa, port: port, keys: keys)
        let scene = try await ClientScene(to: port)
        try await scene.converse(server, tool)
        #expect(try await scene.daemon.stop() == 0)
        if tool == .openssl {
            try await server.expect("DONE")
        } else {
            #expect(try await server.expectExit() == 0, "\(server)")
        }
    }
}
