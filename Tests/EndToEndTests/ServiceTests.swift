// What a service manager, scripts and log readers get from a daemon: notifications, the control socket, and log lines.

import Foundation
import Testing
import TestSupport
import Wire

@Suite struct ServiceTests {
    private static func tunnel() throws -> String {
        """
        [[tunnel]]
        name = "good"
        listen = "udp://127.0.0.1:\(try FreePorts.next())"
        forward = "dtls://localhost:9"
        """
    }

    @Test(arguments: [false, true])
    func `the service manager hears when the daemon is ready and when it stops`(_ isAbstract: Bool) async throws {
        let bench = try await Bench()
        try bench.configure("client", daemon: "workers = 1", tunnels: Self.tunnel())
        let manager = try UnixReceiver(
            isAbstract ? "@culvert-test-\(UUID().uuidString)" : bench.directory("notify.sock"))
        let daemon = try Daemon(bench, "client", environment: ["NOTIFY_SOCKET": manager.path])
        let ready = try await eventually("READY=1") { manager.take() }
        #expect(ready.split(separator: "\n").contains("READY=1"))
        #expect(ready.contains("STATUS=1 tunnel, 1 worker"))
        // Ready means ready: nothing has to be waited for any more.
        #expect(daemon.control.isReady)
        #expect(try await daemon.stop().status == 0)
        let stopping = try await eventually("STOPPING=1") { manager.take() }
        #expect(stopping.split(separator: "\n").contains("STOPPING=1"))
    }

    @Test func `a service manager that does not answer holds nothing up`() async throws {
        let bench = try await Bench()
        try bench.configure("client", tunnels: Self.tunnel())
        let daemon = try await bench.start(
            "client", environment: ["NOTIFY_SOCKET": bench.directory("nobody.sock")])
        #expect(try await daemon.stop().status == 0)
    }

    @Test func `the control socket tells that all is ready and what there is`() async throws {
        let pair = try await Pair()
        #expect(pair.client.control.get("/readyz")?.status == 200)
        #expect(pair.client.control.get("/healthz")?.status == 200)
        let none = pair.client.control.get("/v1/associations").map { String(decoding: $0.body, as: UTF8.self) }
        #expect(none == "{\"items\":[],\"total\":0}\n")
        #expect(pair.client.control.get("/v1/nonsense")?.status == 404)
        let sender = try pair.sender()
        try await pair.converse(sender, pattern(100), answer: pattern(200))

        for (daemon, role) in [(pair.client, "client"), (pair.server, "server")] {
            let body = try #require(daemon.control.get("/v1/associations")?.body)
            let page = try #require(try JSONSerialization.jsonObject(with: body) as? [String: Any])
            let list = try #require(page["items"] as? [[String: Any]])
            let one = try #require(list.first)
            #expect(list.count == 1)
            #expect(one["role"] as? String == role && one["tunnel"] as? String == "echo")
            #expect(one["mode"] as? String == "plain" && one["state"] as? String == "established")
            #expect(one["protocol"] as? String == "DTLS 1.2" && one["resumed"] as? Bool == false)
            #expect((one["cipher"] as? String)?.contains("GCM") == true)
            #expect((one["id"] as? String)?.hasPrefix("echo-") == true)
            #expect((one["handshake_ms"] as? Double ?? 0) > 0)
            #expect((one["established_at"] as? String)?.hasSuffix("Z") == true)
            #expect(one["flows"] as? Int == 1 && one["replayed"] as? Int == 0 && one["auth_failures"] as? Int == 0)
            #expect((one["dropped"] as? [String: Any])?.isEmpty == true)
            let bytes = try #require(one["bytes"] as? [String: Int])
            #expect(bytes == (role == "client" ? ["in": 200, "out": 100] : ["in": 100, "out": 200]))
            #expect((one["sender"] as? String) == (role == "client" ? "\(sender.endpoint)" : nil))
        }
        let client = try #require(try pair.client.associations().first)
        #expect(client.peerAddress == "\(pair.exit)")
        let attributes = try FileManager.default.attributesOfItem(atPath: pair.client.control.path)
        #expect(attributes[.posixPermissions] as? Int == 0o660)
    }

    @Test(arguments: ["text", "json", "journal"])
    func `every log line has the form that was asked for`(_ form: String) async throws {
        let pair = try await Pair(
            clientTunnel: "flow_timeout = \"2s\"",
            clientDaemon: "log_format = \"\(form)\"\nlog_level = \"trace\"", serverDaemon: "log_format = \"\(form)\"",
            environment: ["CULVERT_JOURNAL_SOCKET": "/nowhere/at/all"])
        try await pair.converse(try pair.sender(), [1])
        try await pair.client.has("none left") { $0.isEmpty }
        try await pair.client.stop()
        try await pair.server.stop()
        for daemon in [pair.client, pair.server] {
            let lines = daemon.log.split(separator: "\n")
            #expect(lines.count >= 4)
            for line in lines { try check(line, form) }
            #expect(daemon.log.contains("established") && daemon.log.contains("ready: 1 tunnel"))
        }
    }

    private func check(_ line: Substring, _ form: String) throws {
        let levels = ["trace", "debug", "info", "notice", "warning", "error", "critical"]
        switch form {
        case "text":
            let words = line.split(separator: " ", maxSplits: 2)
            #expect(words.count == 3 && words[0].contains(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/), "\(line)")
            #expect(words.count == 3 && levels.contains(String(words[1])), "\(line)")
        case "json":
            let object = try #require(
                try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: String], "\(line)")
            #expect(object["message"] != nil && levels.contains(object["level"] ?? ""), "\(line)")
            #expect(object["time"]?.hasSuffix("Z") == true, "\(line)")
        default:
            #expect(line.contains(/^<[2-7]>./), "\(line)")
        }
    }

    @Test func `the journal's own form is chosen where standard error leads to it, and not where it was redirected`()
        async throws
    {
        let bench = try await Bench()
        try bench.configure("client", daemon: "log_format = \"auto\"", tunnels: Self.tunnel())
        let script = "JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec \"$@\""
        let journal = try await bench.start(
            "client", prefix: ["sh", "-c", script, "sh"],
            environment: ["CULVERT_JOURNAL_SOCKET": bench.directory("nobody.sock")])
        #expect(journal.lines(with: "ready").allSatisfy { $0.hasPrefix("<5>") }, "\(journal.log)")
        try await journal.stop()
        let elsewhere = try await bench.start("client", environment: ["JOURNAL_STREAM": "8:12345"])
        #expect(elsewhere.lines(with: "ready").allSatisfy { $0.contains("Z notice ready") }, "\(elsewhere.log)")
        try await elsewhere.stop()
    }

    @Test func `no log line at any level holds keys or data, and the key log only exists when it is asked for`()
        async throws
    {
        let pair = try await Pair(clientDaemon: "log_level = \"trace\"", serverDaemon: "log_level = \"trace\"")
        try await pair.client.stop()
        let path = pair.bench.directory("keys.log")
        let client = try await pair.bench.start("client", environment: ["SSLKEYLOGFILE": path])
        let words = "correct horse battery staple"
        try await pair.converse(try pair.sender(), Array(words.utf8))
        try await pair.server.stop()
        try await client.stop()

        #expect(client.log.contains("SSLKEYLOGFILE is set"))
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        #expect(attributes[.posixPermissions] as? Int == 0o600)
        let secrets = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map {
            $0.split(separator: " ").map(String.init)
        }
        #expect(secrets.count == 1 && secrets.allSatisfy { $0.first == "CLIENT_RANDOM" && $0.count == 3 })
        let master = try #require(secrets.first?.last)
        let hex = Array(words.utf8).map { String($0, radix: 16) }.joined()
        var forbidden = [master, String(master.prefix(16)), words, hex]
        for name in ["client.key", "server.key"] {
            let pem = try String(contentsOfFile: pair.bench.keys.path(name), encoding: .utf8)
            forbidden += pem.split(separator: "\n").map(String.init).filter { !$0.hasPrefix("-----") }
        }
        for log in [client.log, pair.server.log] {
            for secret in forbidden { #expect(!log.lowercased().contains(secret.lowercased())) }
            #expect(!log.contains("PRIVATE KEY"))
        }
    }
}
