// The daemon and everybody else's programs: every kind of key, cipher and curve, in both roles, with data both ways.

import TestSupport
import Testing

@Suite(.needs(Tool.allCases), .inTurns) struct HandshakeTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var tool: Tool
        var manner: Manner
        var testDescription: String { "\(tool.rawValue), \(manner.testDescription)" }

        static let all = Tool.allCases.flatMap { tool in
            // socat knows no pre-shared keys.
            Manner.all.filter { tool != .socat || !$0.isPreShared }.map { Case(tool: tool, manner: $0) }
        }
    }

    /// gnutls-cli 3.7.9 itself crashes after any handshake by ECDHE-PSK (in gnutls_psk_server_get_username).
    static let clientCases = Case.all.filter { $0.tool != .gnutls || $0.manner.suite != Manner.preShared.suite }

    @Test(arguments: clientCases)
    func `a server exchanges data with a client of another make`(_ given: Case) async throws {
        let scene = try await ServerScene(given.manner)
        let client = try given.tool.client(given.manner, port: scene.port, keys: scene.keys)
        try await scene.converse(client)
        let association = try #require(try scene.daemon.associations().first)
        #expect(association.state == "established" && association.role == "server")
        #expect(association.cipher == given.manner.suite)
        let identity = given.manner.isPreShared ? "branch-7" : given.manner.isMutual ? "edge-7" : "anonymous"
        #expect(association.peerIdentity?.contains(identity) == true)
        #expect(association.datagrams.in == 3 && association.datagrams.out == 3)
    }

    @Test(arguments: Case.all)
    func `a client exchanges data with a server of another make`(_ given: Case) async throws {
        let keys = try await TestKeys.shared()
        let port = try FreePorts.next()
        let server = try await given.tool.server(given.manner, port: port, keys: keys)
        let scene = try await ClientScene(given.manner, to: port)
        try await scene.converse(server, given.tool)
        let association = try #require(try scene.daemon.associations().first)
        #expect(association.state == "established" && association.role == "client")
        #expect(association.cipher == given.manner.suite)
        #expect(association.datagrams.in == 3 && association.datagrams.out == 3)
    }
}
