import Testing

@testable import Configuration

private let keys =
    "[identity.default]\ncertificate = 'c'\nprivate_key = 'k'\n[trust.default]\nca = 'ca'\n[trust.other]\nca = 'b'\n"

private func client(_ name: String, _ more: String = "", forward: String = "dtls://h:2") -> String {
    "[[tunnel]]\nname = '\(name)'\nlisten = 'udp://127.0.0.1:\(name.utf8.reduce(1000) { $0 + Int($1) })'\nforward = '\(forward)'\n\(more)\n"
}

private func server(_ name: String, _ more: String = "", listen: String = "dtls://[::]:2") -> String {
    "[[tunnel]]\nname = '\(name)'\nlisten = '\(listen)'\nforward = 'udp://127.0.0.1:9'\n\(more)\n"
}

private func parse(_ text: String) -> (configuration: Configuration?, diagnostics: [String]) {
    let (configuration, diagnostics) = Configuration.parse(sources: [
        ConfigurationSource(name: "c.toml", text: keys + text)
    ])
    return (configuration, diagnostics.map(\.description))
}

private func groups(_ text: String) -> [[String]]? { parse(text).configuration?.groups.map { $0.map(\.name) } }

@Suite struct TunnelGroupTests {
    @Test func `tunnels to one peer share an association where their settings let them`() {
        #expect(groups(client("a") + client("b") + client("c", forward: "dtls://h:3")) == [["a", "b"], ["c"]])
        #expect(groups(client("a", "sharing = 'never'") + client("b", "sharing = 'never'")) == [["a"], ["b"]])
        #expect(groups(client("a") + client("b", "trust = 'other'") + client("c")) == [["a", "c"], ["b"]])
        for key in [
            "sharing = 'always'", "connect = 'first-datagram'", "server_name = 'x'", "allow_peers = ['CN:x']",
            "reconnect = { minimum = '2s' }", "heartbeat = { interval = '3s' }", "mtu = { maximum = 1400 }",
            "ciphers = ['ECDHE-ECDSA-AES128-GCM-SHA256']", "require_extended_master_secret = false",
        ] {
            #expect(groups(client("a") + client("b", key)) == [["a"], ["b"]], "\(key)")
        }
        for key in [
            "service = 'x'", "flow_timeout = '1s'", "max_flows = 5", "oversize = 'drop'", "log_level = 'debug'",
        ] {
            #expect(groups(client("a") + client("b", key)) == [["a", "b"]], "\(key)")
        }
    }

    @Test func `tunnels on one DTLS address are its services`() {
        #expect(groups(server("a") + server("b") + server("c", listen: "dtls://[::]:3")) == [["a", "b"], ["c"]])
        let differing = "allow_peers = ['CN:x']\nallow_from = ['192.0.2.1']\nmax_flows = 3\nserver_name = 'x'"
        #expect(groups(server("a") + server("b", differing)) == [["a", "b"]])
    }

    @Test(arguments: [
        ("trust = 'other'", "tunnel 'b' and tunnel 'a' (c.toml:9:8) share [::]:2, and so must have the same 'trust'"),
        (
            "cookie_exchange = false\nmax_associations = 3",
            "tunnel 'b' and tunnel 'a' (c.toml:9:8) share [::]:2, and so must have the same 'cookie_exchange', 'max_associations'"
        ),
        ("service = 'a'", "tunnel 'b' has the same 'service' on [::]:2 as tunnel 'a' (c.toml:9:8)"),
    ])
    func `services of one address that do not agree are told where`(more: String, expected: String) {
        #expect(parse(server("a") + server("b", more)).diagnostics == ["c.toml:14:8: error: \(expected)"])
    }

    @Test func `two services of one host name, or one that nobody can ask for, are told`() {
        let twins = parse(server("a", "server_name = 'x'") + server("b", "server_name = 'X'"))
        #expect(
            twins.diagnostics == [
                "c.toml:14:8: error: tunnel 'b' has the same 'server_name' on [::]:2 as tunnel 'a' (c.toml:9:8)"
            ])
        let hidden = parse(server("a", "sharing = 'never'") + server("b", "sharing = 'never'"))
        #expect(hidden.configuration != nil && hidden.diagnostics.count == 1)
        #expect(hidden.diagnostics.first?.contains("nobody can reach tunnel 'b'") == true)
    }

    @Test func `a service has a tunnel's name, and a server is asked for by name`() {
        #expect(parse(client("a", "service = 'a b'")).diagnostics.first?.contains("cannot be a service's name") == true)
        let address = parse(server("a", "server_name = '192.0.2.1'"))
        #expect(address.diagnostics.first?.contains("asks for a tunnel by a name") == true)
    }

    @Test(arguments: ["x", "127.0.0.1", "127.0.0.1:0", "localhost:1", ":9464"])
    func `metrics are served at a numeric address`(_ text: String) {
        #expect(parse("[daemon]\nmetrics_listen = '\(text)'\n" + client("a")).diagnostics.count == 1)
    }

    @Test func `what is in force is a configuration that says the same`() throws {
        let text =
            "[daemon]\nmetrics_listen = '[::1]:9464'\n[identity.'a b']\npsk_identity = \"q\\\"\\\\\"\npsk_file = '/p'\n"
            + "[trust.p]\npins = ['sha256:\(String(repeating: "ab", count: 32))']\n"
            + client("a", "trust = 'p'\nallow_peers = ['DNS:*.x', 'CN:y']\nflow_timeout = '90s'")
            + client("k", "identity = 'a b'", forward: "dtls://[2001:db8::1]:5")
            + server("b", "allow_from = ['2001:db8::/32']\nserver_name = 'x'\nlog_level = 'debug'")
        let configuration = try #require(parse(text).configuration)
        let effective = configuration.effective
        let again = Configuration.parse(sources: [ConfigurationSource(name: "e.toml", text: effective.toml)])
        #expect(again.diagnostics.filter { $0.severity == .error }.isEmpty, "\(again.diagnostics)")
        #expect(again.configuration?.effective.toml == effective.toml)
        #expect(again.configuration?.groups.map { $0.map(\.name) } == configuration.groups.map { $0.map(\.name) })
        let text2 = String(decoding: effective.json, as: UTF8.self)
        #expect(text2.hasPrefix("{\"daemon\":{") && text2.contains("\"psk_identity\":\"q\\\"\\\\\""))
    }

    @Test func `differences between two tables are told by key`() throws {
        let one = try #require(parse(client("a")).configuration?.tunnels[0].table)
        let other = try #require(
            parse(client("a", "max_flows = 3\nreconnect = { maximum = '5m' }")).configuration?.tunnels[0].table)
        #expect(one.differences(from: other) == ["max_flows", "reconnect.maximum"])
        #expect(one.differences(from: one).isEmpty)
    }
}
