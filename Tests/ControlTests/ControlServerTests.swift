// The control socket as its clients see it: right requests, wrong ones, slow ones, many at once.

import Foundation
import NIOCore
import Synchronization
import Testing

@testable import Control

@Suite(.timeLimit(.minutes(3)))
struct ControlServerTests {
    let scratch: Scratch

    init() throws { scratch = try Scratch() }

    private func served<Result>(
        _ source: FakeSource = FakeSource(), limits: ControlLimits = ControlLimits(),
        _ body: (ControlServer) async throws -> Result
    ) async throws -> Result {
        try await served(ControlAPI(source).routes, limits: limits, body)
    }

    private func served<Result>(
        _ routes: [ControlRoute], limits: ControlLimits = ControlLimits(),
        _ body: (ControlServer) async throws -> Result
    ) async throws -> Result {
        let server = try ControlServer.start(path: scratch.socket, routes: routes, limits: limits)
        defer { server.stop() }
        return try await body(server)
    }

    @Test(.enabled(if: curlIsInstalled, "needs curl"))
    func `curl gets health, readiness and associations`() async throws {
        try await served { server in
            let health = try await curl("http://culvert/healthz", socket: server.address)
            #expect(health.status == 0 && health.said == "ok\n")
            let ready = try await curl(
                "-w", "%{http_code} %{content_type}", "http://culvert/readyz", socket: server.address)
            #expect(ready.said == "ready\n200 text/plain; charset=utf-8")
            let list = try await curl("http://culvert/v1/associations", socket: server.address)
            #expect(
                list.status == 0
                    && list.said.hasPrefix("{\"items\":[{\"auth_failures\":0,\"bytes\":{\"in\":120,\"out\":9000}"))
            let noValues = String(
                decoding: ControlResponse.json(Histogram()).body.dropLast(), as: UTF8.self)
            let tunnels = try await curl("http://culvert/v1/tunnels", socket: server.address)
            #expect(
                tunnels.said.trimmingCharacters(in: .whitespacesAndNewlines) == """
                    {"items":[{"associations":{"established":2},"bytes":{"in":0,"out":0},"control_records":0,\
                    "datagrams":{"in":1,"out":20},\
                    "dropped":{"no_association":3},"evictions":4,"failed_handshakes":0,"flows":0,"forward":\
                    "dtls://collector.example.net:6514","handshake_seconds":\(noValues),"handshakes":0,\
                    "heartbeats_lost":0,"listen":"udp://127.0.0.1:5514","name":"syslog","received":{"in":0,"out":0},\
                    "records":0,"role":"client","rtt_seconds":\(noValues),"service":"syslog","sharing":"never","state":"idle"}],"total":1}
                    """)
            let head = try await curl("-I", "http://culvert/healthz", socket: server.address)
            #expect(head.status == 0 && head.said.contains("200 OK") && head.said.contains("Content-Length: 3"))
        }
    }

    @Test func `what is not ready says so as a problem document`() async throws {
        try await served(FakeSource(readiness: .waiting(["tunnel 'syslog': no address yet"]))) { server in
            let client = ControlClient(path: server.address)
            let response = try await blocking { try client.get("/readyz") }
            #expect(response.status == 503)
            #expect(response.contentType == "application/problem+json")
            let problem = try JSONDecoder().decode(Problem.self, from: Data(response.body))
            #expect(problem.status == 503 && problem.title == "Not Ready")
            let missing = try await blocking { try client.whatIsMissing() }
            #expect(missing == "tunnel 'syslog': no address yet")
        }
    }

    @Test func `the client reads back what the daemon reported`() async throws {
        try await served { server in
            let client = ControlClient(path: server.address)
            let associations = try await blocking { try client.associations() }
            #expect(associations == sampleAssociations)
            let missing = try await blocking { try client.whatIsMissing() }
            #expect(missing == nil)
        }
    }

    @Test func `an unknown path is a 404 and an unknown method a 405 with Allow`() async throws {
        try await served { server in
            let missing = try #require(
                try await RawClient.exchange(server.address, "GET /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n"))
            #expect(
                missing.hasPrefix("HTTP/1.1 404 ") && missing.contains("\"instance\":\"/v1/nothing\""), "\(missing)")
            for method in ["POST", "DELETE", "OPTIONS", "BREW"] {
                let refused = try #require(
                    try await RawClient.exchange(server.address, "\(method) /healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
                    "\(method)")
                let status = refused.prefix(13)
                #expect(status == "HTTP/1.1 405 " || (method == "BREW" && status == "HTTP/1.1 400 "))
                if status == "HTTP/1.1 405 " { #expect(refused.contains("Allow: GET, HEAD\r\n")) }
            }
        }
    }

    @Test func `a path has one spelling`() async throws {
        try await served { server in
            let client = ControlClient(path: server.address)
            for path in ["/healthz/", "//healthz", "/%68ealthz", "/./healthz", "/HEALTHZ", "/v1/../healthz"] {
                let status = try await blocking { try client.get(path).status }
                #expect(status == 404, "\(path)")
            }
            let status = try await blocking { try client.get("/healthz?verbose=1").status }
            #expect(status == 200)
        }
    }

    @Test(arguments: [
        "\r\n\r\n\r\n\u{0}\u{1}\u{2}", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nno colon\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "POST /healthz HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "\u{16}\u{3}\u{1}\u{2}\u{0}client hello",
        "GET healthz HTTP/1.1\r\nHost: x\r\n\r\n", "CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    ])
    func `malformed HTTP is refused and the server lives on`(bytes: String) async throws {
        try await served { server in
            let answer = try #require(try await RawClient.exchange(server.address, bytes))
            #expect(answer.hasPrefix("HTTP/1.1 40"), "\(answer)")
            #expect(answer.contains("\r\nConnection: close\r\n"))
            let status = try await blocking { try ControlClient(path: server.address).get("/healthz").status }
            #expect(status == 200)
        }
    }

    @Test func `huge header fields and huge content are refused`() async throws {
        try await served { server in
            let field = "X-Filler: \(String(repeating: "x", count: 1000))\r\n"
            let headers = try #require(
                try await RawClient.exchange(
                    server.address, "GET /healthz HTTP/1.1\r\n\(String(repeating: field, count: 100))\r\n"))
            #expect(headers.hasPrefix("HTTP/1.1 431 "))
            let content = try #require(
                try await RawClient.exchange(
                    server.address,
                    "GET /healthz HTTP/1.1\r\nContent-Length: 100000\r\n\r\n\(String(repeating: "x", count: 100_000))"))
            #expect(content.hasPrefix("HTTP/1.1 413 "))
            let line = try #require(
                try await RawClient.exchange(
                    server.address, "GET /\(String(repeating: "x", count: 100_000)) HTTP/1.1\r\n\r\n"))
            #expect(line.hasPrefix("HTTP/1.1 431 "))
        }
    }

    @Test func `content within the limit is read and ignored`() async throws {
        try await served { server in
            let answer = try #require(
                try await RawClient.exchange(
                    server.address,
                    "GET /healthz HTTP/1.1\r\nContent-Length: 1000\r\n\r\n\(String(repeating: "x", count: 1000))"))
            #expect(answer.hasPrefix("HTTP/1.1 200 ") && answer.hasSuffix("\r\n\r\nok\n"))
        }
    }

    @Test func `slow and silent clients are told off and closed`() async throws {
        var limits = ControlLimits()
        limits.request = .milliseconds(300)
        try await served(limits: limits) { server in
            let silent = try await RawClient(server.address).answer()
            #expect(silent?.hasPrefix("HTTP/1.1 408 ") == true)
            let slow = try await RawClient(server.address)
            async let answer = slow.answer()
            for character in "GET /healthz HTTP/1.1\r\n" {
                await slow.send(String(character))
                try await Task.sleep(for: .milliseconds(50))
            }
            #expect(try await answer?.hasPrefix("HTTP/1.1 408 ") == true)
        }
    }

    @Test func `a client that closes its side after the request still gets the answer`() async throws {
        try await served { server in
            let client = try await RawClient(server.address)
            await client.send("GET /healthz HTTP/1.0\r\n\r\n")
            await client.closeOutput()
            #expect(try await client.answer()?.hasSuffix("\r\n\r\nok\n") == true)
            let unfinished = try await RawClient(server.address)
            await unfinished.send("GET /healthz HTTP/1.0\r\n")
            await unfinished.closeOutput()
            let answer = try await unfinished.answer()
            #expect(answer == "" || answer?.hasPrefix("HTTP/1.1 400 ") == true)
        }
    }

    @Test func `a second request on the connection is ignored`() async throws {
        try await served { server in
            let request = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
            let answer = try #require(try await RawClient.exchange(server.address, request + request))
            #expect(answer.components(separatedBy: "HTTP/1.1 200 ").count == 2)
        }
    }

    @Test func `a route that takes too long is answered for`() async throws {
        var limits = ControlLimits()
        limits.response = .milliseconds(100)
        let stuck = ControlRoute(.get, "/stuck") { _, _ in }
        try await served([stuck], limits: limits) { server in
            let response = try await blocking { try ControlClient(path: server.address).get("/stuck") }
            #expect(response.status == 503 && response.contentType == "application/problem+json")
        }
    }

    @Test func `a change may take longer than an answer that changes nothing`() async throws {
        var limits = ControlLimits()
        limits.response = .milliseconds(50)
        let held = Mutex<ControlReply?>(nil)
        let slow = ControlRoute(.post, "/slow") { _, reply in held.withLock { $0 = reply } }
        let stuck = ControlRoute(.get, "/stuck") { _, _ in }
        try await served([slow, stuck], limits: limits) { server in
            let client = ControlClient(path: server.address)
            async let change = blocking { try client.post("/slow").status }
            #expect(try await eventually { held.withLock { $0 != nil } })
            // Once this is over, so is what an answer to the change would have had.
            #expect(try await blocking { try client.get("/stuck").status } == 503)
            let reply = try #require(held.withLock { $0 })
            reply { .json(["done": true]) }
            #expect(try await change == 200)
        }
    }

    @Test func `who waits for a change in vain is told that it may happen`() async throws {
        var limits = ControlLimits()
        limits.change = .milliseconds(50)
        let stuck = ControlRoute(.post, "/stuck") { _, _ in }
        try await served([stuck], limits: limits) { server in
            let late = try await blocking { try ControlClient(path: server.address).post("/stuck") }
            #expect(late.status == 503 && String(decoding: late.body, as: UTF8.self).contains("It may still do"))
        }
    }

    @Test func `an answer of many megabytes arrives whole`() async throws {
        let many = manyAssociations(5_000)
        try await served(FakeSource(associations: many)) { server in
            let associations = try await blocking {
                try ControlClient(path: server.address, timeout: .seconds(60)).associations()
            }
            #expect(associations == many.sorted { $0.id < $1.id })
        }
    }

    @Test func `1,000 clients at once are all answered`() async throws {
        try await served(limits: .patient) { server in
            let answered = try await withThrowingTaskGroup(of: Bool.self) { group in
                for _ in 0..<1_000 {
                    group.addTask {
                        try await RawClient.exchange(
                            server.address, "GET /v1/associations HTTP/1.1\r\nHost: x\r\n\r\n")?
                            .contains("192.0.2.7:6514") == true
                    }
                }
                return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            #expect(answered == 1_000)
        }
    }

    @Test func `silent clients that take every place give way in time`() async throws {
        var limits = ControlLimits()
        limits.connections = 4
        limits.request = .milliseconds(200)
        try await served(limits: limits) { server in
            var silent: [RawClient] = []
            for _ in 0..<8 { silent.append(try await RawClient(server.address)) }
            let answer = try await RawClient.exchange(server.address, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(answer?.hasPrefix("HTTP/1.1 200 ") == true)
            for client in silent {
                #expect(try await client.answer()?.hasPrefix("HTTP/1.1 408 ") == true)
            }
        }
    }

    @Test func `stopping closes connections and takes the socket file away`() async throws {
        let server = try ControlServer.start(path: scratch.socket, source: FakeSource())
        let silent = try await RawClient(scratch.socket)
        let status = try await blocking { try ControlClient(path: scratch.socket).get("/healthz").status }
        #expect(status == 200)
        server.stop()
        server.stop()
        #expect(!FileManager.default.fileExists(atPath: scratch.socket))
        #expect(try await silent.answer() == "")
        await #expect(throws: ControlClientError.self) {
            try await blocking { try ControlClient(path: scratch.socket).get("/healthz") }
        }
    }
}
