// Five protocols side by side in one association: clients and servers as Debian has them, each with nothing but plaintext
// UDP, and a daemon in front of either end.

import Foundation
import TestSupport
import Testing

private let programs = [
    "logger", "rsyslogd", "snmpget", "snmpd", "radclient", "freeradius", "dig", "dnsmasq", "coap-client-notls",
    "coap-server-notls",
]
private let missing = programs.filter { !Program.isInstalled($0) }

@Suite(.enabled(if: missing.isEmpty, "not installed: \(missing.joined(separator: ", "))"), .inTurns)
struct FiveServicesTests {
    @Test func `syslog, SNMP, RADIUS, DNS and CoAP go through one association`() async throws {
        let scene = try await FiveServices()
        async let syslog: Void = scene.syslog()
        async let snmp: Void = scene.snmp()
        async let radius: Void = scene.radius()
        async let dns: Void = scene.dns()
        async let coap: Void = scene.coap()
        _ = try await (syslog, snmp, radius, dns, coap)

        let processors = ProcessInfo.processInfo.activeProcessorCount
        for daemon in [scene.client, scene.server] {
            let list = try daemon.associations()
            // One for each worker that has flows.
            #expect(Set(list.map(\.mode)) == ["shared"] && list.count <= processors, "\(list)\n\(daemon.log)")
            let tunnels = try daemon.control.tunnels()
            #expect(tunnels.map(\.name).sorted() == FiveServices.names.sorted())
            #expect(tunnels.map(\.handshakes).reduce(0, +) == list.count, "\(tunnels)")
            for tunnel in tunnels {
                let (received, sent) = (tunnel.datagrams.in, tunnel.datagrams.out)
                let isOneWay = tunnel.name == "syslog"
                #expect(isOneWay ? received + sent > 0 : received > 0 && sent > 0, "\(tunnel)\n\(daemon.log)")
            }
        }
    }
}

/// Five servers, the daemon in front of them, and the one that clients send to.
private final class FiveServices: Sendable {
    static let names = ["syslog", "snmp", "radius", "dns", "coap"]

    let client: DaemonFixture
    let server: DaemonFixture

    /// Where clients send, by service.
    private let entrances: [String: UInt16]
    /// By service.
    private let servers: [String: Program]
    private let directory: TemporaryDirectory

    /// What Net-SNMP would otherwise keep under /var/lib.
    private var environment: [String: String] { ["SNMP_PERSISTENT_DIR": directory("snmp"), "MIBS": ""] }
    /// An answer of more than a packet of Ethernet, in strings that are all different.
    private let longAnswer = (1...12).map { "\($0)" + String(repeating: "-\($0)", count: 60) }

    init() async throws {
        let directory = try TemporaryDirectory()
        self.directory = directory
        var entrances: [String: UInt16] = [:]
        var ports: [String: UInt16] = [:]
        for name in Self.names {
            entrances[name] = try FreePorts.next()
            ports[name] = try FreePorts.next()
        }
        self.entrances = entrances
        var servers: [String: Program] = [:]
        for (name, port) in ports {
            servers[name] = try Self.start(name, port, directory, longAnswer)
        }
        self.servers = servers
        for (name, port) in ports {
            let end = ContinuousClock.now + .seconds(60)
            // The kernel looks it up; to read the list of all sockets takes its time beside tests that have thousands.
            while try await Program.run(["ss", "-ulnH", "src = 127.0.0.1:\(port)"]).said.isEmpty {
                try #require(ContinuousClock.now < end, "\(name) at port \(port): \(servers[name]?.description ?? "")")
                try await Task.sleep(for: .milliseconds(100))
            }
        }

        let keys = try await TestKeys.shared()
        let wire = try FreePorts.next()
        server = try await DaemonFixture(
            credentials(.ecdsa, .server, keys)
                + ports.map { name, port in
                    """
                    [[tunnel]]
                    name = "\(name)"
                    listen = "dtls://127.0.0.1:\(wire)"
                    forward = "udp://127.0.0.1:\(port)"

                    """
                }.joined(), sharing: "always")
        client = try await DaemonFixture(
            credentials(.ecdsa, .client, keys)
                + entrances.map { name, port in
                    clientTunnel(.ecdsa, listen: port, forward: wire, name: name)
                }.joined(), sharing: "always")
    }

    // MARK: Servers

    private static func start(
        _ name: String, _ port: UInt16, _ directory: TemporaryDirectory, _ longAnswer: [String]
    ) throws -> Program {
        switch name {
        case "syslog": try syslogServer(port, directory)
        case "snmp": try snmpServer(port, directory)
        case "radius": try radiusServer(port, directory)
        case "dns": try dnsServer(port, longAnswer)
        default: try Program(["coap-server-notls", "-A", "127.0.0.1", "-p", "\(port)"])
        }
    }

    private static func syslogServer(_ port: UInt16, _ directory: TemporaryDirectory) throws -> Program {
        let file = try directory.write(
            """
            module(load="imudp")
            input(type="imudp" address="127.0.0.1" port="\(port)")
            template(name="seen" type="string" string="%app-name% %procid% %pri-text% %msg%\\n")
            *.* action(type="omfile" file="\(directory("syslog"))" template="seen")

            """, "rsyslog.conf")
        return try Program(["rsyslogd", "-n", "-f", file, "-i", "NONE"])
    }

    private static func snmpServer(_ port: UInt16, _ directory: TemporaryDirectory) throws -> Program {
        let file = try directory.write("rocommunity culvert 127.0.0.1\nsysName agent.example\n", "snmpd.conf")
        return try Program(
            ["snmpd", "-f", "-C", "-c", file, "-Lo", "-I", "system_mib", "udp:127.0.0.1:\(port)"],
            environment: ["SNMP_PERSISTENT_DIR": directory("snmpd"), "MIBS": ""])
    }

    private static func dnsServer(_ port: UInt16, _ longAnswer: [String]) throws -> Program {
        try Program([
            "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--log-facility=-",
            "--port=\(port)", "--listen-address=127.0.0.1", "--bind-interfaces", "--no-resolv", "--no-hosts",
            "--edns-packet-max=4096", "--host-record=inside.example,192.0.2.7",
            "--txt-record=long.example,\(longAnswer.joined(separator: ","))",
        ])
    }

    // MARK: Clients

    /// Each line comes whole and once, with what the sender said about it. Nobody answers.
    func syslog() async throws {
        for number in 1...3 {
            try await ask(
                "syslog",
                [
                    "logger", "--udp", "--server", "127.0.0.1", "--port", port("syslog"), "--rfc5424", "--tag",
                    "culvert-test", "--id=\(number)", "--priority", "local3.notice", "line \(number)",
                ])
        }
        let expected = (1...3).map { "culvert-test \($0) local3.notice line \($0)" }
        try await eventually("\(expected) at \(about("syslog"))") {
            let text = (try? directory.text("syslog")) ?? ""
            return text.split(separator: "\n").map(String.init).sorted() == expected
        }
    }

    func snmp() async throws {
        let said = try await ask(
            "snmp",
            [
                "snmpget", "-v2c", "-c", "culvert", "-t", "5", "-r", "3", "-Oqvn", "127.0.0.1:\(port("snmp"))",
                ".1.3.6.1.2.1.1.5.0",
            ])
        #expect(said.contains("agent.example"), "\(said)")
    }

    /// The right password is accepted and a wrong one is not.
    func radius() async throws {
        let port = try #require(entrances["radius"])
        let complaint = try await complaint(ofRadiusAt: port, directory)
        #expect(complaint == nil, "\(complaint ?? "")\nto \(about("radius"))")
    }

    /// A short answer, and one of more than a packet of Ethernet.
    func dns() async throws {
        let common = try ["dig", "+short", "+ignore", "+bufsize=4096", "+time=5", "+tries=3", "-p", port("dns")]
        let address = try await ask("dns", common + ["@127.0.0.1", "inside.example", "A"])
        #expect(address == "192.0.2.7\n")
        let strings = try await ask("dns", common + ["@127.0.0.1", "long.example", "TXT"])
        #expect(strings == longAnswer.map { "\"\($0)\"" }.joined(separator: " ") + "\n")
    }

    func coap() async throws {
        let said = try await ask(
            "coap",
            ["coap-client-notls", "-B", "30", "-m", "get", "coap://127.0.0.1:\(port("coap"))/.well-known/core"])
        #expect(said.contains("</time>"), "\(said)")
    }

    /// Runs a client to its end.
    ///
    /// - Returns: what it said.
    @discardableResult
    private func ask(_ service: String, _ arguments: [String], status expected: Int32 = 0) async throws -> String {
        let (status, said) = try await Program.run(arguments, environment: environment, within: .seconds(40))
        #expect(status == expected, "\(arguments[0]) said:\n\(said)\nto \(about(service))")
        return said
    }

    private func port(_ service: String) throws -> String { "\(try #require(entrances[service]))" }

    private func about(_ service: String) -> String {
        servers[service].map(String.init(describing:)).map { "\($0)\n\(client.log)\n\(server.log)" } ?? service
    }
}
