// Paths and names that a test can only have in a network and a mount namespace of its own: small MTUs, names that do not
// resolve yet, and servers with several addresses.

import Foundation
import Synchronization
import Testing
import TestSupport
import Wire

@Suite(
    .enabled(if: isRoot && Program.isInstalled("unshare") && Program.isInstalled("ip"), "needs root, unshare and ip"))
struct NetworkTests {
    @Test(arguments: ["fragment", "drop"])
    func `on a path of small packets large datagrams are fragmented, or dropped and counted`(
        _ oversize: String
    ) async throws {
        let bench = try await Bench()
        let target = Mutex<Peer?>(nil)
        let sender = Mutex<Peer?>(nil)
        let daemons = Mutex<[Daemon]>([])
        let entrance = Endpoint(address: .loopbackIPv4, port: 5514)
        for (name, listen, forward) in [
            ("server", "dtls://127.0.0.1:6514", "udp://127.0.0.1:514"),
            ("client", "udp://\(entrance)", "dtls://127.0.0.1:6514"),
        ] {
            try bench.configure(
                name, sharing: "never",
                tunnels: """
                    [[tunnel]]
                    name = "small"
                    listen = "\(listen)"
                    forward = "\(forward)"
                    oversize = "\(oversize)"
                    """)
        }
        try await inOwnNetwork(mtu: 1280) {
            target.withLock { $0 = try? Peer(Endpoint(address: .loopbackIPv4, port: 514)) }
            sender.withLock { $0 = try? Peer(connectedTo: entrance) }
            daemons.withLock { $0 = ["server", "client"].compactMap { try? Daemon(bench, $0) } }
        }
        let server = try #require(daemons.withLock { $0.first })
        let client = try #require(daemons.withLock { $0.last })
        for daemon in [server, client] { try await daemon.becomesReady() }
        let application = try #require(target.withLock { $0 })
        let legacy = try #require(sender.withLock { $0 })

        // Nothing begins before the client listens, and the handshake itself has to pass, too.
        legacy.send(pattern(1000))
        let first = try #require(try await application.receive(), "\(client.log) \(server.log)")
        #expect(first.bytes == pattern(1000))
        // Nothing is dropped for a path MTU that is not known yet.
        for daemon in [client, server] {
            try await daemon.has("a path MTU") { $0.first?.pathMtu?.state == "complete" }
        }
        for size in [1200, 1500, 9000, 16_384] {
            legacy.send(pattern(size))
            application.send(pattern(size), to: first.source)
        }
        let expected = oversize == "fragment" ? [1200, 1500, 9000, 16_384] : [1200]
        for size in expected {
            #expect(try await application.receive()?.bytes == pattern(size))
            #expect(try await legacy.receive()?.bytes == pattern(size))
        }
        for daemon in [client, server] {
            try await daemon.has("drops") { ($0.first?.dropped["oversize"] ?? 0) == 4 - UInt64(expected.count) }
        }
        legacy.send([1])
        #expect(try await application.receive()?.bytes == [1])
        #expect(application.take() == nil && legacy.take() == nil)
    }

    @Test func `a name that does not resolve yet is asked for again until it does`() async throws {
        let pair = try await Pair()
        try await pair.client.stop()
        let hosts = try pair.bench.directory.write("127.0.0.1 somewhere.invalid\n", "hosts", mode: 0o644)
        let config = try pair.bench.directory.text("client.toml").replacing(
            "dtls://127.0.0.1:", with: "dtls://collector.invalid:")
        try pair.bench.directory.write(
            config + "server_name = \"localhost\"\n[tunnel.reconnect]\nminimum = \"100ms\"\nmaximum = \"300ms\"\n",
            "client.toml")
        let client = try await pair.bench.start("client", prefix: Self.with(hosts: hosts))
        let sender = try pair.sender()
        sender.send([1])
        try await client.says("no address for collector.invalid; next attempt in")
        try await client.has("a wait") { ["reconnecting", "resolving"].contains($0.first?.state) }
        sender.send([2])
        // In place, for the mount is of the file.
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: hosts))
        try handle.write(contentsOf: Data("127.0.0.1 collector.invalid\n".utf8))
        try handle.close()
        #expect(try await pair.target.receive()?.bytes == [1])
        #expect(try await pair.target.receive()?.bytes == [2])
    }

    @Test func `of several addresses the one that answers is found`() async throws {
        let pair = try await Pair()
        try await pair.client.stop()
        // Nobody listens at the first; ICMP says so, which is a hint and no proof.
        let hosts = try pair.bench.directory.write(
            "127.0.0.9 collector.invalid\n127.0.0.1 collector.invalid\n", "hosts", mode: 0o644)
        let config = try pair.bench.directory.text("client.toml").replacing(
            "dtls://127.0.0.1:", with: "dtls://collector.invalid:")
        try pair.bench.directory.write(config + "server_name = \"localhost\"\n", "client.toml")
        let client = try await pair.bench.start("client", prefix: Self.with(hosts: hosts))
        let sender = try pair.sender()
        sender.send([1])
        #expect(try await pair.target.receive(within: .seconds(30))?.bytes == [1], "\(client.log)")
        #expect(try client.associations().map(\.peerAddress) == ["\(pair.exit)"])
    }

    /// Has a program see another file as /etc/hosts.
    private static func with(hosts: String) -> [String] {
        ["unshare", "--mount", "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\"", hosts]
    }

    /// Runs `body` on a thread with a network of its own, whose loopback interface has this MTU. What `body` opens and starts
    /// stays in that network.
    private func inOwnNetwork(mtu: Int, _ body: @escaping @Sendable () -> Void) async throws {
        let failure: String? = await withCheckedContinuation { done in
            Thread.detachNewThread {
                guard let symbol = dlsym(nil, "unshare") else {
                    done.resume(returning: "there is no unshare(2)")
                    return
                }
                let unshare = unsafeBitCast(symbol, to: (@convention(c) (CInt) -> CInt).self)
                let newNetwork: CInt = 0x4000_0000  // CLONE_NEWNET
                guard unshare(newNetwork) == 0 else {
                    done.resume(returning: "unshare: \(String(cString: strerror(errno)))")
                    return
                }
                let up = try? Program(["ip", "link", "set", "dev", "lo", "mtu", "\(mtu)", "up"])
                while up?.isRunning == true { usleep(1000) }
                guard up?.status == 0 else {
                    done.resume(returning: "ip: \(up?.said ?? "")")
                    return
                }
                body()
                done.resume(returning: nil)
            }
        }
        if let failure { throw Unusable(failure) }
    }
}
