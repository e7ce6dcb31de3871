// pyOpenSSL, the JDK's JSSE and Erlang's ssl in both roles, over a good path and over bad ones, with a daemon that is told
// nothing but where to listen and whom to believe.

import Foundation
import TestSupport
import Testing
import Wire

private let rounds = 1...3
private let patience = Duration.seconds(60)
private let repetition = Duration.milliseconds(300)
/// Over bad paths, servers of JSSE and Erlang have been seen to leave a handshake unanswered to its end.
private let servers: [(Peer, Road)] =
    Peer.allCases.map { ($0, .good) } + Road.allCases.filter { $0 != .good }.map { (.pyOpenSSL, $0) }
private let missing = Peer.allCases.filter { !$0.isInstalled }.map(\.rawValue).joined(separator: ", ")

@Suite(.enabled(if: missing.isEmpty, "not installed: \(missing)"), .inTurns) struct PeerTests {
    @Test(arguments: Peer.allCases, Road.allCases)
    func `a server exchanges data with clients of another library`(_ peer: Peer, _ road: Road) async throws {
        let keys = try await TestKeys.shared()
        let application = try UDPEndpoint()
        let port = try FreePorts.next()
        let daemon = try await DaemonFixture(
            credentials(.ecdsa, .server, keys)
                + tunnel(listen: "dtls://127.0.0.1:\(port)", forward: "udp://\(application.endpoint)", peer.settings),
            settings: "", sharing: "auto")
        let ways = try await road.ways(to: port)
        let client = try peer.client(ports: ways.ports, keys: keys)
        var arrived: Set<String> = []
        for round in rounds {
            let text = message(round)
            try await repeatedly("the echoes of '\(text)' at \(client)\n\(daemon.log.suffix(3000))") {
                client.write("\(text)\n")
            } until: {
                while let (datagram, source) = application.receive() {
                    arrived.insert(String(decoding: datagram, as: UTF8.self))
                    application.send(Array("echo ".utf8) + datagram, to: source)
                }
                return ways.ports.allSatisfy { client.said.contains("\($0) echo \(text)\n") }
            }
        }
        #expect(arrived == Set(rounds.map { "\(message($0))\n" }))
        let echoes = Set(ways.ports.flatMap { port in rounds.map { "\(port) echo \(message($0))" } })
        #expect(Set(client.lines(with: "echo")) == echoes, "\(client)")
        let list = try daemon.associations().filter { $0.state == "established" && $0.datagrams.in >= 3 }
        #expect(list.count == ways.ports.count, "\(list)")
        #expect(list.allSatisfy { $0.peerIdentity?.contains("edge-7") == true && $0.authFailures == 0 }, "\(list)")
        #expect(try await daemon.stop() == 0)
        if road == .good { try await client.expect("closed") }
        withExtendedLifetime(ways) {}
    }

    @Test(arguments: servers)
    func `a client exchanges data with a server of another library`(_ peer: Peer, _ road: Road) async throws {
        let keys = try await TestKeys.shared()
        let port = try FreePorts.next()
        let server = try await peer.server(port: port, keys: keys)
        let ways = try await road.ways(to: port)
        let entrances = try ways.ports.map { _ in try FreePorts.next() }
        let daemon = try await DaemonFixture(
            credentials(.ecdsa, .client, keys)
                + zip(entrances, ways.ports).map { entrance, way in
                    tunnel(
                        "by-\(way)", listen: "udp://127.0.0.1:\(entrance)", forward: "dtls://127.0.0.1:\(way)",
                        peer.settings)
                }.joined(), settings: "", sharing: "auto")
        let senders = try entrances.map { ($0, try UDPEndpoint()) }
        var received = [Set<String>](repeating: [], count: senders.count)
        for round in rounds {
            let text = message(round)
            try await repeatedly("the echoes of '\(text)': \(received); \(server)\n\(daemon.log.suffix(3000))") {
                for (entrance, sender) in senders { sender.send("\(text)\n", to: entrance) }
            } until: {
                for (index, (_, sender)) in senders.enumerated() {
                    while let (datagram, _) = sender.receive() {
                        received[index].insert(String(decoding: datagram, as: UTF8.self))
                    }
                }
                return received.allSatisfy { $0.contains("echo \(text)\n") }
            }
        }
        let echoes = Set(rounds.map { "echo \(message($0))\n" })
        #expect(received.allSatisfy { $0 == echoes }, "\(received)")
        let list = try daemon.associations().filter { $0.state == "established" && $0.datagrams.in >= 3 }
        #expect(Set(list.map(\.tunnel)).count == ways.ports.count, "\(list)")
        #expect(list.allSatisfy { $0.peerIdentity?.contains("localhost") == true && $0.authFailures == 0 }, "\(list)")
        #expect(try await daemon.stop() == 0)
        if road == .good { try await server.expect("closed") }
        withExtendedLifetime(ways) {}
    }

    private func message(_ round: Int) -> String { "round \(round) \(round * 104_729)" }

    /// Does `action` again and again until `condition` holds.
    private func repeatedly(
        _ what: @autoclosure () -> String, _ action: () -> Void, until condition: () throws -> Bool
    ) async throws {
        var next = ContinuousClock.now
        try await eventually(what(), within: patience, every: .milliseconds(20)) {
            if ContinuousClock.now >= next {
                action()
                next = ContinuousClock.now + repetition
            }
            return try condition()
        }
    }
}
