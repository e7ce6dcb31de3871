// The example that users start from must be accepted, and must show every key.

import Testing
import Wire

@testable import Configuration

struct ExampleTests {
    @Test func `the example is accepted without a word`() throws {
        let (configuration, diagnostics) = ConfigurationLoader.load(path: examplePath)
        #expect(diagnostics.map(\.description) == [])
        let tunnels = try #require(configuration).tunnels
        #expect(tunnels.map(\.name) == ["syslog", "radius"])
        #expect(tunnels.map(\.role) == [.client, .server])
    }

    @Test func `what the example comments out is what is in force without it`() throws {
        let text = String(decoding: try bytes(of: examplePath), as: UTF8.self)
        let (plain, _) = Configuration.parse(sources: [ConfigurationSource(name: "a", text: text)])
        let (full, diagnostics) = Configuration.parse(sources: [ConfigurationSource(name: "a", text: uncommented(text))]
        )
        #expect(diagnostics.map(\.description) == [])
        var (expected, found) = try (#require(plain), #require(full))
        #expect(found.identities.map(\.name) == ["branch", "default"])
        #expect(found.daemon.metricsListen?.value == Endpoint("127.0.0.1:9464"))
        found.daemon.metricsListen = nil
        #expect(expected.daemon == found.daemon)
        #expect(found.trusts[0].revocationList?.value == "/etc/culvert/crl.pem")
        #expect(found.trusts[0].preSharedKeys?.value == "/etc/culvert/peers.psk")
        #expect(found.tunnels[1].access.peers.count == 5)
        // The keys without a default are set aside; the rest must be equal.
        for index in found.tunnels.indices {
            found.tunnels[index].logLevel = nil
            found.tunnels[index].access.sources = []
            found.tunnels[index].access.peers = []
            found.tunnels[index].trust = expected.tunnels[index].trust
        }
        #expect(expected.tunnels == found.tunnels)
        expected.tunnels[0].limits.flowTimeout = .seconds(1)
        #expect(expected.tunnels != found.tunnels)
    }

    @Test func `the example shows the keys of the table and no others`() throws {
        let text = uncommented(String(decoding: try bytes(of: examplePath), as: UTF8.self))
        var shown: [Section: Set<String>] = [:]
        func show(_ section: Section, _ members: [TOMLNode.Member]) {
            shown[section, default: []].formUnion(members.map(\.key))
        }
        let root = try TOMLDocument.parse(Array(text.utf8), file: "a")
        show(.root, root)
        for section in root {
            switch section.key {
            case "identity": for named in section.inner { show(.identity, named.inner) }
            case "trust": for named in section.inner { show(.trust, named.inner) }
            case "daemon": show(.daemon, section.inner)
            default:
                show(.tunnel, section.inner)
                show(.heartbeat, section.inner.filter { $0.key == "heartbeat" }.flatMap(\.inner))
                show(.mtu, section.inner.filter { $0.key == "mtu" }.flatMap(\.inner))
                show(.reconnect, section.inner.filter { $0.key == "reconnect" }.flatMap(\.inner))
            }
        }
        for section in Section.allCases { #expect(shown[section] == Set(section.keys), "\(section)") }
    }

    @Test func `the example shows the defaults of the table`() throws {
        let text = String(decoding: try bytes(of: examplePath), as: UTF8.self)
        let defaults = try parsed(text).effective
        let shown = try parsed(uncommented(text)).effective
        for (defaults, shown) in zip([defaults.daemon] + defaults.tunnels, [shown.daemon] + shown.tunnels) {
            for (key, value) in defaults.flat { #expect(shown.flat[key] == value, "\(key)") }
        }
        #expect(defaults.daemon == KeyTable.daemon.table(of: DaemonSettings()))
    }
}

extension TOMLNode.Member {
    /// The members of a table, or of all tables in an array.
    fileprivate var inner: [TOMLNode.Member] {
        switch value.content {
        case .table(let members): members
        case .array(let elements): elements.flatMap { TOMLNode.Member(key: key, location: location, value: $0).inner }
        default: []
        }
    }
}

/// Turns the commented settings of the example into real ones: a line that begins with `# ` and a key, a table's
/// heading, or the element or end of an array.
private func uncommented(_ text: String) -> String {
    text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
        guard line.hasPrefix("# ") else { return String(line) }
        let rest = line.dropFirst(2)
        let isSetting = rest.prefixMatch(of: #/[a-z_]+ = |\[[a-z.]+\]/#) != nil
        let isElement = rest.hasPrefix("    \"") || rest.hasPrefix("]")
        return isSetting || isElement ? String(rest) : String(line)
    }.joined(separator: "\n")
}
