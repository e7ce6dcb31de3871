// What is said to be in force must be all of it: a setting that is not told is lost to whoever reads it, and to a reload,
// which compares what is told.

import Foundation
import Settings
import Testing
import Wire

@testable import Configuration

/// A config with every key, which seeds the fuzzer too.
private let everyKeyPath =
    #filePath.split(separator: "/").dropLast(2).map { "/" + $0 }.joined() + "/Fuzz/Corpus/Configuration/every-key.toml"

private func everyKey() throws -> Configuration {
    try parsed(String(decoding: try bytes(of: everyKeyPath), as: UTF8.self))
}

struct EffectiveConfigurationTests {
    @Test func `every key of every section is told`() throws {
        let effective = try everyKey().effective
        func keys(_ tables: [EffectiveConfiguration.Table]) -> Set<String> {
            Set(tables.flatMap { $0.entries.map(\.key) + $0.tables.map(\.key) })
        }
        func inner(_ name: String) -> [EffectiveConfiguration.Table] {
            effective.tunnels.flatMap(\.tables).filter { $0.key == name }.map(\.table)
        }
        let told: [Section: Set<String>] = [
            .root: Set(Section.root.keys.filter(String(decoding: effective.json, as: UTF8.self).contains)),
            .daemon: keys([effective.daemon]), .identity: keys(effective.identities.map(\.table)),
            .trust: keys(effective.trusts.map(\.table)), .tunnel: keys(effective.tunnels),
            .reconnect: keys(inner("reconnect")), .heartbeat: keys(inner("heartbeat")), .mtu: keys(inner("mtu")),
        ]
        for section in Section.allCases { #expect(told[section] == Set(section.keys), "\(section)") }
    }

    @Test func `what is in force reads back to equal settings`() throws {
        let configuration = try everyKey()
        #expect(try parsed(configuration.effective.toml) == configuration)
    }

    @Test(arguments: 0..<4)
    func `whatever the settings are, they read back equal`(seed: UInt64) throws {
        var generator = SeededGenerator(state: seed)
        for round in 0..<50 {
            let configuration = randomConfiguration(&generator)
            let text = configuration.effective.toml
            let (again, diagnostics) = Configuration.parse(sources: [ConfigurationSource(name: "c.toml", text: text)])
            let errors = diagnostics.filter { $0.severity == .error }
            #expect(again == configuration, "seed \(seed), round \(round): \(errors)\n\(text)")
        }
    }

    @Test func `files are named absolutely for who is elsewhere, and nothing else changes`() throws {
        let text =
            preamble.replacing("\"a.key\"", with: "\"/keys/a.key\"")
            + "[identity.p]\npsk_identity = 'p'\npsk_file = '../p'\n[trust.s]\nca = 'system'\ncrl = 'x/y.crl'\n"
            + "[daemon]\ncontrol_socket = 'c.sock'\n"
            + "[[tunnel]]\nname = 'a'\nlisten = 'udp://127.0.0.1:5'\nforward = 'dtls://h:6'\n"
        let effective = try parsed(text).effective
        let absolute = effective.absolute(in: "/etc/culvert")
        let expected = [
            #"= "a.crt""#: #"= "/etc/culvert/a.crt""#,
            #"= "ca.crt""#: #"= "/etc/culvert/ca.crt""#, #"= "../p""#: #"= "/etc/culvert/../p""#,
            #"= "x/y.crl""#: #"= "/etc/culvert/x/y.crl""#, #"= "c.sock""#: #"= "/etc/culvert/c.sock""#,
        ]
        #expect(
            absolute.toml
                == expected.reduce(effective.toml) { text, change in text.replacing(change.key, with: change.value) })
        #expect(absolute.toml.contains(#"private_key = "/keys/a.key""#) && absolute.toml.contains(#"ca = "system""#))
        #expect(absolute.absolute(in: "/elsewhere") == absolute)
        #expect(effective.absolute(in: "/").toml.contains(#"= "/c.sock""#))
    }

    @Test func `where something stands makes no difference`() throws {
        let text = String(decoding: try bytes(of: everyKeyPath), as: UTF8.self)
        func load(_ name: String, _ text: String) throws -> Configuration {
            try #require(Configuration.parse(sources: [ConfigurationSource(name: name, text: text)]).configuration)
        }
        let one = try load("a.toml", text)
        let other = try load("b.toml", "# more\n\n" + text.replacing("\n", with: "   # more\n\n"))
        #expect(one.tunnels[0].locatedName.location != other.tunnels[0].locatedName.location)
        #expect(one == other)
        #expect(one.effective == other.effective)
        #expect(zip(one.tunnels, other.tunnels).allSatisfy { $0.table.differences(from: $1.table).isEmpty })
    }

    @Test func `JSON says the same as TOML, whatever the strings hold`() throws {
        var configuration = try everyKey()
        let hostile = "\"\\\u{1}\u{7f}\u{2028}\n</script>\u{1F980}ü"
        configuration.daemon.controlSocket.value = hostile
        configuration.identities[0].name = hostile
        let effective = configuration.effective
        let json = try #require(JSONSerialization.jsonObject(with: Data(effective.json)) as? NSDictionary)
        let named = { (tables: [(name: String, table: EffectiveConfiguration.Table)]) in
            Dictionary(uniqueKeysWithValues: tables.map { ($0.name, object($0.table)) })
        }
        let expected: NSDictionary = [
            "daemon": object(effective.daemon), "identity": named(effective.identities),
            "trust": named(effective.trusts), "tunnel": effective.tunnels.map(object),
        ]
        #expect(json == expected)
        #expect((json["daemon"] as? NSDictionary)?["control_socket"] as? String == hostile)
    }

    @Test func `each setting of a tunnel that changes is told by its key alone`() throws {
        let changes: [(key: String, change: (inout TunnelSettings) -> Void)] = [
            ("name", { $0.locatedName.value = "z" }),
            ("listen", { $0.listen.value = Endpoint(address: .loopbackIPv4, port: 77) }),
            ("forward", { $0.forward.value.port = 77 }),
            ("identity", { $0.identity?.name = "z" }),
            ("trust", { $0.trust = nil }),
            ("server_name", { $0.serverName = .name("z") }),
            ("sharing", { $0.sharing = .never }),
            ("service", { $0.service = "z" }),
            ("cookie_exchange", { $0.cookieExchange.toggle() }),
            ("require_client_certificate", { $0.requireClientCertificate.toggle() }),
            ("require_extended_master_secret", { $0.requireExtendedMasterSecret.toggle() }),
            ("ciphers", { $0.ciphers.append("PSK-AES128-GCM-SHA256") }),
            ("allow_from", { $0.access.sources = [] }),
            ("allow_peers", { $0.access.peers.removeLast() }),
            ("flow_timeout", { $0.limits.flowTimeout = .milliseconds(100) }),
            ("max_flows", { $0.limits.maximumFlows += 1 }),
            ("max_associations", { $0.limits.maximumAssociations += 1 }),
            ("max_handshakes", { $0.limits.maximumHandshakes += 1 }),
            ("oversize", { $0.oversize = .fragment }),
            ("log_level", { $0.logLevel = nil }),
            ("heartbeat.interval", { $0.heartbeat.interval = .seconds(7) }),
            ("heartbeat.timeout", { $0.heartbeat.timeout = .seconds(7) }),
            ("heartbeat.retries", { $0.heartbeat.retries += 1 }),
            ("heartbeat.answer", { $0.heartbeat.answers.toggle() }),
            ("mtu.discover", { $0.mtu.discover.toggle() }),
            ("mtu.minimum", { $0.mtu.minimum += 1 }),
            ("mtu.maximum", { $0.mtu.maximum += 1 }),
            ("mtu.interval", { $0.mtu.interval = .seconds(7) }),
        ]
        let server = try everyKey().tunnels[0]
        #expect(changes.count == keyCount(server.table))
        for (key, change) in changes {
            var changed = server
            change(&changed)
            #expect(server.table.differences(from: changed.table) == [key])
            #expect(changed.table.differences(from: server.table) == [key])
        }
        let client = try everyKey().tunnels[1]
        var changed = client
        changed.connect = .start
        changed.reconnect.minimum = .seconds(2)
        changed.reconnect.maximum = .seconds(3)
        #expect(
            client.table.differences(from: changed.table) == ["connect", "reconnect.maximum", "reconnect.minimum"])
    }

    @Test func `a heartbeat slower than the idle timeout is odd only where each flow has an association`() {
        let tunnel =
            preamble
            + "[[tunnel]]\nname = 'a'\nlisten = 'udp://127.0.0.1:5'\nforward = 'dtls://h:6'\nflow_timeout = '5s'\n"
        let slow = "[tunnel.heartbeat]\ninterval = '6s'\n"
        #expect(check(tunnel + slow) == [])
        #expect(check(tunnel + "sharing = 'never'\n") == [])
        let warnings = check(tunnel + "sharing = 'never'\n" + slow)
        #expect(warnings.count == 1 && warnings[0].contains("so no heartbeat is ever sent"))
    }
}

private func keyCount(_ table: EffectiveConfiguration.Table) -> Int {
    table.entries.count + table.tables.reduce(0) { $0 + $1.table.entries.count }
}

private func object(_ table: EffectiveConfiguration.Table) -> NSDictionary {
    let result = NSMutableDictionary()
    for (key, value) in table.entries {
        switch value {
        case .string(let text), .path(let text): result[key] = text
        case .integer(let number): result[key] = number
        case .boolean(let flag): result[key] = flag
        case .strings(let list): result[key] = list
        }
    }
    for (key, inner) in table.tables { result[key] = object(inner) }
    return result
}

// MARK: - Settings at random

/// Settings that a file could have, each far from its default about as often as not.
private func randomConfiguration(_ generator: inout SeededGenerator) -> Configuration {
    func pick<Value>(_ values: [Value]) -> Value { values[Int.random(in: 0..<values.count, using: &generator)] }
    func located<Value>(_ value: Value) -> Located<Value> { Located(value, at: SourceLocation(file: "here")) }
    let texts = ["/a b", "é\u{0301}", "quote\"d", "back\\slash", "#", "a.b", "\u{202e}]", "'"]
    func path() -> Located<String> { located(pick(texts)) }
    func duration() -> Duration {
        pick([.milliseconds(1100), .seconds(1), .seconds(59), .seconds(60), .seconds(90), .seconds(3600)])
    }
    var configuration = Configuration()
    configuration.daemon.workers = pick([0, 1, 1024])
    configuration.daemon.controlSocket = path()
    configuration.daemon.metricsListen = pick([nil, located(Endpoint(address: .loopbackIPv6, port: 1))])
    configuration.daemon.logLevel = pick(DaemonSettings.LogLevel.allCases)
    configuration.daemon.logFormat = pick(DaemonSettings.LogFormat.allCases)
    // Sections whose names need quoting, in the order of their names.
    configuration.identities = [
        IdentitySettings(name: "a'\"\\", credential: .certificate(path(), privateKey: path())),
        IdentitySettings(name: "b.c", credential: .preSharedKey(identity: path(), file: path())),
    ]
    let pin = (0..<32).map { _ in UInt8.random(in: 0...255, using: &generator) }
    configuration.trusts = [
        TrustSettings(name: "e", authorities: .system, preSharedKeys: path()),
        TrustSettings(name: "f g", authorities: .path(path()), revocationList: path(), pins: [pin]),
    ]
    for number in 0..<Int.random(in: 1...4, using: &generator) {
        let isClient = Bool.random(using: &generator)
        let hosts: [TransportAddress.Host] = [
            .name("h.example"), .address(.loopbackIPv4), .address(.loopbackIPv6), .address(.anyIPv6),
        ]
        let address = TransportAddress(scheme: isClient ? .dtls : .udp, host: pick(hosts), port: 9)
        var tunnel = TunnelSettings(
            name: located("t-\(number)._"), role: isClient ? .client : .server,
            listen: located(Endpoint(address: pick([.loopbackIPv4, .loopbackIPv6]), port: 1000 + UInt16(number))),
            forward: located(address), identity: configuration.identities[isClient ? pick([0, 1]) : 0],
            trust: pick(configuration.trusts))
        tunnel.sharing = pick(SharingPolicy.allCases)
        tunnel.service = pick([tunnel.name, "s", "0.-_"])
        tunnel.logLevel = pick([nil] + DaemonSettings.LogLevel.allCases)
        tunnel.requireExtendedMasterSecret = pick([true, false])
        tunnel.ciphers.shuffle(using: &generator)
        let peers: [PeerRule] = [
            .dns("*.x.example"), .commonName("a: \"b\""), .address(.loopbackIPv6), .publicKey(pin),
        ]
        tunnel.access.peers = pick([[], peers, peers.shuffled(using: &generator)])
        tunnel.limits.flowTimeout = duration()
        tunnel.limits.maximumFlows = pick([1, 16384, 1_048_576])
        tunnel.limits.maximumAssociations = pick([1, 16384])
        tunnel.oversize = pick(OversizePolicy.allCases)
        tunnel.heartbeat.interval = duration()
        tunnel.heartbeat.timeout = pick([.milliseconds(100), .seconds(60)])
        tunnel.heartbeat.retries = pick([0, 100])
        tunnel.heartbeat.answers = pick([true, false])
        tunnel.mtu.discover = pick([true, false])
        tunnel.mtu.minimum = pick([296, 576, 1280])
        tunnel.mtu.maximum = pick([1280, 65_535])
        tunnel.mtu.interval = duration()
        if isClient {
            tunnel.connect = pick(ConnectPolicy.allCases)
            tunnel.serverName = pick(hosts)
            tunnel.reconnect.minimum = .milliseconds(10)
            tunnel.reconnect.maximum = duration()
        } else {
            tunnel.serverName = pick([nil, .name("n\(number).example")])
            tunnel.cookieExchange = pick([true, false])
            tunnel.requireClientCertificate = pick([true, false])
            tunnel.limits.maximumHandshakes = pick([1, 1024])
            tunnel.access.sources = pick([[], ["192.0.2.0/24", "2001:db8::/32", "::/0"].compactMap { IPPrefix($0) }])
        }
        configuration.tunnels.append(tunnel)
    }
    return configuration
}
