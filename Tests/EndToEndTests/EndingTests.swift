// How associations and daemons end, and what goes on afterwards: orderly ends, crashes, restarts, idleness.

import Foundation
import Testing
import TestSupport
import Wire

@Suite struct EndingTests {
    @Test(arguments: [SIGTERM, SIGINT])
    func `a client that is told to end says goodbye and exits 0 at once`(_ signal: Int32) async throws {
        let pair = try await Pair()
        try await pair.converse(try pair.sender(), [1])
        let (status, took) = try await pair.client.stop(signal)
        #expect(status == 0 && took < BuildKind.promisedEnd, "\(took) \(pair.client.log)")
        try await pair.server.has("none left") { $0.isEmpty }
        #expect(pair.server.lines(with: "ended: the peer closed it").count == 1, "\(pair.server.log)")
        #expect(!FileManager.default.fileExists(atPath: pair.client.control.path))
    }

    @Test func `daemons with many associations end as quickly, and every peer is told`() async throws {
        let pair = try await Pair(clientDaemon: "workers = 2", serverDaemon: "workers = 2")
        let senders = try (0..<400).map { _ in try pair.sender() }
        for sender in senders { sender.send([1]) }
        for _ in senders {
            let asked = try #require(try await pair.target.receive())
            pair.target.send(asked.bytes, to: asked.source)
        }
        for sender in senders { _ = try #require(try await sender.receive()) }
        try await pair.server.has("all of them") { $0.count { $0.state == "established" } == senders.count }
        try await pair.client.has("all of them") { $0.count { $0.state == "established" } == senders.count }
        let server = try await pair.server.stop()
        #expect(server.status == 0 && server.took < BuildKind.promisedEnd, "\(server.took)")
        try await pair.client.has("all of them") { $0.count { $0.state == "idle" } == senders.count }
        let client = try await pair.client.stop()
        #expect(client.status == 0 && client.took < BuildKind.promisedEnd, "\(client.took)")
    }

    @Test func `a daemon with a worker that cannot go on ends with status 1 and says why`() async throws {
        let bench = try await Bench()
        let path = try bench.configure(
            "client", daemon: "workers = 2",
            tunnels: """
                [[tunnel]]
                name = "good"
                listen = "udp://127.0.0.1:\(try FreePorts.next())"
                forward = "dtls://127.0.0.1:9"
                """)
        // epoll_pwait2, which has this number everywhere, for who asks for 256 events at a time: only workers do.
        let refusing = [Program.built("refuse-call"), "441", "\(EBADF)", "2", "256"]
        let (status, said) = try await bench.culvert("run", "--config", path, prefix: refusing)
        #expect(status == 1, "\(said)")
        let lines = said.split(separator: "\n").filter { $0.contains(" critical worker ") }
        #expect(!lines.isEmpty && lines.count <= 2, "\(said)")
        for line in lines {
            #expect(line.hasSuffix(" cannot go on: epoll_wait: Bad file descriptor; the daemon ends"), "\(said)")
        }
        #expect(said.hasSuffix("cannot go on: epoll_wait: Bad file descriptor\n"), "\(said)")
        #expect(!FileManager.default.fileExists(atPath: bench.directory("client.sock")))
    }

    @Test func `a daemon ends at once while handshakes are under way`() async throws {
        let pair = try await Pair()
        try await pair.server.stop(SIGKILL)
        let sender = try pair.sender()
        sender.send([1])
        try await pair.client.has("a handshake") { $0.first?.state == "handshaking" }
        let (status, took) = try await pair.client.stop()
        #expect(status == 0 && took < BuildKind.promisedEnd, "\(took)")
    }

    @Test func `a client goes on with the next datagram after its server was restarted`() async throws {
        let pair = try await Pair()
        let sender = try pair.sender()
        try await pair.converse(sender, [1])
        try await pair.server.stop()
        try await pair.client.has("an idle one") { $0.first?.state == "idle" }
        try await pair.client.says("ended: the peer closed it")
        let server = try await pair.startServerAgain()
        try await pair.converse(sender, [2])
        #expect(try server.associations().count == 1)
        #expect(try pair.client.associations().map(\.state) == ["established"])
    }

    @Test func `a server's crash is over with the client's idle timeout or its restart`() async throws {
        let pair = try await Pair(clientTunnel: "flow_timeout = \"2s\"")
        let sender = try pair.sender()
        try await pair.converse(sender, [1])
        try await pair.server.stop(SIGKILL)
        // What is sent into the void, and what ICMP says of it, ends nothing.
        sender.send([2])
        try await pair.client.says("nothing listens at \(pair.exit)")
        #expect(try pair.client.associations().map(\.state) == ["established"])

        let server = try await pair.startServerAgain()
        try await pair.client.has("none left") { $0.isEmpty }
        try await pair.converse(sender, [3])

        try await server.stop(SIGKILL)
        let third = try await pair.startServerAgain()
        #expect(try await pair.client.stop().status == 0)
        try await pair.restartClient()
        try await pair.converse(sender, [4])
        #expect(third.process.isRunning)
    }

    @Test func `a client that crashed comes back while the server still has its old association`() async throws {
        let pair = try await Pair()
        let sender = try pair.sender()
        try await pair.converse(sender, [1])
        try await pair.client.stop(SIGKILL)
        try await pair.restartClient()
        try await pair.converse(sender, [2])
        #expect(try pair.server.associations().count == 2)
    }

    @Test(.enabled(if: Program.isInstalled("openssl"), "openssl is not installed"))
    func `a client that crashed comes back from the same port and replaces its association`() async throws {
        let pair = try await Pair()
        let port = try FreePorts.next()
        var seen: [Endpoint] = []
        for round in 0..<3 {
            let client = try Program([
                "openssl", "s_client", "-dtls1_2", "-quiet", "-connect", "\(pair.exit)", "-bind",
                "127.0.0.1:\(port)", "-cert", pair.bench.keys.path("client.crt"), "-key",
                pair.bench.keys.path("client.key"), "-CAfile", pair.bench.keys.path("ca.crt"), "-verify_return_error",
            ])
            client.write("hello \(round)\n")
            let asked = try #require(try await pair.target.receive(), "\(client) \(pair.server.log)")
            #expect(asked.bytes == Array("hello \(round)\n".utf8))
            seen.append(asked.source)
            pair.target.send(Array("answer \(round)\n".utf8), to: asked.source)
            try await client.expect("answer \(round)")
            client.signal(SIGKILL)
            #expect(try await client.expectExit() == 128 + SIGKILL)
            let associations = try pair.server.associations()
            #expect(associations.map(\.peerAddress) == ["127.0.0.1:\(port)"])
            #expect(associations.map(\.state) == ["established"])
        }
        // The application keeps seeing the same client.
        #expect(Set(seen).count == 1)
    }

    @Test func `a flow that is idle is forgotten at both ends and begins anew`() async throws {
        let pair = try await Pair(clientTunnel: "flow_timeout = \"1500ms\"", clientDaemon: "log_level = \"debug\"")
        let sender = try pair.sender()
        for round in 1...2 {
            try await pair.converse(sender, [UInt8(round)])
            for daemon in [pair.client, pair.server] { try await daemon.has("none left") { $0.isEmpty } }
        }
        #expect(pair.client.lines(with: "flow of \(sender.endpoint) expired").count == 2, "\(pair.client.log)")
        #expect(pair.server.lines(with: "the peer closed it").count == 2, "\(pair.server.log)")
    }

    @Test func `an idle association of the server ends with a close_notify to the client`() async throws {
        let pair = try await Pair(serverTunnel: "flow_timeout = \"1500ms\"")
        let sender = try pair.sender()
        try await pair.converse(sender, [1])
        try await pair.server.has("none left") { $0.isEmpty }
        try await pair.client.has("an idle one") { $0.first?.state == "idle" }
        try await pair.converse(sender, [2])
    }

    @Test(arguments: ["max_flows", "max_associations"])
    func `a full client refuses strangers, says so and leaves those alone that it has`(_ limit: String) async throws {
        let pair = try await Pair(clientTunnel: "\(limit) = 2", clientDaemon: "workers = 1")
        let senders = try (0..<3).map { _ in try pair.sender() }
        try await pair.converse(senders[0], [1])
        try await pair.converse(senders[1], [2])
        for _ in 0..<20 { senders[2].send([3]) }
        try await pair.client.says("is reached: none is idle, so a new one was refused")
        #expect(pair.client.lines(with: "is reached").count == 1)
        try await pair.converse(senders[0], [4])
        try await pair.converse(senders[1], [5])
        #expect(try pair.client.associations().count == 2)
    }

    @Test func `a full client has its oldest idle flow give way`() async throws {
        let pair = try await Pair(clientTunnel: "max_flows = 2\nflow_timeout = \"4s\"", clientDaemon: "workers = 1")
        let senders = try (0..<3).map { _ in try pair.sender() }
        for sender in senders[0..<2] { try await pair.converse(sender, [1]) }
        try await pair.recover(senders[2])
        #expect(try pair.client.associations().count <= 2)
        #expect(pair.client.lines(with: "max_flows is reached").count == 1, "\(pair.client.log)")
    }

    @Test func `a full server refuses strangers and leaves those alone that it has`() async throws {
        let pair = try await Pair(serverTunnel: "max_associations = 2", serverDaemon: "workers = 1")
        let senders = try (0..<3).map { _ in try pair.sender() }
        try await pair.converse(senders[0], [1])
        try await pair.converse(senders[1], [2])
        senders[2].send([3])
        try await pair.server.says("max_associations is reached")
        try await pair.converse(senders[0], [4])
        try await pair.converse(senders[1], [5])
        #expect(try pair.server.associations().count { $0.state == "established" } == 2)
    }
}
