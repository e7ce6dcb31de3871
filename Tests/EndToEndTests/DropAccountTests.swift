// Every datagram is accounted for: what senders gave to a tunnel is what it carried and what it dropped, reason by reason.

import Foundation
import Testing
import TestSupport
import Wire

@Suite struct DropAccountTests {
    @Test(.timeLimit(.minutes(2)), arguments: ["never", "auto"])
    func `on a bad path what was delivered and what was dropped is what was received`(_ sharing: String) async throws {
        let port = try FreePorts.next()
        let pair = try await Pair(
            through: port, clientTunnel: "max_flows = 8\noversize = \"drop\"\nreconnect.minimum = \"100ms\"",
            sharing: sharing)
        let path = try Program([
            Program.built("culvert-impair"), "--listen", "127.0.0.1:\(port)", "--forward", "\(pair.exit)", "--seed",
            "7", "--drop", "5%", "--duplicate", "5%", "--corrupt", "2%",
        ])
        try await path.expect("listening on")
        // More senders than flows, of whom the oldest give way; some datagrams are larger than any path.
        let senders = try (0..<12).map { _ in try pair.sender() }
        let strangers = try Peer()
        var sent = 0
        for round in 0..<60 {
            for sender in senders {
                sender.send(pattern(round % 20 == 19 ? 20_000 : 100 + round))
                sent += 1
            }
            strangers.send(pattern(50), to: pair.exit)
            try await Task.sleep(for: .milliseconds(10))
        }
        let local: Set = [
            "queue_full", "oversize", "limit", "closed", "send_buffer", "unreachable", "service", "truncated",
        ]
        var last: (client: TunnelReport, server: TunnelReport)?
        var delivered = 0
        try await eventually("all of \(sent) accounted for: \(String(describing: last)), delivered \(delivered)") {
            while pair.target.take() != nil { delivered += 1 }
            let client = try pair.client.control.tunnels()[0]
            let server = try pair.server.control.tunnels()[0]
            last = (client, server)
            let dropped = client.dropped.filter { local.contains($0.key) }.values.reduce(0, +)
            return client.datagrams.out + dropped == UInt64(sent) && server.datagrams.in == UInt64(delivered)
                && delivered > 0
        }
        let (client, server) = try #require(last)
        #expect(client.dropped["oversize", default: 0] > 0, "\(client)")
        // What the path damaged, repeated or made up has its reasons at the other end, strangers' words too.
        #expect(server.dropped.values.reduce(0, +) >= 60, "\(server)")
        for (daemon, tunnel) in [(pair.client, client), (pair.server, server)] {
            let metrics = try daemon.client.metrics()
            for (reason, count) in tunnel.dropped where local.contains(reason) {
                #expect(
                    metrics.contains("culvert_drops_total{tunnel=\"echo\",reason=\"\(reason)\"} \(count)"), "\(reason)")
            }
        }
    }
}
