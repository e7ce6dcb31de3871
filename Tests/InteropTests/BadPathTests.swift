// Every program in both roles through culvert-impair: a fifth of all datagrams lost, a fifth doubled, a fifth out of order,
// in each direction, by twenty seeds. Every connection has to come about and to carry data both ways, unharmed. The seeds
// run at the same time, because what takes time is the programs' timers.

import Foundation
import Synchronization
import TestSupport
import Testing
import Wire

private let seeds = 1...20
private let rounds = 3
private let patience = Duration.seconds(120)
/// socat gives OpenSSL a socket without DTLS's timer, so it never repeats a flight of its own that was lost. A connection
/// that hangs for it is begun anew after this time, as its user would have to.
private let hang = Duration.seconds(4)
private let repetition = Duration.milliseconds(300)

/// gnutls-serv 3.7 has one session at a time, and two ways not to come back from it. While it waits for a connection, it leaves
/// what is no well-formed ClientHello where it is and looks again, for ever, saying each time that it is waiting; a late record
/// of an attempt that has failed is enough. And where its last flight was lost so often that the client has given up, it stays
/// in the session that only it has, and answers no other.
private enum Stuck: Error {
    case spinning
    case inSession
}

/// A tunnel's way in, and the bad path that it leads to.
private struct Way {
    let tunnel: String
    let listen: UInt16
    let server: UInt16
    let path: Program
}

/// A line that tells whose and the how manieth it is, and whether it has been harmed.
private func message(seed: Int, round: Int) -> String { "seed \(seed) round \(round) \(seed * 7919 + round * 104_729)" }

/// An application behind a daemon that says `echo ` and what it got, and finds fault with any line that is not a message.
/// It repeats its last answer to everybody, because a datagram that OpenSSL drops, being a double, has socat wait for the
/// next one and forget about its input.
private final class EchoApplication: Sendable {
    let socket: UDPEndpoint
    let faults = Mutex<[String]>([])
    private let answers = Mutex<[Endpoint: [UInt8]]>([:])
    private let expected = Set(seeds.flatMap { seed in (1...rounds).map { message(seed: seed, round: $0) } })

    init() throws {
        socket = try UDPEndpoint()
        Thread { [weak self, socket] in
            var next = ContinuousClock.now
            while self != nil {
                UDPEndpoint.wait(for: [socket], milliseconds: 50)
                while let (datagram, source) = socket.receive() { self?.take(datagram, source) }
                guard ContinuousClock.now >= next else { continue }
                self?.answer()
                next = ContinuousClock.now + repetition
            }
        }.start()
    }

    private func take(_ datagram: [UInt8], _ source: Endpoint) {
        for line in String(decoding: datagram, as: UTF8.self).split(separator: "\n").map(String.init) {
            if expected.contains(line) {
                let answer = Array("echo \(line)\n".utf8)
                answers.withLock { $0[source] = answer }
                socket.send(answer, to: source)
            } else {
                faults.withLock { $0.append(line) }
            }
        }
    }

    private func answer() {
        for (source, answer) in answers.withLock({ $0 }) { socket.send(answer, to: source) }
    }
}

extension Tool {
    /// Whether what its server gets comes back by itself: socat's goes through a pipe.
    fileprivate var echoesHere: Bool { self != .openssl }
}

@Suite(.needs(Tool.allCases)) struct BadPathTests {
    @Test(arguments: Tool.allCases)
    func `clients of another make reach a server over bad paths`(_ tool: Tool) async throws {
        let keys = try await TestKeys.shared()
        let application = try EchoApplication()
        let port = try FreePorts.next()
        let daemon = try await DaemonFixture(
            credentials(.ecdsa, .server, keys)
                + serverTunnel(.ecdsa, listen: port, forward: application.socket.endpoint))
        let outcomes = await results { seed in
            let path = try await badPath(to: port, seed: seed)
            var client = try tool.client(.ecdsa, port: path.port, keys: keys)
            for round in 1...rounds {
                let text = message(seed: seed, round: round)
                try await repeatedly(
                    "the echo of '\(text)' by \(client)", until: { client.said.contains("echo \(text)") },
                    restart: {
                        guard tool == .socat, round == 1 else { return }
                        client = try tool.client(.ecdsa, port: path.port, keys: keys)
                    }
                ) {
                    client.write("\(text)\n")
                }
            }
            let foreign = client.lines(with: "echo seed").filter { !$0.contains("echo seed \(seed) ") }
            return foreign.isEmpty ? nil : "seed \(seed): foreign or harmed: \(foreign)"
        }
        #expect(outcomes.isEmpty, "\(outcomes.joined(separator: "\n"))\n\(daemon.log.suffix(3000))")
        let faults = application.faults.withLock { $0 }
        #expect(faults.isEmpty)
        #expect(try daemon.associations().allSatisfy { $0.authFailures == 0 })
        #expect(try await daemon.stop() == 0)
    }

    @Test(arguments: Tool.allCases)
    func `a client reaches servers of another make over bad paths`(_ tool: Tool) async throws {
        let keys = try await TestKeys.shared()
        var config = credentials(.ecdsa, .client, keys)
        var ways: [Int: [Way]] = [:]
        for seed in seeds {
            // One more where a server may have to be given up.
            for attempt in 0..<(tool == .gnutls ? 2 : 1) {
                let (server, listen) = (try FreePorts.next(), try FreePorts.next())
                let path = try await badPath(to: server, seed: seed + 100 * attempt)
                let way = Way(tunnel: "seed-\(seed)-\(attempt)", listen: listen, server: server, path: path.program)
                ways[seed, default: []].append(way)
                config += clientTunnel(.ecdsa, listen: listen, forward: path.port, name: way.tunnel)
            }
        }
        let daemon = try await DaemonFixture(config)
        let outcomes = await results { [ways] seed in
            try await Self.talk(tool, by: ways[seed] ?? [], daemon, keys, seed: seed)
        }
        #expect(outcomes.isEmpty, "\(outcomes.joined(separator: "\n"))\n\(daemon.log.suffix(3000))")
        #expect(try daemon.associations().allSatisfy { $0.authFailures == 0 })
        #expect(try await daemon.stop() == 0)
        withExtendedLifetime(ways) {}
    }

    /// Sends each message until it comes back; a server that sends nothing back by itself is made to.
    private static func talk(
        _ tool: Tool, by ways: [Way], _ daemon: DaemonFixture, _ keys: TestKeys, seed: Int
    ) async throws -> String? {
        var received: [String] = []
        for (attempt, way) in ways.enumerated() {
            let isReplaceable = attempt + 1 < ways.count
            let server = try await tool.server(
                .ecdsa, port: way.server, keys: keys, extra: tool == .socat ? ["fork"] : [], application: "PIPE")
            do {
                try await talk(
                    to: server, isReplaceable: isReplaceable, tool, by: way, daemon, seed: seed, &received)
                break
            } catch is Stuck where isReplaceable {
                server.end()
            }
        }
        let expected = Set((1...rounds).map { (tool.echoesHere ? "" : "echo ") + message(seed: seed, round: $0) })
        let harmed = received.filter { !expected.contains($0) }
        return harmed.isEmpty ? nil : "seed \(seed): harmed: \(harmed)"
    }

    private static func talk(
        to server: Program, isReplaceable: Bool, _ tool: Tool, by way: Way, _ daemon: DaemonFixture, seed: Int,
        _ received: inout [String]
    ) async throws {
        var sender = try UDPEndpoint()
        for round in 1...rounds {
            let text = message(seed: seed, round: round)
            let answer = tool.echoesHere ? text : "echo \(text)"
            try await repeatedly(
                "'\(answer)' from \(server)",
                until: {
                    while let (datagram, _) = sender.receive() {
                        received += String(decoding: datagram, as: UTF8.self).split(separator: "\n").map(String.init)
                    }
                    if server.saidBytes > 1_000_000 { throw Stuck.spinning }
                    return received.contains(answer)
                },
                restart: {
                    if isReplaceable, daemon.log.contains(" \(way.tunnel): handshake with ") { throw Stuck.inSession }
                    // Another sender is another flow, with an association of its own.
                    if tool == .socat, round == 1 { sender = try UDPEndpoint() }
                }
            ) {
                sender.send("\(text)\n", to: way.listen)
                if !tool.echoesHere, server.said.contains(text) { server.write("\(answer)\n") }
            }
        }
    }

    /// Runs all seeds at once; what they complain of.
    private func results(_ body: @escaping @Sendable (Int) async throws -> String?) async -> [String] {
        await withTaskGroup(of: String?.self) { group in
            for seed in seeds {
                group.addTask {
                    do { return try await body(seed) } catch { return "seed \(seed): \(error)" }
                }
            }
            return await group.reduce(into: []) { complaints, complaint in
                if let complaint { complaints.append(complaint) }
            }
        }
    }
}

/// Does `action` again and again until `condition` holds, and `restart` every time it has been in vain for long.
private func repeatedly(
    _ what: @autoclosure () -> String, until condition: () throws -> Bool, restart: () throws -> Void,
    _ action: () -> Void
) async throws {
    var next = ContinuousClock.now
    var nextRestart = next + hang
    try await eventually(what(), within: patience, every: .milliseconds(20)) {
        if try condition() { return true }
        if ContinuousClock.now >= next {
            action()
            next = ContinuousClock.now + repetition
        }
        if ContinuousClock.now >= nextRestart {
            try restart()
            nextRestart = ContinuousClock.now + hang
        }
        return false
    }
}
