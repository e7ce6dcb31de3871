// Ends that would share, and programs that cannot: the same handshake gives plain mode, and a server's services are told
// apart by the name that the client says.

import TestSupport
import Testing
import Wire

@Suite(.needs(Tool.allCases), .inTurns) struct SharedModeTests {
    @Test(arguments: Tool.allCases)
    func `a client that would share is served in plain mode by a server of another make`(_ tool: Tool) async throws {
        let keys = try await TestKeys.shared()
        let port = try FreePorts.next()
        let server = try await tool.server(.ecdsa, port: port, keys: keys)
        let scene = try await ClientScene(to: port, sharing: "auto")
        try await scene.converse(server, tool)
        let list = try scene.daemon.associations()
        let association = try #require(list.first)
        #expect(list.count == 1 && association.mode == "plain" && association.state == "established", "\(list)")
        #expect(association.datagrams.in == 3 && association.datagrams.out == 3)
        #expect(try scene.daemon.control.tunnels().first?.mode == "plain")
    }

    /// What a client says about whom it wants.
    struct Hello: Sendable, CustomTestStringConvertible {
        var tool: Tool
        var serverName: String?
        var testDescription: String { "\(tool.rawValue), \(serverName ?? "no name")" }

        var options: [String] {
            guard let serverName else { return [] }
            switch tool {
            case .openssl: return ["-servername", serverName]
            case .gnutls: return ["--sni-hostname", serverName]
            case .socat: return ["snihost=\(serverName)"]
            }
        }

        static let all = Tool.allCases.flatMap { tool in
            [nil, "second.example", "third.example"].map { Hello(tool: tool, serverName: $0) }
        }
    }

    @Test(arguments: Hello.all)
    func `a server that shares gives others the first service, or the one that they name`(_ given: Hello) async throws {
        let keys = try await TestKeys.shared()
        let port = try FreePorts.next()
        let applications = try ["first", "second"].map { ($0, try UDPEndpoint()) }
        let tunnels = applications.map { name, application in
            serverTunnel(
                .ecdsa, listen: port, forward: application.endpoint, name: name,
                name == "second" ? "server_name = \"second.example\"" : "")
        }
        let daemon = try await DaemonFixture(
            credentials(.ecdsa, .server, keys) + tunnels.joined(), sharing: "auto")
        let client = try given.tool.client(.ecdsa, port: port, keys: keys, extra: given.options)
        let (name, application) = applications[given.serverName == "second.example" ? 1 : 0]
        for round in 1...2 {
            client.write("to culvert \(round)\n")
            let (datagram, source) = try await eventually("a line at \(name); \(client) \(daemon.log.suffix(2000))") {
                application.receive()
            }
            #expect(String(decoding: datagram, as: UTF8.self) == "to culvert \(round)\n")
            application.send(Array("from culvert \(round)\n".utf8), to: source)
            try await client.expect("from culvert \(round)")
        }
        let list = try daemon.associations()
        #expect(list.map(\.mode) == ["plain"] && list.map(\.tunnel) == [name], "\(list)")
    }
}
