// A real application over DTLS: libcoap's client and server, one end with its own DTLS, the other in plaintext behind
// culvert.

import TestSupport
import Testing
import Wire

private let hasCoAP = ["coap-client-openssl", "coap-client-gnutls", "coap-client-notls", "coap-server-notls"].allSatisfy
{
    Program.isInstalled($0)
}

@Suite(.enabled(if: hasCoAP, "libcoap3-bin is not installed"), .inTurns) struct CoAPTests {
    @Test(arguments: ["openssl", "gnutls"], [Manner.ecdsa, .preShared])
    func `a CoAP client with DTLS reaches a CoAP server without`(library: String, manner: Manner) async throws {
        let keys = try await TestKeys.shared()
        let (plain, secure) = (try FreePorts.next(), try FreePorts.next())
        let server = try Program(["coap-server-notls", "-A", "127.0.0.1", "-p", "\(plain)", "-v", "7"])
        let daemon = try await DaemonFixture(
            credentials(manner, .server, keys)
                + serverTunnel(
                    manner, listen: secure, forward: Endpoint(address: .loopbackIPv4, port: plain)))
        var arguments = ["coap-client-\(library)", "-B", "20", "-v", "6", "-m", "get"]
        arguments +=
            manner.isPreShared
            ? ["-u", "coap", "-k", keys.preSharedText]
            : ["-c", keys.path("client.crt"), "-j", keys.path("client.key"), "-C", keys.path("ca.crt")]
        let (status, said) = try await Program.run(
            arguments + ["coaps://127.0.0.1:\(secure)/.well-known/core"], within: .seconds(40))
        #expect(status == 0 && said.contains("</time>"), "\(said)\n\(server)\n\(daemon.log)")
        try await daemon.line(with: manner.isPreShared ? "psk:coap" : "DNS:edge-7", "established")
    }

    @Test(arguments: ["openssl", "gnutls"])
    func `a CoAP client without DTLS reaches a CoAP server with`(library: String) async throws {
        let keys = try await TestKeys.shared()
        let (plain, base) = (try FreePorts.next(), try FreePorts.next())
        // libcoap's server takes DTLS at the port after its plaintext one.
        let server = try Program([
            "coap-server-\(library)", "-A", "127.0.0.1", "-p", "\(base)", "-v", "6", "-c", keys.path("server.crt"),
            "-j", keys.path("server.key"), "-C", keys.path("ca.crt"),
        ])
        let daemon = try await DaemonFixture(
            credentials(.ecdsa, .client, keys) + clientTunnel(.ecdsa, listen: plain, forward: base + 1))
        let (status, said) = try await Program.run(
            ["coap-client-notls", "-B", "20", "-m", "get", "coap://127.0.0.1:\(plain)/.well-known/core"],
            within: .seconds(40))
        #expect(status == 0 && said.contains("</time>"), "\(said)\n\(server)\n\(daemon.log)")
        try await daemon.line(with: "DNS:localhost", "established")
    }

    /// Each seed's client asks for a confirmation of what it sends, so that CoAP repeats what gets lost. RFC 7252 §4.2.
    @Test(arguments: Role.allCases)
    func `libcoap on GnuTLS gets along over bad paths`(_ role: Role) async throws {
        let keys = try await TestKeys.shared()
        let (plain, base) = (try FreePorts.next(), try FreePorts.next())
        let secure = base + 1
        let server = try Program(
            role == .server
                ? ["coap-server-notls", "-A", "127.0.0.1", "-p", "\(plain)"]
                : [
                    "coap-server-gnutls", "-A", "127.0.0.1", "-p", "\(base)", "-c", keys.path("server.crt"),
                    "-j", keys.path("server.key"), "-C", keys.path("ca.crt"),
                ])
        let ways = try await Road.bad.ways(to: secure)
        let entrances = try ways.ports.map { _ in try FreePorts.next() }
        let tunnels =
            role == .server
            ? tunnel(listen: "dtls://127.0.0.1:\(secure)", forward: "udp://127.0.0.1:\(plain)")
            : zip(entrances, ways.ports).map { entrance, way in
                tunnel("by-\(way)", listen: "udp://127.0.0.1:\(entrance)", forward: "dtls://127.0.0.1:\(way)")
            }.joined()
        let daemon = try await DaemonFixture(credentials(.ecdsa, role, keys) + tunnels, settings: "", sharing: "auto")
        let complaints = try await withThrowingTaskGroup(of: String?.self) { group in
            for (entrance, way) in zip(entrances, ways.ports) {
                let arguments =
                    role == .server
                    ? [
                        "coap-client-gnutls", "-B", "20", "-c", keys.path("client.crt"), "-j", keys.path("client.key"),
                        "-C", keys.path("ca.crt"), "coaps://127.0.0.1:\(way)/.well-known/core",
                    ] : ["coap-client-notls", "-B", "20", "coap://127.0.0.1:\(entrance)/.well-known/core"]
                group.addTask { try await Self.complaint(of: arguments) }
            }
            return try await group.reduce(into: []) { if let complaint = $1 { $0.append(complaint) } }
        }
        #expect(complaints.isEmpty, "\(complaints)\n\(server)\n\(daemon.log.suffix(3000))")
        #expect(try daemon.associations().allSatisfy { $0.authFailures == 0 })
        withExtendedLifetime(ways) {}
    }

    /// Runs a client until it gets its answer: it gives up before its time when its own handshake takes too long.
    private static func complaint(of arguments: [String]) async throws -> String? {
        var last = ""
        for _ in 1...5 {
            last = try await Program.run(arguments, within: .seconds(40)).said
            if last.contains("</time>") { return nil }
        }
        return last
    }
}
