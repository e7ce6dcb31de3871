// What an interop test sets up: a daemon in one role, somebody else's program in the other, and the plaintext
// application, which is the test itself.

import TestSupport
import Testing
import Wire

/// The sections of a config that say who this end is and whom it believes.
func credentials(_ manner: Manner, _ role: Role, _ keys: TestKeys, trust: String = "") -> String {
    if manner.isPreShared {
        return role == .server
            ? "[trust.default]\npsk_file = \"\(keys.path("peers.psk"))\"\n"
            : """
            [identity.default]
            psk_identity = "\(manner.identity)"
            psk_file = "\(keys.path("branch-7.psk"))"

            """
    }
    let name = role == .server ? manner.server : manner.client
    let identity = """
        [identity.default]
        certificate = "\(keys.path("\(name).crt"))"
        private_key = "\(keys.path("\(name).key"))"

        """
    return (role == .server || manner.isMutual ? identity : "") + """
        [trust.default]
        ca = "\(keys.path("ca.crt"))"
        \(trust)

        """
}

/// Which part the daemon plays.
enum Role: String, Sendable, CaseIterable, CustomTestStringConvertible {
    case client, server

    var testDescription: String { "culvert as \(rawValue)" }
}

/// A server tunnel's section.
func serverTunnel(
    _ manner: Manner, listen: UInt16, forward: Endpoint, name: String = "under-test", _ settings: String = ""
) -> String {
    """
    [[tunnel]]
    name = "\(name)"
    listen = "dtls://127.0.0.1:\(listen)"
    forward = "udp://\(forward)"
    \(manner.isPreShared ? "" : "require_client_certificate = \(manner.isMutual)")
    ciphers = ["\(manner.suite)"]
    \(settings)

    """
}

/// A client tunnel's section.
func clientTunnel(
    _ manner: Manner, listen: UInt16, forward: UInt16, name: String = "under-test", _ settings: String = ""
) -> String {
    """
    [[tunnel]]
    name = "\(name)"
    listen = "udp://127.0.0.1:\(listen)"
    forward = "dtls://127.0.0.1:\(forward)"
    ciphers = ["\(manner.suite)"]
    \(settings)

    """
}

/// A tunnel's section that says what it has to and nothing else.
func tunnel(_ name: String = "under-test", listen: String, forward: String, _ settings: String = "") -> String {
    """
    [[tunnel]]
    name = "\(name)"
    listen = "\(listen)"
    forward = "\(forward)"
    \(settings)

    """
}

/// culvert as the server, in front of an application that is the test.
final class ServerScene: Sendable {
    let daemon: DaemonFixture
    /// Where peers connect.
    let port: UInt16
    /// The application behind the daemon.
    let application: UDPEndpoint
    let keys: TestKeys

    init(_ manner: Manner = .ecdsa, trust: String = "", _ settings: String = "") async throws {
        keys = try await TestKeys.shared()
        port = try FreePorts.next()
        application = try UDPEndpoint()
        daemon = try await DaemonFixture(
            credentials(manner, .server, keys, trust: trust)
                + serverTunnel(manner, listen: port, forward: application.endpoint, settings))
    }

    /// Has lines cross both ways between the application and a client whose output and input are the test's.
    func converse(_ client: Program, rounds: ClosedRange<Int> = 1...3) async throws {
        for round in rounds {
            client.write("to culvert \(round)\n")
            let (datagram, source) = try await quoting(client) { try await application.next() }
            #expect(String(decoding: datagram, as: UTF8.self) == "to culvert \(round)\n")
            application.send(Array("from culvert \(round)\n".utf8), to: source)
            try await client.expect("from culvert \(round)")
        }
    }

    private func quoting<Value>(_ client: Program, _ body: () async throws -> Value) async throws -> Value {
        do { return try await body() } catch {
            throw Unusable("\(error)\nclient: \(client)\ndaemon: \(daemon.log.suffix(2000))")
        }
    }
}

/// culvert as the client, behind an application that is the test.
final class ClientScene: Sendable {
    let daemon: DaemonFixture
    /// Where the application sends.
    let port: UInt16
    let application: UDPEndpoint

    /// `peer` is the port of the server on 127.0.0.1.
    init(
        _ manner: Manner = .ecdsa, to peer: UInt16, trust: String = "", sharing: String? = nil,
        _ settings: String = ""
    ) async throws {
        let keys = try await TestKeys.shared()
        port = try FreePorts.next()
        application = try UDPEndpoint()
        daemon = try await DaemonFixture(
            credentials(manner, .client, keys, trust: trust)
                + clientTunnel(manner, listen: port, forward: peer, settings), sharing: sharing)
    }

    /// Sends a line, as often as it takes a server that may not listen yet.
    func send(_ text: String) { application.send(text, to: port) }

    /// Has lines cross both ways between the application and a server.
    func converse(_ server: Program, _ tool: Tool, rounds: ClosedRange<Int> = 1...3) async throws {
        for round in rounds {
            send("from culvert \(round)\n")
            if !tool.echoes {
                try await eventually("the line at \(server); \(daemon.log.suffix(2000))") {
                    server.said.contains("from culvert \(round)")
                }
                server.write("to culvert \(round)\n")
            }
            let expected = tool.echoes ? "from culvert \(round)\n" : "to culvert \(round)\n"
            let (datagram, _) = try await eventually("an answer from \(server); \(daemon.log.suffix(2000))") {
                application.receive()
            }
            #expect(String(decoding: datagram, as: UTF8.self) == expected)
        }
    }
}
