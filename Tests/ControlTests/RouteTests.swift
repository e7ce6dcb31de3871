// Every route of the control API over a source that answers at once: what it says, what it passes on, what it refuses.

import Foundation
import Testing

@testable import Control

@Suite(.timeLimit(.minutes(3)))
struct RouteTests {
    let scratch: Scratch

    init() throws { scratch = try Scratch() }

    private func served<Value: Sendable>(
        _ source: FakeSource = FakeSource(), _ ask: @escaping @Sendable (ControlClient) throws -> Value
    ) async throws -> Value {
        let server = try ControlServer.start(path: scratch.socket, source: source)
        defer { server.stop() }
        return try await blocking { try ask(ControlClient(path: server.address)) }
    }

    private func problem(_ response: ControlResponse) throws -> Problem {
        #expect(response.contentType == "application/problem+json")
        let problem = try JSONDecoder().decode(Problem.self, from: Data(response.body))
        #expect(problem.status == response.status)
        return problem
    }

    @Test func `what the daemon knows arrives as it is`() async throws {
        try await served { client throws in
            let status = try client.status()
            #expect(status.version == "1.2.3" && status.processID == 4242 && status.tunnels.first?.state == .up)
            #expect(try client.tunnels() == [sampleTunnel])
            #expect(try client.tunnels(named: "syslog") == [sampleTunnel])
            #expect(try client.tunnels(named: "radius") == [])
            #expect(try client.associations() == sampleAssociations)
            #expect(try client.associations(of: "radius") == [sampleAssociations[1]])
            #expect(try client.association("1-1") == sampleAssociations[0])
            #expect(try client.flows().map(\.id) == ["f-1"])
            #expect(try client.flows(of: "radius").isEmpty)
            #expect(try client.configuration() == Array("{\"daemon\":{}}\n".utf8))
            #expect(try client.metrics() == "culvert_up 1\n")
            #expect(try client.metrics(associations: true) == "culvert_up 1\nculvert_association_up 1\n")
            #expect(try client.get("/v1/metrics").contentType == "text/plain; version=0.0.4; charset=utf-8")
        }
    }

    @Test func `actions reach the daemon and their outcome comes back`() async throws {
        let source = FakeSource()
        try await served(source) { client throws in
            try client.close(association: "1-1")
            #expect(try client.ping(association: "1-1").roundTripMilliseconds == 1.5)
            try client.rekey(association: "1-1")
            #expect(try client.reload().applied == ["tunnel 'syslog': allow_from changed"])
            #expect(try client.drain() == DrainResult(draining: true, flows: 1))
            let setting = LogLevelSetting(level: "debug", tunnel: "syslog")
            #expect(try client.setLogLevel(setting) == setting)
            _ = try client.setLogLevel(LogLevelSetting(level: "warning"))
            _ = try client.setLogLevel(LogLevelSetting(level: "default", tunnel: "syslog"))
        }
        #expect(
            source.actions == [
                "close 1-1", "ping 1-1", "rekey 1-1", "reload", "drain", "log-level debug syslog",
                "log-level warning -",
                "log-level default syslog",
            ])
    }

    @Test(arguments: [
        ("/v1/associations/none/close", 404), ("/v1/associations/none/ping", 404), ("/v1/associations/1-2/ping", 504),
        ("/v1/associations/1-2/rekey", 409),
    ])
    func `an action that cannot be done is a problem with its own status`(target: String, status: Int) async throws {
        let response = try await served { try $0.post(target) }
        #expect(response.status == status)
        #expect(try !problem(response).detail.isEmpty)
    }

    @Test func `the client throws the daemon's problem`() async throws {
        let error = await #expect(throws: ControlClientError.self) {
            try await served { try $0.association("none") }
        }
        guard case .refused(let problem) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(problem.status == 404 && problem.detail == "There is no association none.")
        #expect(error?.isUnreachable == false)
    }

    @Test func `a configuration with mistakes is a problem that lists them`() async throws {
        let response = try await served(FakeSource(readiness: .waiting([]))) { try $0.post("/v1/reload") }
        #expect(response.status == 422)
        let mistake = try #require(try problem(response).errors?.first)
        #expect(mistake.location == "culvert.toml:12:3" && mistake.message == "unknown key 'lisen'")
    }

    @Test func `what is refused did nothing`() async throws {
        let source = FakeSource()
        try await served(source) { client throws in
            for target in ["/v1/drain?now=1", "/v1/reload?x", "/v1/associations/1-1/close?force=1"] {
                #expect(try client.post(target).status == 400, "\(target)")
            }
            #expect(try client.post("/v1/drain", json: Array("{}".utf8)).status == 400)
            #expect(try client.get("/v1/drain").status == 405)
        }
        #expect(source.actions.isEmpty)
    }

    @Test(arguments: [
        "", "{", "[]", "7", "null", "{}", "{\"level\": 7}", "{\"level\": \"loud\"}", "{\"level\": \"default\"}",
        "{\"level\": \"DEBUG\"}", "{\"level\": \"debug\", \"tunel\": \"syslog\"}",
        "{\"level\": \"debug\", \"tunnel\": null}", "{\"level\": \"debug\"} {}", "\u{feff}{\"level\": \"debug\"}{",
        String(repeating: "[", count: 20_000),
    ])
    func `JSON that makes no sense changes nothing`(content: String) async throws {
        let source = FakeSource()
        let response = try await served(source) { try $0.post("/v1/log-level", json: Array(content.utf8)) }
        #expect(response.status == 400, "\(content.prefix(50))")
        #expect(source.actions.isEmpty)
    }

    @Test func `content of another type, and Expect, are refused`() async throws {
        let source = FakeSource()
        let server = try ControlServer.start(path: scratch.socket, source: source)
        defer { server.stop() }
        let content = "{\"level\":\"debug\"}"
        for (fields, status) in [
            ("", 415), ("Content-Type: text/plain\r\n", 415), ("Content-Type: application/jsonp\r\n", 415),
            ("Content-Type: application/json\r\nExpect: 100-continue\r\n", 417),
            ("Content-Type: Application/JSON ; charset=utf-8\r\n", 200),
        ] {
            let answer = try await RawClient.exchange(
                server.address,
                "POST /v1/log-level HTTP/1.1\r\nHost: x\r\n\(fields)Content-Length: \(content.count)\r\n\r\n\(content)")
            #expect(answer?.hasPrefix("HTTP/1.1 \(status) ") == true, "\(fields) \(answer ?? "")")
        }
        #expect(source.actions == ["log-level debug -"])
    }

    @Test func `ids are decoded, once and as UTF-8`() async throws {
        var odd = sampleAssociations[0]
        odd.id = "a b/ü%41"
        let source = FakeSource(associations: [odd])
        try await served(source) { client throws in
            #expect(try client.association("a b/ü%41").id == "a b/ü%41")
            try client.close(association: "a b/ü%41")
            for id in ["%", "%4", "%zz", "%ff", "%C3", "%+1"] {
                #expect(try client.get("/v1/associations/\(id)").status == 400, "\(id)")
            }
            for path in [
                "/v1/associations/", "/v1/associations/a/b", "/v1/associations//close", "/v1/associations/a/closed",
            ] {
                #expect(try client.get(path).status == 404, "\(path)")
            }
            #expect(try client.get("/v1/associations/close").status == 404)
        }
        #expect(source.actions == ["close a b/ü%41"])
    }

    @Test func `a list is read page by page, whole and in order`() async throws {
        let many = manyAssociations(2_500)
        try await served(FakeSource(associations: many)) { client throws in
            let first = try JSONDecoder.control.decode(
                Page<AssociationStatus>.self, from: Data(client.get("/v1/associations?limit=7").body))
            #expect(first.items.count == 7 && first.total == 2_500 && first.next == first.items.last?.id)
            let second = try JSONDecoder.control.decode(
                Page<AssociationStatus>.self,
                from: Data(client.get("/v1/associations?after=\(first.next ?? "")&limit=7").body))
            #expect(Set(first.items.map(\.id)).isDisjoint(with: second.items.map(\.id)))
            let usual = try JSONDecoder.control.decode(
                Page<AssociationStatus>.self, from: Data(client.get("/v1/associations").body))
            #expect(usual.items.count == 1_000)
            #expect(try client.associations().map(\.id) == many.map(\.id).sorted())
        }
    }

    @Test(arguments: [
        "limit=0", "limit=1001", "limit=-1", "limit=", "limit=1e3", "limit=%31%30%30%30%30%30", "limit=1&limit=2",
        "limit=99999999999999999999999", "limt=1", "limit=%D9%A1", "after=%ff", "=", "limit=+1",
    ])
    func `a query that makes no sense is refused`(query: String) async throws {
        let response = try await served { try $0.get("/v1/associations?\(query)") }
        #expect(response.status == 400)
        #expect(try !problem(response).detail.isEmpty)
    }

    @Test func `tunnels keep the config's order over pages`() async throws {
        let list = ["zebra", "ant", "mole"].map {
            TunnelStatus(name: $0, role: .client, listen: "udp://127.0.0.1:1", forward: "dtls://127.0.0.1:2")
        }
        try await served(FakeSource(tunnels: list)) { client throws in
            #expect(try client.tunnels() == list)
            let page = try JSONDecoder.control.decode(
                Page<TunnelStatus>.self, from: Data(client.get("/v1/tunnels?after=zebra&limit=1").body))
            #expect(page.items.map(\.name) == ["ant"] && page.next == "ant" && page.total == 3)
            let gone = try JSONDecoder.control.decode(
                Page<TunnelStatus>.self, from: Data(client.get("/v1/tunnels?after=gone").body))
            #expect(gone.items.isEmpty && gone.next == nil)
        }
    }

    @Test func `HEAD is answered like GET, without content`() async throws {
        let server = try ControlServer.start(path: scratch.socket, source: FakeSource())
        defer { server.stop() }
        for path in ["/v1/status", "/v1/associations", "/v1/events", "/healthz"] {
            let answer = try #require(
                try await RawClient.exchange(server.address, "HEAD \(path) HTTP/1.1\r\nHost: x\r\n\r\n"))
            #expect(answer.hasPrefix("HTTP/1.1 200 ") && answer.hasSuffix("\r\n\r\n"), "\(answer)")
        }
        let missing = try await RawClient.exchange(server.address, "HEAD /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(missing?.hasPrefix("HTTP/1.1 404 ") == true && missing?.hasSuffix("\r\n\r\n") == true)
    }

    @Test func `equal questions share an answer, the next one if they come late`() async throws {
        let source = FakeSource(holdsAnswers: true)
        let server = try ControlServer.start(path: scratch.socket, source: source, limits: .patient)
        defer { server.stop() }
        let request = "GET /v1/associations HTTP/1.1\r\nHost: x\r\n\r\n"
        async let first = RawClient.exchange(server.address, request)
        #expect(try await eventually { source.questions == 1 })
        // Another question is not held up by it.
        async let other = RawClient.exchange(
            server.address, "GET /v1/associations?limit=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try await eventually { source.questions == 2 })
        var late: [RawClient] = []
        for _ in 0..<50 {
            let client = try await RawClient(server.address)
            await client.send(request)
            late.append(client)
        }
        // Once others who came after them have been answered, they have been heard.
        for _ in 0..<2 {
            let answer = try await RawClient.exchange(server.address, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(answer?.hasPrefix("HTTP/1.1 200 ") == true)
        }
        #expect(source.questions == 2 && source.release() == 2)
        #expect(try await first?.hasPrefix("HTTP/1.1 200 ") == true)
        #expect(try await other?.hasPrefix("HTTP/1.1 200 ") == true)
        #expect(try await eventually { source.questions == 3 } && source.release() == 1)
        for client in late { #expect(try await client.answer()?.hasPrefix("HTTP/1.1 200 ") == true) }
        #expect(source.questions == 3)
    }

    @Test func `a source that never answers one question answers the next`() async throws {
        let source = FakeSource(holdsAnswers: true)
        var limits = ControlLimits()
        limits.response = .milliseconds(100)
        let server = try ControlServer.start(path: scratch.socket, source: source, limits: limits)
        defer { server.stop() }
        for round in 1...2 {
            let answer = try await RawClient.exchange(
                server.address, "GET /v1/associations HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(answer?.hasPrefix("HTTP/1.1 503 ") == true && answer?.contains("Retry-After: 1\r\n") == true)
            #expect(source.questions == round)
        }
    }

    @Test func `answers that nobody reads do not fill the memory`() async throws {
        var limits = ControlLimits()
        limits.unsentBytes = 200_000
        let source = FakeSource(associations: manyAssociations(1_000))
        let server = try ControlServer.start(path: scratch.socket, source: source, limits: limits)
        defer { server.stop() }
        var idle: [RawClient] = []
        for number in 1...4 {
            let client = try await RawClient(server.address)
            try await client.stopReading()
            // Different questions, whose answers cannot be shared.
            await client.send("GET /v1/associations?limit=\(1_000 - number) HTTP/1.1\r\nHost: x\r\n\r\n")
            idle.append(client)
        }
        func status() async throws -> Substring? {
            try await RawClient.exchange(server.address, "GET /v1/tunnels HTTP/1.1\r\nHost: x\r\n\r\n")?.prefix(12)
        }
        var last = try await status()
        for _ in 0..<500 where last != "HTTP/1.1 503" { last = try await status() }
        #expect(last == "HTTP/1.1 503")
        #expect(source.questions < 4)
        for client in idle { await client.close() }
        for _ in 0..<500 where last != "HTTP/1.1 200" { last = try await status() }
        #expect(last == "HTTP/1.1 200")
    }

    @Test func `a page of 50,000 associations comes in a blink`() async throws {
        #if DEBUG
            let limit = Duration.seconds(5)
        #else
            let limit = Duration.milliseconds(200)
        #endif
        try await served(FakeSource(associations: manyAssociations(50_000))) { client throws in
            let took = try (0..<3).map { _ in
                try ContinuousClock().measure { _ = try client.status() }
                    + ContinuousClock().measure { _ = try client.get("/v1/associations") }
            }
            #expect(took.min()! < limit, "\(took)")
        }
    }
}
