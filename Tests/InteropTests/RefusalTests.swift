// A peer that is not who it has to be: one line of the daemon's log says who, why and what to do, and the other program
// gets an alert.

import Foundation
import TestSupport
import Testing

@Suite(.needs(Tool.allCases), .inTurns) struct RefusalTests {
    /// A handshake that has to fail.
    struct Case: Sendable, CustomTestStringConvertible {
        var tool = Tool.openssl
        var what: String
        var manner = Manner.ecdsa
        /// What the other program does differently.
        var peer: Manner?
        /// More of `[trust.default]`; `{}` stands for the directory of the keys.
        var trust = ""
        /// More of the tunnel's section.
        var settings = ""
        /// What the line of the log says.
        var line: [String]
        /// The alert, by its number.
        var alert: Int

        var testDescription: String { "\(what), \(tool.rawValue)" }

        private static let names = [
            42: "alert bad certificate", 45: "alert certificate expired", 48: "alert unknown ca",
        ]

        /// Whether the program says, if it does such things that it got the alert.
        func isHeard(by program: Program) -> Bool {
            switch tool {
            case .openssl: program.said.contains("alert number \(alert)")
            case .socat where alert == 49: program.status != nil
            case .socat:
                // The rest of its flight may find culvert's socket closed, and it reads of that before it reads the alert.
                program.said.contains(Self.names[alert] ?? "?") || program.said.contains("Connection refused")
            case .gnutls:
                program.said.contains("[\(alert)]") || program.said.contains("TLS fatal alert has been received")
            }
        }
    }

    private static func changed(_ change: (inout Manner) -> Void, from manner: Manner = .ecdsa) -> Manner {
        var manner = manner
        change(&manner)
        return manner
    }

    /// Clients that a server refuses.
    static let clients = [Tool.openssl, .gnutls].flatMap { tool in
        let preShared = tool == .gnutls ? Manner.plainPreShared : .preShared
        return [
            Case(
                tool: tool, what: "another authority", peer: changed { $0.client = "stranger" },
                line: ["unable to get local issuer certificate (CN=stranger)", "check that trust.ca has CN=other CA"],
                alert: 48),
            Case(
                tool: tool, what: "no certificate", peer: changed { $0.isMutual = false },
                line: [
                    "peer did not return a certificate",
                    "give the peer a certificate, or set require_client_certificate = false",
                ], alert: 40),
            Case(
                tool: tool, what: "an expired certificate", peer: changed { $0.client = "expired" },
                line: ["certificate has expired (CN=expired)", "it expired at 2024-02-01", "renew it"], alert: 45),
            Case(
                tool: tool, what: "a revoked certificate", peer: changed { $0.client = "revoked" },
                trust: "crl = \"{}/crl.pem\"",
                line: ["certificate revoked (CN=revoked)", "it is on the list in trust.crl"], alert: 44),
            Case(
                tool: tool, what: "a name that is not let in", settings: "allow_peers = [\"CN:edge-8\"]",
                line: ["refused 127.0.0.1:", "DNS:edge-7 is not in allow_peers; add it there if it should be let in"],
                alert: 49),
            Case(
                tool: tool, what: "an unknown identity", manner: preShared,
                peer: changed({ $0.identity = "branch-9" }, from: preShared),
                line: [
                    "the peer's pre-shared key identity \"branch-9\" is not known here",
                    "add it to trust.psk_file, or correct the peer's psk_identity",
                ], alert: 51),
            Case(
                tool: tool, what: "a wrong key", manner: preShared,
                peer: changed({ $0.wrongKey = String(repeating: "66", count: 32) }, from: preShared),
                line: [
                    "the peer's pre-shared key for the identity \"branch-7\" is not the one known here",
                    "give both ends the same key",
                ], alert: 51),
        ]
    }

    /// Servers that a client refuses.
    static let servers = [Tool.openssl, .gnutls, .socat].flatMap { tool in
        [
            Case(
                tool: tool, what: "another authority", peer: changed { $0.server = "stranger-server" },
                line: ["unable to get local issuer certificate (CN=localhost)", "check that trust.ca has CN=other CA"],
                alert: 48),
            Case(
                tool: tool, what: "another name", settings: "server_name = \"collector.example.net\"",
                line: [
                    "hostname mismatch (CN=localhost)", "the certificate is for DNS:localhost", "IP:127.0.0.1",
                    "set server_name to a name it is for",
                ], alert: 42),
            Case(
                tool: tool, what: "an expired certificate", peer: changed { $0.server = "expired-server" },
                line: ["certificate has expired (CN=localhost)", "it expired at 2024-02-01", "renew it"], alert: 45),
            Case(
                tool: tool, what: "a name that is not allowed", settings: "allow_peers = [\"CN:collector\"]",
                line: [
                    "refused 127.0.0.1:", "DNS:localhost is not in allow_peers; add it there if it should be let in",
                ], alert: 49),
        ]
    }

    @Test(arguments: clients)
    func `a server refuses a client with`(_ given: Case) async throws {
        let keys = try await TestKeys.shared()
        let trust = given.trust.replacingOccurrences(of: "{}/", with: keys.path(""))
        let scene = try await ServerScene(given.manner, trust: trust, given.settings)
        let client = try given.tool.client(given.peer ?? given.manner, port: scene.port, keys: keys)
        try await expectRefusal(given, by: scene.daemon, of: client)
        try await scene.daemon.associations("no association") { $0.isEmpty }
        // Nobody else is hurt.
        let good = try given.tool.client(given.manner, port: scene.port, keys: keys)
        if given.settings.isEmpty { try await scene.converse(good) }
    }

    @Test(arguments: servers)
    func `a client refuses a server with`(_ given: Case) async throws {
        let keys = try await TestKeys.shared()
        let port = try FreePorts.next()
        let server = try await given.tool.server(given.peer ?? given.manner, port: port, keys: keys)
        let scene = try await ClientScene(given.manner, to: port, given.settings)
        scene.send("never to be seen\n")
        try await expectRefusal(given, by: scene.daemon, of: server)
        let association = try #require(try scene.daemon.associations().first)
        #expect(["reconnecting", "handshaking"].contains(association.state) && association.datagrams.out == 0)
        #expect(!server.said.contains("never to be seen"))
    }

    private func expectRefusal(_ given: Case, by daemon: DaemonFixture, of program: Program) async throws {
        let line = try await eventually("\(given.line) in the log:\n\(daemon.log)\npeer: \(program)") {
            daemon.log.split(whereSeparator: \.isNewline).map(String.init).first { line in
                given.line.allSatisfy { line.contains($0) }
            }
        }
        #expect(line.contains(" warning under-test: ") && line.contains("127.0.0.1:"))
        try await eventually("alert \(given.alert) at \(program)") { given.isHeard(by: program) }
    }
}
