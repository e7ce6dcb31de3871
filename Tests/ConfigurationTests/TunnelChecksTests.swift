// What can only be seen in several tunnels together.

import Configuration
import Settings
import Testing
import Wire

/// Tunnels from name, listen and forward address; the first begins in line 6, each takes four lines.
private func tunnels(_ all: (String, String, String)...) -> String {
    all.reduce(into: preamble) {
        $0 += "[[tunnel]]\nname = '\($1.0)'\nlisten = '\($1.1)'\nforward = '\($1.2)'\n"
    }
}

struct TunnelChecksTests {
    @Test func `a name given twice names both places`() {
        let text = tunnels(
            ("a", "udp://127.0.0.1:1", "dtls://h:1"), ("b", "udp://127.0.0.1:2", "dtls://h:1"),
            ("a", "udp://127.0.0.1:3", "dtls://h:1"))
        #expect(check(text) == ["c.toml:15:8: error: a tunnel named 'a' exists already, at c.toml:7:8"])
    }

    @Test(arguments: [
        ("udp://127.0.0.1:5", "udp://127.0.0.1:5", "127.0.0.1:5 is already taken by tunnel 'a' at c.toml:8:10"),
        ("udp://127.0.0.1:5", "udp://localhost:5", "127.0.0.1:5 is already taken by tunnel 'a' at c.toml:8:10"),
        ("dtls://[::]:5", "udp://127.0.0.1:5", "127.0.0.1:5 overlaps with [::]:5, taken by tunnel 'a' at c.toml:8:10"),
        (
            "udp://127.0.0.1:5", "dtls://0.0.0.0:5",
            "0.0.0.0:5 overlaps with 127.0.0.1:5, taken by tunnel 'a' at c.toml:8:10"
        ),
        ("dtls://0.0.0.0:5", "dtls://[::]:5", "[::]:5 overlaps with 0.0.0.0:5, taken by tunnel 'a' at c.toml:8:10"),
        ("udp://[::1]:5", "udp://[0:0:0:0:0:0:0:1]:5", "[::1]:5 is already taken by tunnel 'a' at c.toml:8:10"),
    ])
    func `clashing ports are seen`(first: String, second: String, expected: String) {
        func target(_ listen: String) -> String { listen.hasPrefix("udp") ? "dtls://h:1" : "udp://10.0.0.1:1" }
        let text = tunnels(("a", first, target(first)), ("b", second, target(second)))
        #expect(check(text) == ["c.toml:12:10: error: \(expected)"])
    }

    @Test func `a clash is seen even in tunnels with other mistakes`() {
        let text = tunnels(("a", "udp://127.0.0.1:5", "dtls://h"), ("", "udp://127.0.0.1:5", "h:1"))
        #expect(check(text).contains("c.toml:12:10: error: 127.0.0.1:5 is already taken by tunnel 'a' at c.toml:8:10"))
    }

    @Test func `ports that do not clash are accepted`() throws {
        let text = tunnels(
            ("a", "udp://127.0.0.1:5", "dtls://h:1"), ("b", "udp://127.0.0.2:5", "dtls://h:1"),
            ("c", "udp://127.0.0.1:6", "dtls://h:1"), ("d", "udp://[::1]:5", "dtls://h:1"),
            ("e", "dtls://0.0.0.0:7", "udp://127.0.0.1:8"))
        #expect(try parsed(text).tunnels.count == 5)
    }

    @Test(arguments: [
        ("udp://127.0.0.1:5", "dtls://127.0.0.1:5"), ("udp://127.0.0.1:5", "dtls://localhost:5"),
        ("dtls://[::]:5", "udp://127.0.0.1:5"),
        ("dtls://[::]:5", "udp://[::1]:5"), ("dtls://0.0.0.0:5", "udp://127.8.8.8:5"),
        ("udp://127.0.0.1:5", "dtls://0.0.0.0:5"),
        ("dtls://192.0.2.1:5", "udp://192.0.2.1:5"),
    ])
    func `a tunnel that feeds itself is refused`(listen: String, forward: String) {
        #expect(
            check(tunnels(("a", listen, forward)))
                == ["c.toml:9:11: error: 'forward' leads back to the tunnel's own 'listen' address"])
    }

    @Test func `a circle of tunnels is refused once`() {
        let text = tunnels(
            ("x", "udp://127.0.0.1:4", "dtls://127.0.0.1:6"), ("a", "udp://127.0.0.1:5", "dtls://127.0.0.1:6"),
            ("b", "dtls://127.0.0.1:6", "udp://127.0.0.1:5"))
        #expect(check(text) == ["c.toml:17:11: error: these tunnels forward to each other in a circle: 'b', 'a'"])
    }

    @Test func `a client and a server in one process are accepted`() throws {
        let text = tunnels(
            ("a", "udp://127.0.0.1:5", "dtls://127.0.0.1:6"), ("b", "dtls://127.0.0.1:6", "udp://127.0.0.1:7"),
            ("c", "dtls://0.0.0.0:8", "udp://192.0.2.1:8"))
        #expect(try parsed(text).tunnels.count == 3)
    }

    @Test func `thousands of tunnels are checked without delay, more are refused`() throws {
        func text(_ count: Int) -> String {
            (0..<count).reduce(into: preamble) {
                let address = "127.\($1 >> 16 & 255).\($1 >> 8 & 255).\($1 & 255)"
                $0 += "[[tunnel]]\nname='\($1)'\nlisten='udp://\(address):5'\nforward='dtls://h:1'\n"
            }
        }
        #expect(try parsed(text(Configuration.maximumTunnels)).tunnels.count == 4096)
        #expect(check(text(Configuration.maximumTunnels + 1)) == ["c.toml:16390:1: error: more than 4096 tunnels"])
    }
}

struct ValueTests {
    @Test func `what is not said has its default`() throws {
        let configuration = try parsed(
            tunnels(("a", "udp://localhost:5", "dtls://Host.example.net.:6"), ("b", "dtls://[::]:7", "udp://[::1]:8")))
        #expect(configuration.daemon == DaemonSettings())
        #expect(configuration.daemon.workers == 0)
        #expect(configuration.daemon.controlSocket.value == "/run/culvert/control.sock")
        #expect(configuration.daemon.logLevel == .info)
        #expect(configuration.daemon.logFormat == .auto)
        let (client, server) = (configuration.tunnels[0], configuration.tunnels[1])
        #expect(client.listen.value == Endpoint(address: .loopbackIPv4, port: 5))
        #expect(client.forward.value.description == "dtls://host.example.net:6")
        #expect(client.serverName == .name("host.example.net"))
        #expect(server.listen.value == Endpoint(address: .anyIPv6, port: 7))
        #expect(server.forward.value == TransportAddress(scheme: .udp, host: .address(.loopbackIPv6), port: 8))
        #expect(server.forward.value.description == "udp://[::1]:8")
        #expect(server.serverName == nil)
        for tunnel in configuration.tunnels {
            #expect(tunnel.identity?.name == "default")
            #expect(tunnel.trust?.name == "default")
            #expect(tunnel.cookieExchange && tunnel.requireClientCertificate && tunnel.requireExtendedMasterSecret)
            #expect(tunnel.ciphers == CipherSuites.standard)
            let limits = tunnel.limits
            #expect(tunnel.access.sources.isEmpty && tunnel.access.peers.isEmpty)
            #expect(tunnel.limits.flowTimeout == .seconds(300))
            #expect(
                [limits.maximumFlows, limits.maximumAssociations, limits.maximumHandshakes] == [16384, 16384, 1024])
            #expect(tunnel.oversize == .fragment)
            #expect(tunnel.reconnect == ReconnectPolicy())
        }
        #expect(client.locatedName.location == SourceLocation(file: "c.toml", line: 7, column: 8))
        #expect(server.listen.location == SourceLocation(file: "c.toml", line: 12, column: 10))
    }

    @Test func `what is said arrives`() throws {
        let configuration = try parsed(
            "[daemon]\nworkers = 3\ncontrol_socket = 'x.sock'\nlog_level = 'trace'\nlog_format = 'json'\n"
                + tunnels(("b", "dtls://[::]:7", "udp://h:8"))
                    + """
                    cookie_exchange = false
                    require_client_certificate = false
                    require_extended_master_secret = false
                    ciphers = ["PSK-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384"]
                    allow_from = ["192.0.2.0/24", "2001:db8::/32", "::1"]
                    allow_peers = ["CN:a", "psk:b"]
                    flow_timeout = "250ms"
                    max_flows = 1
                    max_associations = 1_048_576
                    max_handshakes = 0x10
                    oversize = "drop"
                    """ + "\n"
                + tunnels(("a", "udp://127.0.0.1:9", "dtls://h:8")).dropFirst(preamble.count)
                + "server_name = \"[2001:db8::1]\"\nreconnect = { minimum = \"20ms\", maximum = \"1h\" }\n")
        #expect(configuration.daemon.workers == 3)
        #expect(configuration.daemon.controlSocket.value == "x.sock")
        #expect(configuration.daemon.logLevel == .trace)
        #expect(configuration.daemon.logFormat == .json)
        let (server, client) = (configuration.tunnels[0], configuration.tunnels[1])
        #expect(!server.cookieExchange && !server.requireClientCertificate && !server.requireExtendedMasterSecret)
        #expect(server.ciphers == ["PSK-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384"])
        #expect(server.access.sources.map(\.description) == ["192.0.2.0/24", "2001:db8::/32", "::1/128"])
        #expect(server.access.peers == [.commonName("a"), .psk("b")])
        let limits = server.limits
        #expect(limits.flowTimeout == .milliseconds(250))
        #expect([limits.maximumFlows, limits.maximumAssociations, limits.maximumHandshakes] == [1, 1_048_576, 16])
        #expect(server.oversize == .drop)
        #expect(client.serverName?.description == "[2001:db8::1]")
        #expect(client.reconnect.minimum == .milliseconds(20))
        #expect(client.reconnect.maximum == .seconds(3600))
    }

    @Test func `a configuration that only moved is the same`() throws {
        let text = tunnels(("a", "udp://127.0.0.1:5", "dtls://h:6"))
        #expect(try parsed(text) == parsed("\n\n# moved\n" + text))
        #expect(try parsed(text) != parsed(text.replacing(":6", with: ":7")))
    }

    @Test(arguments: ["192.0.2.1/24", "192.0.2.0/33", "2001:db8::/129", "host", "192.0.2.0/", "10.0.0/8"])
    func `a bad prefix is refused`(text: String) {
        let found = check(tunnels(("b", "dtls://[::]:7", "udp://h:8")) + "allow_from = ['\(text)']")
        #expect(found.count == 1)
        #expect(found.first?.hasPrefix("c.toml:10:15: error: '\(text)' is not an IP prefix; write ") == true)
    }

    @Test(arguments: [
        ("1ms", Duration.milliseconds(1)), ("15s", .seconds(15)), ("5m", .seconds(300)), ("24h", .seconds(86400)),
        ("7d", .seconds(604_800)), ("007s", .seconds(7)),
    ])
    func `a duration is one number and one unit`(text: String, expected: Duration) throws {
        let key = expected < .milliseconds(10) ? "flow_timeout" : "[tunnel.reconnect]\nmaximum"
        let found = check(tunnels(("a", "udp://127.0.0.1:7", "dtls://h:8")) + "\(key) = \"\(text)\"")
        if expected < .milliseconds(10) || expected > .seconds(86400) {
            #expect(found.first?.contains("is '\(text)', which is not between") == true)
        } else {
            let tunnel = try parsed(tunnels(("a", "udp://127.0.0.1:7", "dtls://h:8")) + "\(key) = \"\(text)\"").tunnels[
                0]
            #expect(tunnel.reconnect.maximum == expected)
        }
    }
}
