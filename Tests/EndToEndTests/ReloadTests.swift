// Reloads of running daemons: what changes, what does not notice, and what is refused.

import Control
import Foundation
import Testing
import TestSupport
import Wire

@Suite struct ReloadTests {
    /// Changes the text of a daemon's config.
    private func edit(_ bench: Bench, _ name: String, _ old: String, _ new: String) throws {
        let text = try bench.directory.text("\(name).toml")
        try #require(text.contains(old))
        try bench.directory.write(text.replacing(old, with: new), "\(name).toml")
    }

    private static func tunnel(_ name: String, _ port: UInt16, _ exit: Endpoint, _ more: String = "") -> String {
        """

        [[tunnel]]
        name = "\(name)"
        sharing = "never"
        listen = "udp://127.0.0.1:\(port)"
        forward = "dtls://\(exit)"
        \(more)

        """
    }

    @Test func `limits, access, levels and waits apply to what runs, and end nothing`() async throws {
        let pair = try await Pair(
            serverTunnel: "allow_from = [\"127.0.0.0/8\"]\nmax_flows = 100", clientDaemon: "workers = 1")
        let sender = try pair.sender()
        try await pair.converse(sender, [1])
        let ids = (client: try pair.client.firstID(), server: try pair.server.firstID())
        try edit(
            pair.bench, "client", "forward = ",
            """
            max_flows = 1
            oversize = "drop"
            log_level = "debug"
            reconnect = { minimum = "100ms", maximum = "200ms" }
            forward =\u{20}
            """)
        let result = try pair.client.client.reload()
        #expect(result.unchanged.isEmpty && result.needsRestart.isEmpty && result.applied.count == 1, "\(result)")
        for key in ["log_level", "max_flows", "oversize", "reconnect.maximum", "reconnect.minimum"] {
            #expect(result.applied[0].contains(key), "\(result)")
        }
        #expect(!result.applied[0].contains("anew"))
        #expect(try pair.client.client.tunnels().first?.limits?.flows == 1)
        try await pair.converse(sender, [2])
        #expect(try pair.client.firstID() == ids.client)
        sender.send(pattern(20_000))
        try await eventually("the drop") { try pair.client.client.tunnels()[0].dropped["oversize"] == 1 }
        try pair.sender().send([3])
        try await pair.client.says("max_flows is reached")

        // Access that is taken away is taken from those who are there, too.
        #expect(try pair.server.firstID() == ids.server)
        try edit(pair.bench, "server", "127.0.0.0/8", "192.0.2.0/24")
        pair.server.process.signal(SIGHUP)
        try await pair.server.says("allow_from changed")
        try await pair.server.has("none") { $0.isEmpty }
        #expect(try pair.server.client.reload().applied.isEmpty)
    }

    @Test func `tunnels come, go and move, and another's flowing datagrams notice nothing`() async throws {
        let pair = try await Pair()
        let sender = try pair.sender()
        try await pair.converse(sender, [1])
        let id = try pair.client.firstID()
        let traffic = Traffic(from: sender, to: pair.target, sizes: [64, 900], every: .milliseconds(2))
        let path = pair.bench.directory("client.toml")
        let text = try pair.bench.directory.text("client.toml")
        let ports = try (0..<3).map { _ in try FreePorts.next() }

        /// Between two changes datagrams are to flow.
        func flow() async throws {
            let sent = traffic.sent
            try await eventually("more datagrams") { traffic.sent > sent + 20 }
        }
        try await flow()
        try pair.bench.directory.write(
            text + Self.tunnel("second", ports[0], pair.exit) + Self.tunnel("third", ports[1], pair.exit), "client.toml"
        )
        let added = try pair.client.client.reload()
        #expect(added.applied == ["tunnel 'second': added", "tunnel 'third': added"], "\(added)")
        #expect(added.unchanged == ["echo"])
        #expect(try pair.client.client.tunnels().map(\.name) == ["echo", "second", "third"])
        let other = try Peer(connectedTo: Endpoint(address: .loopbackIPv4, port: ports[0]))
        other.send([7])
        let before = try await eventually("an association of the second") {
            try pair.client.client.associations(of: "second").first { $0.state == .established }?.id
        }

        try await flow()
        try pair.bench.directory.write(text + Self.tunnel("second", ports[2], pair.exit), "client.toml")
        let moved = try pair.client.client.reload()
        #expect(moved.applied.count == 2 && moved.unchanged == ["echo"], "\(moved)")
        #expect(moved.applied.contains("tunnel 'third': removed"))
        #expect(moved.applied.contains { $0.contains("'second': listen changed") && $0.contains("anew") })
        let another = try Peer(connectedTo: Endpoint(address: .loopbackIPv4, port: ports[2]))
        another.send([8])
        let after = try await eventually("another") {
            try pair.client.client.associations(of: "second").first { $0.state == .established }?.id
        }
        try await flow()
        // No name is given twice.
        #expect(after != before)
        #expect(pair.client.control.get("/v1/associations/\(before)")?.status == 404)

        try pair.bench.directory.write(text, path.components(separatedBy: "/").last ?? "")
        #expect(try pair.client.client.reload().applied == ["tunnel 'second': removed"])
        try await flow()
        try await traffic.end()
        #expect(traffic.lost.isEmpty && traffic.sent > 50, "\(traffic.lost.count) of \(traffic.sent)")
        #expect(try pair.client.client.associations().map(\.id) == [id])
    }

    @Test func `a tunnel may widen its own address`() async throws {
        let pair = try await Pair()
        let sender = try pair.sender()
        try await pair.converse(sender, [1])
        try edit(
            pair.bench, "client", "udp://\(pair.entrance)", "udp://0.0.0.0:\(pair.entrance.port)")
        let result = try pair.client.client.reload()
        #expect(result.applied.count == 1, "\(result)")
        try await pair.converse(sender, [2])
    }

    @Test func `a reload that fails half-way says so, and the tunnel serves again`() async throws {
        let pair = try await Pair()
        let sender = try pair.sender()
        try await pair.converse(sender, [1])
        let id = try pair.client.firstID()
        // The tunnel's own address has to be given up before it can be known that the wider one is not to be had.
        let stranger = try Peer(Endpoint(address: IPAddress(ipv4: 0x7f00_0002), port: pair.entrance.port))
        let before = try pair.client.client.configuration()
        let events = EventRecord(pair.client)
        try edit(pair.bench, "client", "udp://\(pair.entrance)", "udp://0.0.0.0:\(pair.entrance.port)")
        let (status, said) = try await pair.bench.culvert("reload", "--socket", pair.client.control.path)
        #expect(status == 1 && !said.contains("nothing was changed"), "\(said)")
        #expect(said.contains("another program has this port"), "\(said)")
        #expect(said.contains("warning: tunnel 'echo': as it was before; its associations begin anew"), "\(said)")
        let failed = try await events.expect(.reloadFailed, within: .seconds(30))
        #expect(failed.message.contains("what had ended has begun again"), "\(failed.message)")
        #expect(try pair.client.post("/v1/reload").status == 500)

        #expect(try pair.client.client.configuration() == before)
        #expect(try pair.client.client.tunnels().map(\.listen) == ["udp://\(pair.entrance)"])
        try await pair.recover(sender, within: .seconds(30))
        #expect(try pair.client.firstID() != id)

        // Once the address is there, the same reload does what it should.
        withExtendedLifetime(stranger) {}
        try edit(pair.bench, "client", "udp://0.0.0.0:\(pair.entrance.port)", "udp://127.0.0.3:\(pair.entrance.port)")
        let result = try pair.client.client.reload()
        #expect(result.applied == ["tunnel 'echo': listen changed; its associations begin anew"], "\(result)")
    }

    @Test func `an order in the file that means nothing is nothing to a daemon, and what it counted stays`()
        async throws
    {
        let pair = try await Pair()
        let sender = try pair.sender()
        let port = try FreePorts.next()
        let alone = try pair.bench.directory.text("client.toml")
        try pair.bench.directory.write(alone + Self.tunnel("second", port, pair.exit), "client.toml")
        #expect(try pair.client.client.reload().applied == ["tunnel 'second': added"])
        try await pair.converse(sender, [1])
        let id = try pair.client.firstID()

        let own = try #require(alone.range(of: "[[tunnel]]"))
        try pair.bench.directory.write(
            alone[..<own.lowerBound] + Self.tunnel("second", port, pair.exit) + alone[own.lowerBound...], "client.toml")
        let reordered = try pair.client.client.reload()
        #expect(reordered.applied.isEmpty && reordered.unchanged == ["second", "echo"], "\(reordered)")
        try await pair.converse(sender, [2])
        #expect(try pair.client.firstID() == id)
        let tunnels = try pair.client.client.tunnels()
        #expect(tunnels.map(\.name) == ["second", "echo"] && tunnels.map(\.datagrams.out) == [0, 2])

        // A tunnel that begins anew counts from nothing, here as in the metrics.
        try edit(pair.bench, "client", "name = \"echo\"", "name = \"echo\"\nmtu = { maximum = 1400 }")
        #expect(
            try pair.client.client.reload().applied
                == ["tunnel 'echo': mtu.maximum changed; its associations begin anew"])
        #expect(try pair.client.client.tunnels().map(\.datagrams.out) == [0, 0])
        let metrics = try pair.client.client.metrics()
        #expect(metrics.contains("culvert_datagrams_total{tunnel=\"echo\",direction=\"out\"} 0"), "\(metrics)")
        try await pair.recover(sender, within: .seconds(30))
    }

    @Test func `what takes a restart is named until there is one`() async throws {
        let pair = try await Pair(clientDaemon: "workers = 1")
        let id = try await {
            try await pair.converse(try pair.sender(), [1]); return try pair.client.firstID()
        }()
        try edit(pair.bench, "client", "workers = 1", "workers = 2\nlog_level = \"debug\"")
        for _ in 0..<2 {
            let result = try pair.client.client.reload()
            #expect(result.needsRestart.count == 1 && result.needsRestart[0].contains("workers"), "\(result)")
        }
        let status = try pair.client.client.status()
        #expect(status.workers == 1 && status.logLevel == "debug")
        let configuration = String(decoding: try pair.client.client.configuration(), as: UTF8.self)
        #expect(configuration.contains(#""workers":1,"#) && configuration.contains(#""log_level":"debug""#))
        #expect(try pair.client.firstID() == id)
    }

    @Test func `a config with mistakes changes nothing and every mistake is told`() async throws {
        let pair = try await Pair()
        let sender = try pair.sender()
        try await pair.converse(sender, [1])
        let id = try pair.client.firstID()
        let before = try pair.client.client.configuration()
        let events = EventRecord(pair.client)
        try edit(pair.bench, "client", "forward = ", "max_flows = -1\nlog_level = \"loud\"\nforward = ")
        let (status, body) = try pair.client.post("/v1/reload")
        let errors = try #require(body["errors"] as? [[String: Any]])
        #expect(status == 422 && errors.count == 2, "\(body)")
        #expect(errors.allSatisfy { ($0["location"] as? String)?.contains("client.toml:") == true })
        try await events.expect(.reloadFailed)
        pair.client.process.signal(SIGHUP)
        try await eventually("it is told again") { pair.client.lines(with: "nothing was changed").count >= 2 }
        #expect(try pair.client.client.configuration() == before)
        try await pair.converse(sender, [2])
        #expect(try pair.client.firstID() == id)
    }

    @Test func `a port that another program has leaves everything as it was`() async throws {
        let pair = try await Pair()
        let sender = try pair.sender()
        try await pair.converse(sender, [1])
        let id = try pair.client.firstID()
        let stranger = try Peer()
        try edit(pair.bench, "client", "udp://\(pair.entrance)", "udp://\(stranger.endpoint)")
        let (status, body) = try pair.client.post("/v1/reload")
        #expect(status == 422 && "\(body)".contains("another program has this port"), "\(body)")
        try await pair.converse(sender, [2])
        #expect(try pair.client.firstID() == id)
        #expect(try pair.client.client.tunnels().first?.listen == "udp://\(pair.entrance)")
    }

    @Test func `certificates replaced on disk are used from the next handshake on`() async throws {
        let pair = try await Pair()
        let own = (pair.bench.directory("own.crt"), pair.bench.directory("own.key"))
        func use(_ name: String) throws {
            for (file, kind) in [(own.0, "crt"), (own.1, "key")] {
                try? FileManager.default.removeItem(atPath: file)
                try FileManager.default.copyItem(atPath: pair.bench.keys.path("\(name).\(kind)"), toPath: file)
            }
        }
        try use("client")
        try edit(pair.bench, "client", pair.bench.keys.path("client.crt"), own.0)
        try edit(pair.bench, "client", pair.bench.keys.path("client.key"), own.1)
        #expect(
            try pair.client.client.reload().applied == [
                "[identity.default] changed: it holds for handshakes from now on"
            ])
        let stays = try pair.sender()
        try await pair.converse(stays, [1])
        let id = try pair.client.firstID()
        let ciphers = try pair.server.client.associations().compactMap(\.peerIdentity)
        #expect(ciphers.allSatisfy { $0.contains("edge-7") })

        try use("revoked")
        #expect(try pair.client.client.reload().applied.isEmpty)
        #expect(try pair.client.firstID() == id)
        try await pair.converse(stays, [2])
        try await pair.converse(try pair.sender(), [3])
        let identities = try pair.server.client.associations().compactMap(\.peerIdentity).sorted()
        #expect(identities.count == 2 && identities.contains { $0.contains("revoked") }, "\(identities)")
    }
}
