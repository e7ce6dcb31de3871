// What an administrator asks of running daemons and has them do, over the control socket and the TCP listener.

import Control
import Foundation
import Testing
import TestSupport
import Wire

@Suite struct ControlActionTests {
    // MARK: Actions

    @Test func `an association that is closed ends at both ends, and the next datagram begins another`() async throws {
        let pair = try await Pair()
        let events = EventRecord(pair.client)
        let sender = try pair.sender()
        try await pair.converse(sender, [1])
        let id = try pair.client.firstID()
        let (status, body) = try pair.client.post("/v1/associations/\(id)/close")
        #expect(status == 200 && body["id"] as? String == id)
        try await pair.client.has("none") { $0.isEmpty }
        try await pair.server.has("none") { $0.isEmpty }
        let ended = try await events.expect(.ended)
        #expect(ended.association == id && ended.tunnel == "echo" && ended.reason == "closed by this end")
        #expect(try pair.client.post("/v1/associations/\(id)/close").status == 404)
        try await pair.converse(sender, [2])
        #expect(try pair.client.firstID() != id)

        let other = try pair.server.firstID()
        #expect(try pair.server.post("/v1/associations/\(other)/close").status == 200)
        let told = EventRecord(pair.server)
        let end = try await told.expect(.ended) { $0.association == other }
        #expect(end.reason == "closed by this end")
        try await pair.server.has("none") { $0.isEmpty }
    }

    @Test func `a ping tells the round trip and the path MTU at either end`() async throws {
        let pair = try await Pair()
        try await pair.converse(try pair.sender(), [1])
        for daemon in [pair.client, pair.server] {
            let id = try daemon.firstID()
            // One that is on its way already, of the path MTU's discovery, has to be answered first.
            let result = try await eventually("an answer") { try? daemon.client.ping(association: id) }
            #expect(result.id == id && result.roundTripMilliseconds > 0 && result.roundTripMilliseconds < 5000)
            let path = try #require(result.pathMTU)
            #expect(path.out >= 1200 && path.maximumDatagram < path.out)
        }
        #expect(try pair.client.client.association(try pair.client.firstID()).heartbeat?.roundTrip != nil)
        #expect(try pair.client.post("/v1/associations/echo-0-0-99/ping").status == 404)
    }

    @Test func `rekeying gives an association new keys and ends no flow`() async throws {
        let pair = try await Pair()
        try await pair.client.stop()
        let path = pair.bench.directory("keys.log")
        let client = try await pair.bench.start("client", environment: ["SSLKEYLOGFILE": path])
        let events = EventRecord(client)
        let sender = try pair.sender()
        let source = try await pair.converse(sender, [1])
        let id = try client.firstID()
        let flow = try #require(try client.client.flows().first?.id)
        for round in 1...3 {
            let (status, body) = try client.post("/v1/associations/\(id)/rekey")
            #expect(status == 202 && body["id"] as? String == id)
            try await eventually("new keys: \(client.log)") {
                try client.client.association(id).rekeys == UInt64(round)
            }
            #expect(try await pair.converse(sender, pattern(100 + round)) == source)
        }
        try await eventually("new keys at the server") { try pair.server.client.associations().first?.rekeys == 3 }
        #expect(try client.client.flows().map(\.id) == [flow])
        #expect(try client.client.tunnels().first?.datagrams == .init(in: 4, out: 4))
        try await events.expect(.rekeyed) { $0.association == id }
        #expect(!events.all.contains { $0.type == .ended })
        let secrets = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map {
            $0.split(separator: " ").last
        }
        #expect(secrets.count == 4 && Set(secrets).count == 4)

        let refused = try pair.server.post("/v1/associations/\(try pair.server.firstID())/rekey")
        #expect(refused.status == 409)
        #expect((refused.body["detail"] as? String)?.contains("client") == true)
    }

    @Test func `a draining daemon serves the flows that it has and takes no others`() async throws {
        let pair = try await Pair(clientTunnel: "flow_timeout = \"1s\"")
        let old = try pair.sender()
        try await pair.converse(old, [1])
        let (status, body) = try pair.client.post("/v1/drain")
        #expect(status == 202 && body["draining"] as? Bool == true && body["flows"] as? Int == 1)
        #expect(pair.client.control.get("/readyz")?.status == 503)
        #expect(pair.client.control.get("/healthz")?.status == 200)
        let new = try pair.sender()
        new.send([9])
        try await eventually("the drop") { try pair.client.control.tunnels()[0].dropped["limit"] == 1 }
        try await pair.converse(old, [2])
        #expect(try pair.client.client.status().draining)
        #expect(try pair.client.client.associations().count == 1)
        #expect(pair.target.take() == nil)
        try await pair.client.says("draining")
        // With its last flow the daemon ends.
        #expect(try await pair.client.process.expectExit() == 0)
    }

    @Test func `log levels change while the daemon runs, for all tunnels or for one`() async throws {
        let pair = try await Pair()
        let daemon = pair.client
        let sender = try pair.sender()
        func expires() async throws -> Int {
            try await pair.converse(sender, [1])
            try daemon.client.close(association: daemon.firstID())
            return daemon.lines(with: "path MTU to").count
        }
        #expect(try await expires() == 0)
        #expect(try daemon.post("/v1/log-level", json: #"{"level":"debug","tunnel":"echo"}"#).status == 200)
        try await pair.converse(sender, [1])
        try await daemon.says("path MTU to")
        #expect(try daemon.client.status().logLevel == "info")
        try daemon.client.close(association: daemon.firstID())

        #expect(try daemon.post("/v1/log-level", json: #"{"level":"default","tunnel":"echo"}"#).status == 200)
        let before = daemon.lines(with: "path MTU to").count
        #expect(try await expires() == before)
        #expect(try daemon.post("/v1/log-level", json: #"{"level":"debug"}"#).status == 200)
        #expect(try daemon.client.status().logLevel == "debug")
        try await pair.converse(sender, [1])
        try await eventually("more lines") { daemon.lines(with: "path MTU to").count > before }
        #expect(try daemon.post("/v1/log-level", json: #"{"level":"debug","tunnel":"nobody"}"#).status == 404)
        #expect(try daemon.post("/v1/log-level", json: #"{"level":"loud"}"#).status == 400)
    }

    // MARK: What is told

    @Test func `events tell what happens to associations, with ids that can be asked for`() async throws {
        let pair = try await Pair(
            clientTunnel: "max_flows = 1\n[tunnel.reconnect]\nminimum = \"50ms\"\nmaximum = \"100ms\"\n",
            clientDaemon: "workers = 1\nlog_level = \"debug\"")
        let events = EventRecord(pair.client)
        let first = try pair.sender()
        try await pair.converse(first, [1])
        let established = try await events.expect(.established)
        let id = try pair.client.firstID()
        #expect(established.association == id && established.tunnels == ["echo"] && established.level == "info")
        #expect(established.peerAddress == "\(pair.exit)" && established.peerIdentity?.isEmpty == false)
        #expect(established.fields["cipher"] == (try pair.client.client.association(id).cipher))
        let path = try await events.expect(.pathMTU)
        #expect(path.association == id)
        try pair.client.client.rekey(association: id)
        #expect(try await events.expect(.rekeyed).association == id)
        try pair.sender().send([2])
        #expect(try await events.expect(.limit).fields["limit"] == "max_flows")
        #expect(try pair.client.post("/v1/reload").status == 200)
        #expect(try await events.expect(.reloaded).tunnels.isEmpty)

        // The server goes: the client says that it ended, and tries again.
        try await pair.server.stop()
        try await events.expect(.ended) { $0.reason == "the peer closed it" }
        let ids = events.all.map(\.id)
        #expect(ids == Array((ids.first ?? 0)..<((ids.first ?? 0) + UInt64(ids.count))))
    }

    @Test func `a refusal and the wait after it are events of the tunnel`() async throws {
        let pair = try await Pair(serverTunnel: "allow_peers = [\"CN:somebody-else\"]")
        let client = EventRecord(pair.client, tunnel: "echo")
        let server = EventRecord(pair.server, tunnel: "echo")
        try pair.sender().send([1])
        let refused = try await server.expect(.refused)
        #expect(refused.peerIdentity?.contains("edge-7") == true && refused.tunnel == "echo")
        #expect(refused.message.contains("allow_peers"))
        // A server refuses once the handshake has told who the client is.
        try await client.expect(.ended) { $0.reason?.contains("access_denied") == true }
        let waits = try await client.expect(.reconnecting)
        #expect(waits.tunnel == "echo" && waits.fields["retry_in_ms"] != nil && waits.association != nil)
    }

    @Test func `the status says of each tunnel whether it is encrypted, with what and to whom`() async throws {
        let pair = try await Pair()
        let quiet = try pair.client.client.status()
        #expect(quiet.ready && !quiet.draining && quiet.workers > 0 && quiet.processID == Int(pair.client.process.pid))
        #expect(quiet.configuration == pair.bench.directory("client.toml"))
        #expect(quiet.tunnels.map(\.state) == [.idle] && quiet.tunnels[0].protocols.isEmpty)
        try await pair.converse(try pair.sender(), [1])
        for (daemon, who) in [(pair.client, "localhost"), (pair.server, "edge-7")] {
            let status = try daemon.client.status()
            let tunnel = try #require(status.tunnels.first)
            #expect(tunnel.name == "echo" && tunnel.state == .up && tunnel.mode == .plain && tunnel.peers == 1)
            #expect(tunnel.protocols == ["DTLS 1.2"] && tunnel.ciphers.count == 1)
            #expect(tunnel.peerIdentities.count == 1 && tunnel.peerIdentities[0].contains(who), "\(tunnel)")
            #expect(status.associations == 1 && status.flows == 1)
        }
        try await pair.server.stop()
        try await eventually("no more") { try pair.client.client.status().tunnels[0].peers == 0 }
        #expect(try pair.client.client.status().tunnels[0].protocols.isEmpty)
    }

    @Test func `lists come in pages that leave nothing out, and their ids work in paths`() async throws {
        let pair = try await Pair(clientDaemon: "workers = 2", serverDaemon: "workers = 2")
        var senders: [Peer] = []
        for number in 0..<7 {
            senders.append(try pair.sender())
            try await pair.converse(senders[number], [UInt8(number)])
        }
        for daemon in [pair.client, pair.server] {
            for list in ["associations", "flows"] {
                var ids: [String] = []
                var after: String?
                var pages = 0
                repeat {
                    let target = "/v1/\(list)?limit=3&tunnel=echo" + (after.map { "&after=\($0)" } ?? "")
                    let body = try #require(daemon.control.get(target)?.body)
                    let page = try #require(try JSONSerialization.jsonObject(with: body) as? [String: Any])
                    #expect(page["total"] as? Int == 7)
                    ids += try #require(page["items"] as? [[String: Any]]).compactMap { $0["id"] as? String }
                    after = page["next"] as? String
                    pages += 1
                } while after != nil && pages < 9
                #expect(ids.count == 7 && Set(ids).count == 7 && pages == 3, "\(ids)")
                guard list == "associations" else { continue }
                for id in ids { #expect(try daemon.client.association(id).id == id) }
            }
            let flows = try daemon.client.flows()
            #expect(Set(flows.compactMap(\.association)) == Set(try daemon.client.associations().map(\.id)))
        }
        #expect(pair.client.control.get("/v1/associations/echo-0-0-0")?.status == 404)
        #expect(pair.client.control.get("/v1/associations/%F0%9F%92%A3")?.status == 404)
    }

    @Test func `a flow of a service that the peer refuses says so`() async throws {
        let pair = try await Pair(
            clientTunnel: "service = \"nobody\"", serverTunnel: "service = \"somebody\"", sharing: "auto")
        let events = EventRecord(pair.client)
        let sender = try pair.sender()
        sender.send([1])
        try await events.expect(.serviceRefused)
        let tunnel = try #require(try pair.client.client.tunnels().first)
        #expect(tunnel.serviceRefused?.reason == "unknown_service" && tunnel.state == .down)
        sender.send([2])
        let flows = try pair.client.client.flows()
        #expect(flows.allSatisfy { $0.state == .refused && $0.mode == .shared }, "\(flows)")
    }

    @Test(.enabled(if: Program.isInstalled("curl") && Program.isInstalled("promtool"), "curl or promtool is missing"))
    func `metrics and the status page are served over TCP, and nothing else`() async throws {
        let address = "127.0.0.1:\(try FreePorts.next())"
        let pair = try await Pair(clientDaemon: "metrics_listen = \"\(address)\"")
        try await pair.converse(try pair.sender(), pattern(100))
        let metrics = try await Program.run(["curl", "-sf", "http://\(address)/metrics?associations=1"])
        #expect(metrics.status == 0)
        #expect(metrics.said.contains(#"culvert_datagrams_total{tunnel="echo",direction="out"} 1"#), "\(metrics.said)")
        #expect(metrics.said.contains("culvert_association_info{tunnel=\"echo\""))
        let file = try pair.bench.directory.write(metrics.said, "metrics.txt")
        let check = try await Program.run(["sh", "-c", "promtool check metrics <\"$1\"", "sh", file])
        #expect(check.status == 0 && check.said.isEmpty, "\(check.said)")

        let page = try await Program.run(["curl", "-si", "http://\(address)/"])
        #expect(page.said.contains("200 OK") && page.said.lowercased().contains("content-security-policy:"))
        #expect(page.said.contains("<html"))
        for (words, status) in [
            (["http://\(address)/healthz"], "200"), (["http://\(address)/v1/status"], "200"),
            (["-X", "POST", "http://\(address)/v1/reload"], "404"),
            (["-X", "POST", "http://\(address)/v1/drain"], "404"), (["http://\(address)/v1/config"], "404"),
        ] {
            let answer = try await Program.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}"] + words)
            #expect(answer.said == status, "\(words)")
        }
    }
}
