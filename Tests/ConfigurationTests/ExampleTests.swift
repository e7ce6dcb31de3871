// The example that users start from must be accepted, and must show every key.

import Configuration
import Testing
import Wire

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
