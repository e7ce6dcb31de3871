// Many peers at once: what an idle association costs, and what first hellos from everywhere do not. The numbers are printed.
// A debug build carries half as much, a sanitized one less. CULVERT names another program to measure, such as a release build.

import Foundation
import Testing
import TestSupport
import Wire

@Suite(.serialized) struct ScaleTests {
    private static let associations = BuildKind.isSanitized ? 1000 : BuildKind.isOptimized ? 10_000 : 5000

    @Test(
        .enabled(if: OpenFiles.limit > associations + 1000, "the limit on open files is too low"),
        .timeLimit(.minutes(3)))
    func `ten thousand associations carry data both ways and cost little when they are idle`() async throws {
        let pair = try await Pair(
            clientTunnel: "flow_timeout = \"1h\"", serverTunnel: "flow_timeout = \"1h\"",
            clientDaemon: "log_level = \"notice\"", serverDaemon: "log_level = \"notice\"")
        var senders: [Peer] = []
        var targets: Set<Endpoint> = []

        /// Lets senders talk until there are `count`, a few at a time, as an evening's clients come.
        func grow(to count: Int) async throws {
            while senders.count < count {
                // Each from an address of its own: one address has not enough ports for all the sockets of three programs.
                let some = try (0..<min(50, count - senders.count)).map {
                    let address = IPAddress(ipv4: 0x7f02_0000 + UInt32(senders.count + $0))
                    return try Peer(Endpoint(address: address, port: 0), connectedTo: pair.entrance)
                }
                for sender in some { sender.send(pattern(64)) }
                for _ in some {
                    let asked = try #require(try await pair.target.receive(), "\(senders.count): \(pair.logs)")
                    targets.insert(asked.source)
                    pair.target.send(asked.bytes, to: asked.source)
                }
                for sender in some {
                    let answer = try await sender.receive()
                    #expect(answer?.bytes == pattern(64))
                }
                senders += some
            }
        }
        // What a first tenth needs once, such as OpenSSL's tables and room for handshakes, is not counted.
        let begin = ContinuousClock.now
        try await grow(to: Self.associations / 10)
        let before = (client: try pair.client.memory(), server: try pair.server.memory())
        try await grow(to: Self.associations)
        let after = (client: try pair.client.memory(), server: try pair.server.memory())
        let took = ContinuousClock.now - begin
        let added = Self.associations - Self.associations / 10
        let client = (after.client - before.client) / added
        let server = (after.server - before.server) / added
        print(
            """
            scale: \(Self.associations) associations in \(took); memory for each that is idle: \
            client \(client) bytes, server \(server) bytes; in all: client \(after.client >> 10) KiB, \
            server \(after.server >> 10) KiB
            """)
        #expect(targets.count == Self.associations)
        if !BuildKind.isSanitized {
            // An association that has had to drop something, a repeated flight on a busy machine, keeps counters for it.
            func limit(_ daemon: Daemon) throws -> Int {
                let all = try daemon.associations()
                return 4096 + 256 * all.count { !$0.dropped.isEmpty } / max(all.count, 1)
            }
            let limits = (client: try limit(pair.client), server: try limit(pair.server))
            #expect(client <= limits.client && server <= limits.server, "\(limits)")
        }

        // All of them, once more and both ways, in no haste.
        for some in stride(from: 0, to: senders.count, by: 100).map({ senders[$0..<min($0 + 100, senders.count)] }) {
            for sender in some { sender.send([1, 2, 3]) }
            for _ in some {
                let asked = try #require(try await pair.target.receive())
                pair.target.send([4, 5], to: asked.source)
                #expect(targets.contains(asked.source))
            }
            for sender in some { #expect(try await sender.receive()?.bytes == [4, 5]) }
        }
        let list = try pair.server.associations()
        #expect(list.count == Self.associations)
        #expect(list.allSatisfy { $0.state == "established" && $0.datagrams.in == 2 && $0.datagrams.out == 2 })
        let end = (client: try await pair.client.stop(), server: try await pair.server.stop())
        print("scale: ended within \(end.client.took) (client, all open) and \(end.server.took) (server)")
        #expect(end.client.status == 0 && end.server.status == 0)
        #expect(end.client.took < BuildKind.promisedEnd, "\(end.client.took)")
    }

    @Test(
        .enabled(if: OpenFiles.limit > associations + 1000, "the limit on open files is too low"),
        .timeLimit(.minutes(5)))
    func `the heartbeats of ten thousand idle associations cost less than three hundredths of a processor`()
        async throws
    {
        // Debug builds take many times as long for each; what they spend on so many is no measure, but it has a bound too.
        let count = BuildKind.isOptimized ? 10_000 : 400
        let pair = try await Pair(
            clientTunnel: "flow_timeout = \"1h\"", serverTunnel: "flow_timeout = \"1h\"",
            clientDaemon: "log_level = \"notice\"", serverDaemon: "log_level = \"notice\"")
        for first in stride(from: 0, to: count, by: 50) {
            for number in first..<min(first + 50, count) {
                let address = IPAddress(ipv4: 0x7f03_0000 + UInt32(number))
                try Peer(Endpoint(address: address, port: 0), connectedTo: pair.entrance).send([1])
            }
            for _ in first..<min(first + 50, count) {
                _ = try #require(try await pair.target.receive(), "\(first): \(pair.logs)")
            }
        }
        let known = try pair.client.associations()
        #expect(known.count == count && known.allSatisfy { $0.state == "established" })
        // The search for the path MTU is over within seconds, and heartbeats come after ten of silence.
        try await Task.sleep(for: .seconds(12))
        func answered(_ daemon: Daemon) throws -> UInt64 {
            try daemon.associations().reduce(0) { $0 + ($1.heartbeat?.answered ?? 0) + ($1.pathMtu?.probes ?? 0) }
        }
        func sentAndTime(_ daemon: Daemon) throws -> (UInt64, Duration) {
            (try answered(daemon), try daemon.processorTime())
        }
        let before = try (client: sentAndTime(pair.client), server: sentAndTime(pair.server))
        let begin = ContinuousClock.now
        try await Task.sleep(for: .seconds(20))
        let after = try (client: pair.client.processorTime(), server: pair.server.processorTime())
        let span = ContinuousClock.now - begin
        let messages = try (client: answered(pair.client), server: answered(pair.server))
        let client = (after.client - before.client.1) / span
        let server = (after.server - before.server.1) / span
        let exchanged = messages.client + messages.server - before.client.0 - before.server.0
        print(
            """
            scale: \(count) idle associations, \(exchanged) heartbeats and probes answered in \(span): \
            client \(client * 100) %, server \(server * 100) % of a processor
            """)
        // Ten seconds without a word, twice: each association has been asked, by one end at least.
        #expect(exchanged >= UInt64(count))
        #expect(messages.client + messages.server <= UInt64(count * 40))
        guard !BuildKind.isSanitized else { return }
        #expect(client < 0.03 && server < 0.03, "\(client) \(server)")
    }

    @Test(.timeLimit(.minutes(3)))
    func `first hellos from a hundred thousand addresses take no memory and harm nobody`() async throws {
        let pair = try await Pair()
        let sender = try pair.sender()
        try await pair.converse(sender, [1])
        let flood = BuildKind.isSanitized ? 20_000 : BuildKind.isOptimized ? 100_000 : 50_000
        func hello(_ number: Int) throws {
            // 127.1.0.0 and up: the whole of 127.0.0.0/8 is this machine.
            let address = IPAddress(ipv4: 0x7f01_0000 + UInt32(number))
            let stranger = try Peer(Endpoint(address: address, port: 0), connectedTo: pair.exit)
            stranger.send(clientHello(random: UInt64(number)))
        }
        for number in 0..<1000 { try hello(number) }
        try await pair.converse(sender, [2])
        let before = try pair.server.memory()
        let begin = ContinuousClock.now
        for number in 1000..<flood {
            try hello(number)
            // The association beside them is in use all the time, and loses nothing.
            if number % 200 == 0 { try await pair.converse(sender, [UInt8(truncatingIfNeeded: number / 200)]) }
        }
        try await pair.converse(sender, [3])
        let grown = try pair.server.memory() - before
        print("scale: \(flood) first hellos in \(ContinuousClock.now - begin); the server has grown by \(grown) bytes")
        if !BuildKind.isSanitized { #expect(grown < 512 << 10, "\(grown) bytes") }
        let list = try pair.server.associations()
        #expect(list.count == 1 && list.first?.dropped.isEmpty == true, "\(list)")
        #expect(pair.server.log.split(separator: "\n").count < 10, "\(pair.server.log)")
    }
}
