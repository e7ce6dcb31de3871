// Every datagram is accounted for: what came to a tunnel, or to an association, is what it carried, what the protocol used for
// itself, and what it dropped, reason by reason (docs/METRICS.md, "The sum").

import Foundation
import Testing
import TestSupport
import Wire

@Suite struct DropAccountTests {
    @Test(.timeLimit(.minutes(2)), arguments: ["never", "auto"])
    func `on a bad path what was carried, used and dropped is what came, at both ends`(_ sharing: String) async throws {
        let port = try FreePorts.next()
        // Flows give way to others when they are idle, and end soon; some datagrams are larger than any path.
        let pair = try await Pair(
            reached: "127.0.0.1", through: port,
            clientTunnel: """
                max_flows = 8
                flow_timeout = "3s"
                oversize = "drop"
                reconnect.minimum = "100ms"
                """,
            serverTunnel: "flow_timeout = \"1s\"", clientDaemon: "workers = 1", sharing: sharing)
        let path = try Program([
            Program.built("culvert-impair"), "--listen", "127.0.0.1:\(port)", "--forward", "\(pair.exit)", "--seed",
            "7", "--drop", "5%", "--duplicate", "5%", "--corrupt", "2%", "--reorder", "5%",
        ])
        try await path.expect("listening on")
        let senders = try (0..<12).map { _ in try pair.sender() }
        let stranger = try Peer()
        var (sent, strange, delivered, answered) = (UInt64(0), UInt64(0), UInt64(0), UInt64(0))
        func serveTarget() {
            while let asked = pair.target.take() {
                delivered += 1
                guard delivered % 3 == 0 else { continue }
                pair.target.send(asked.bytes, to: asked.source)
                answered += 1
            }
        }
        func send(_ rounds: Int, by senders: [Peer]) async throws {
            for round in 1...rounds {
                for sender in senders {
                    sender.send(pattern(round % 20 == 0 ? 20_000 : 100 + round))
                    sent += 1
                }
                stranger.send(pattern(50), to: pair.exit)
                strange += 1
                serveTarget()
                try await Task.sleep(for: .milliseconds(20))
            }
        }
        func settle() async throws {
            var report: TunnelReport?
            try await eventually("all is accounted for at the client: \(String(describing: report))") {
                serveTarget()
                let client = try pair.client.control.tunnels()[0]
                report = client
                return client.received.out == sent && client.isBalanced
            }
        }
        try await send(40, by: Array(senders.prefix(8)))
        try await settle()
        // Until the server ends flows, and the client ends them, or lets them give way to newcomers.
        try await send(90, by: [])
        try await send(40, by: senders.reversed())
        try await settle()

        // From here on nothing reaches the server.
        path.signal(SIGTERM)
        try await path.expectExit()
        let counters = try #require(
            path.said.firstMatch(of: /up: submitted=\d+ delivered=(\d+)/).flatMap { UInt64($0.output.1) })
        let failures = try #require(
            path.said.firstMatch(of: /send_failures=(\d+)/).flatMap { UInt64($0.output.1) })
        var server: TunnelReport?
        try await eventually("all is accounted for at the server: \(String(describing: server))") {
            serveTarget()
            let report = try pair.server.control.tunnels()[0]
            server = report
            let arrived = report.received.in
            return (counters + strange - failures...counters + strange).contains(arrived)
                && report.received.out <= answered && report.datagrams.in == delivered && report.isBalanced
        }
        for daemon in [pair.client, pair.server] {
            let tunnel = try daemon.control.tunnels()[0]
            // Those that are there have a part in what the tunnel has dropped, as those that have ended had.
            var parts: [String: UInt64] = [:]
            for association in try daemon.control.associations() {
                #expect(association.isBalanced, "\(association)")
                parts.merge(association.dropped, uniquingKeysWith: +)
            }
            for (reason, count) in parts { #expect(count <= tunnel.dropped[reason, default: 0], "\(reason)") }
        }
        let (client, last) = (try pair.client.control.tunnels()[0], try #require(server))
        #expect(client.dropped["oversize", default: 0] > 0 && client.dropped["limit", default: 0] > 0, "\(client)")
        // What the path damaged and repeated, and strangers' words.
        #expect(last.dropped["replayed", default: 0] > 0 && last.dropped["no_association", default: 0] > 0, "\(last)")
        for (daemon, tunnel) in [(pair.client, client), (pair.server, last)] {
            let metrics = try daemon.client.metrics()
            for (reason, count) in tunnel.dropped where reason == "oversize" || reason == "limit" {
                #expect(
                    metrics.contains("culvert_drops_total{tunnel=\"echo\",reason=\"\(reason)\"} \(count)"), "\(reason)")
            }
            #expect(
                metrics.contains(
                    "culvert_received_datagrams_total{tunnel=\"echo\",direction=\"out\"} \(tunnel.received.out)"))
        }
    }
}

/// What the system refused, after it had been counted as carried.
private let refusals: Set = ["send_buffer", "unreachable", "message_size"]

private func beforeCarried(_ dropped: [String: UInt64]) -> UInt64 {
    dropped.filter { !refusals.contains($0.key) }.values.reduce(0, +)
}

extension TunnelReport {
    fileprivate var isBalanced: Bool {
        received.out + records == datagrams.in + datagrams.out + controlRecords + beforeCarried(dropped)
    }
}

extension AssociationReport {
    fileprivate var isBalanced: Bool {
        offered + records == datagrams.in + datagrams.out + controlRecords + beforeCarried(dropped)
    }
}
