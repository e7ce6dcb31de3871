// Faults while a daemon runs: applications and peers that are not there, refusals, and a system that has no more to give.
// Each is said, none ends anything that works, and all pass by themselves.

import Foundation
import Testing
import TestSupport
import Wire

@Suite struct FaultTests {
    @Test func `an application that does not listen yet ends nothing and works when it appears`() async throws {
        let pair = try await Pair()
        try await pair.server.stop()
        let port = try FreePorts.next()
        let config = try pair.bench.directory.text("server.toml")
            .replacing("udp://\(pair.target.endpoint)", with: "udp://127.0.0.1:\(port)")
        try pair.bench.directory.write(config, "server.toml")
        let server = try await pair.startServerAgain()
        let sender = try pair.sender()
        for number in 0..<5 {
            sender.send([UInt8(number)])
            try await server.has("the association") { $0.first?.datagrams.in == UInt64(number + 1) }
        }
        try await server.says("nothing listens at 127.0.0.1:\(port)")
        #expect(server.lines(with: "nothing listens").count == 1)
        #expect(try server.associations().map(\.state) == ["established"])

        let target = try Peer(Endpoint(address: .loopbackIPv4, port: port))
        sender.send([5])
        let asked = try #require(try await target.receive())
        #expect(asked.bytes == [5])
        target.send([6], to: asked.source)
        #expect(try await sender.receive()?.bytes == [6])
    }

    @Test func `answers to a sender that has gone disturb nobody`() async throws {
        let pair = try await Pair()
        let stays = try pair.sender()
        try await pair.converse(stays, [1])
        let gone: Endpoint
        do {
            let leaves = try pair.sender()
            gone = try await pair.converse(leaves, [2])
        }
        for number in 0..<20 { pair.target.send([UInt8(number)], to: gone) }
        try await pair.client.has("all answers") { $0.contains { $0.datagrams.in == 21 } }
        for number in 0..<20 { try await pair.converse(stays, [UInt8(number)]) }
    }

    @Test func `a peer that is not believed is refused in a line on each side, with growing waits`() async throws {
        let pair = try await Pair()
        try await pair.client.stop()
        let config = try pair.bench.directory.text("client.toml")
            .replacing(pair.bench.keys.path("ca.crt"), with: pair.bench.keys.path("other-ca.crt"))
        try pair.bench.directory.write(config + "[tunnel.reconnect]\nminimum = \"100ms\"\n", "client.toml")
        try await pair.restartClient()
        let sender = try pair.sender()
        sender.send([1])
        try await pair.client.has("a wait") { $0.first?.state == "reconnecting" }
        try await pair.client.says("next attempt in")
        let line = try #require(pair.client.lines(with: "handshake with \(pair.exit) failed").first)
        #expect(line.contains("certificate") && line.contains(";"), "\(line)")
        try await pair.server.says("handshake with 127.0.0.1:")
        #expect(pair.target.take() == nil)

        // The mistake corrected, the next attempt succeeds and what waited is sent.
        try await pair.client.stop()
        try pair.bench.directory.write(
            config.replacing(pair.bench.keys.path("other-ca.crt"), with: pair.bench.keys.path("ca.crt")),
            "client.toml")
        try await pair.restartClient()
        try await pair.converse(sender, [2])
    }

    @Test func `a server that appears late gets what waited for it`() async throws {
        let pair = try await Pair()
        try await pair.server.stop()
        let sender = try pair.sender()
        sender.send(Array("early".utf8))
        try await pair.client.says("nothing listens at \(pair.exit)")
        #expect(try pair.client.associations().map(\.state) == ["handshaking"])
        let server = try await pair.startServerAgain()
        #expect(try await pair.target.receive()?.bytes == Array("early".utf8))
        #expect(server.process.isRunning)
    }

    @Test func `attempts are repeated with growing waits for as long as the peer refuses`() async throws {
        let pair = try await Pair(
            clientTunnel: "[tunnel.reconnect]\nminimum = \"50ms\"\nmaximum = \"400ms\"\n",
            serverTunnel: "allow_peers = [\"CN:somebody-else\"]")
        let sender = try pair.sender()
        sender.send([1])
        try await pair.server.says("edge-7 is not in allow_peers; add it there if it should be let in")
        try await pair.client.has("a wait") { $0.first?.state == "reconnecting" }
        // The server lets the handshake finish before it refuses; the client has to see the failure in that.
        let begin = ContinuousClock.now
        let before = try pair.client.control.tunnels()[0].handshakes
        try await eventually("more attempts", within: .seconds(10)) {
            try pair.client.control.tunnels()[0].handshakes >= before + 4
        }
        #expect(begin.duration(to: .now) > .milliseconds(200))
        #expect(pair.client.lines(with: "established").count == 1, "\(pair.client.log)")
        #expect(pair.target.take() == nil)
        #expect(pair.server.lines(with: "is not in allow_peers").count == 1, "\(pair.server.log)")
    }

    @Test(.enabled(if: Program.isInstalled("prlimit"), "prlimit is not installed"), arguments: ["client", "server"])
    func `out of file descriptors, existing flows go on and new ones work when there are some again`(
        _ limited: String
    ) async throws {
        let pair = try await Pair(clientTunnel: "flow_timeout = \"3s\"\n[tunnel.reconnect]\nmaximum = \"1s\"\n")
        // The limit is set from outside while it runs: so many more files, and no others.
        let daemon = limited == "client" ? pair.client : pair.server
        let stays = try pair.sender()
        try await pair.converse(stays, [1])
        let room = 4
        let limit = try daemon.openFiles() + room
        _ = try await Program.run(["prlimit", "--pid", "\(daemon.process.pid)", "--nofile=\(limit):\(limit)"])
        let senders = try (0..<room + 24).map { _ in try pair.sender() }
        for sender in senders { sender.send([9]) }
        try await daemon.says("out of file descriptors")
        for round in 0..<40 {
            try await pair.converse(stays, [UInt8(round), 1], skipping: [9])
            try await Task.sleep(for: .milliseconds(50))
        }
        // Nobody but `stays` talks: the others' flows end, and their files are free.
        let late = try pair.sender()
        try await eventually("a new flow", within: .seconds(30), every: .milliseconds(100)) {
            stays.send([8])
            late.send([7])
            while let asked = pair.target.take() { pair.target.send(asked.bytes, to: asked.source) }
            stays.drain()
            return late.take() != nil
        }
        #expect(daemon.process.isRunning)
        try await eventually("an answer on the control socket") { daemon.control.isReady }
    }

    @Test(.enabled(if: Program.isInstalled("prlimit"), "prlimit is not installed"))
    func `a control connection that cannot be accepted waits without using up a processor`() async throws {
        let pair = try await Pair()
        let process = pair.client.process.pid
        let used = Set(
            try FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/fd").compactMap { Int($0) })
        // The system gives out the lowest number that is free, and from here on there is none.
        let free = try #require((0...).first { !used.contains($0) })
        _ = try await Program.run(["prlimit", "--pid", "\(process)", "--nofile=\(free):20000"])
        let control = pair.client.control
        let answer = Task.detached { control.get("/readyz")?.status }
        let before = try pair.client.processorTime()
        try await Task.sleep(for: .seconds(2))
        #expect(try pair.client.processorTime() - before < .milliseconds(500))
        _ = try await Program.run(["prlimit", "--pid", "\(process)", "--nofile=20000:20000"])
        #expect(await answer.value == 200)
    }

    @Test func `a flood that the target does not read is dropped and nothing else happens`() async throws {
        let pair = try await Pair()
        let sender = try pair.sender()
        try await pair.converse(sender, [1])
        // Far more than the target's buffer holds.
        for _ in 0..<20_000 { sender.send(pattern(1000)) }
        try await eventually("the flood at the target") {
            pair.target.drain()
            return try pair.server.associations().first.map { $0.datagrams.in > 1000 } ?? false
        }
        try await pair.recover(sender)
        #expect(try pair.client.associations().map(\.state) == ["established"])
    }
}
