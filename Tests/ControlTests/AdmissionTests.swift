// Who may change things on the control socket, and what may be read over TCP by whom.

import Foundation
import TestSupport
import Testing

@testable import Control

private let isRoot = getuid() == 0

@Suite(.timeLimit(.minutes(3)))
struct AdmissionTests {
    let scratch: Scratch

    init() throws { scratch = try Scratch() }

    // MARK: The control socket

    @Test func `root, the daemon's user and its group may change things`() {
        let rule = PeerRule(user: 991, group: 992)
        #expect(rule.allows(user: 0, group: 7))
        #expect(rule.allows(user: 991, group: 7))
        #expect(rule.allows(user: 1000, group: 992))
        #expect(!rule.allows(user: 1000, group: 991))
        #expect(!rule.allows(user: 1000, group: 0))
        var groups = PeerGroups(repeating: 0)
        #expect(!rule.allows(groups: groups))
        groups[3] = 992
        #expect(rule.allows(groups: groups))
        // Zeros end the list, so a daemon of group 0 goes by the primary group only.
        #expect(!PeerRule(user: 0, group: 0).allows(groups: groups))
        #expect(PeerRule(user: 0, group: 0).allows(user: 1000, group: 0))
    }

    /// POSTs as another user; gives the status.
    private func post(_ arguments: [String], _ socket: String) async throws -> String {
        try await Program.run(
            ["/usr/bin/setpriv"] + arguments + [
                "/usr/bin/curl", "-sS", "--max-time", "10", "-o", "/dev/null", "-w", "%{http_code}", "--unix-socket",
                socket, "-X", "POST", "http://culvert/v1/drain",
            ]
        ).said
    }

    @Test(.enabled(if: isRoot && curlIsInstalled, "needs root and curl"))
    func `others who can open the socket may read and are refused changes`() async throws {
        let source = FakeSource()
        let server = try ControlServer.start(
            path: scratch.socket, routes: ControlAPI(source).routes, rule: PeerRule(user: 65_001, group: 65_002))
        defer { server.stop() }
        try FileManager.default.setAttributes([.posixPermissions: 0o666], ofItemAtPath: scratch.socket)
        let stranger = ["--reuid=65003", "--regid=65003", "--clear-groups"]
        let read = try await Program.run(
            ["/usr/bin/setpriv"] + stranger + [
                "/usr/bin/curl", "-sS", "--unix-socket", scratch.socket, "-w", "%{http_code}", "-o", "/dev/null",
                "http://culvert/v1/status",
            ])
        #expect(read.said == "200")
        #expect(try await post(stranger, scratch.socket) == "403")
        #expect(try await post(["--reuid=65003", "--regid=65003", "--groups=65004,65005"], scratch.socket) == "403")
        #expect(source.actions.isEmpty)
        #expect(try await post(["--reuid=65001", "--regid=65003", "--clear-groups"], scratch.socket) == "202")
        #expect(try await post(["--reuid=65003", "--regid=65002", "--clear-groups"], scratch.socket) == "202")
        #expect(try await post(["--reuid=65003", "--regid=65003", "--groups=65004,65002"], scratch.socket) == "202")
        #expect(try await post([], scratch.socket) == "202")
        #expect(source.actions.count == 4)
    }

    @Test(.enabled(if: isRoot && curlIsInstalled, "needs root and curl"))
    func `who may not open the socket is told so`() async throws {
        let server = try ControlServer.start(path: scratch.socket, source: FakeSource())
        defer { server.stop() }
        let answer = try await Program.run([
            "/usr/bin/setpriv", "--reuid=65003", "--regid=65003", "--clear-groups", "/usr/bin/curl", "-sS",
            "--unix-socket",
            scratch.socket, "http://culvert/healthz",
        ])
        #expect(answer.status != 0 && answer.said.contains("ermission denied") || answer.said.contains("connect"))
        #expect(ControlClientError.notPermitted(path: "/p").description.contains("sudo"))
    }

    // MARK: TCP

    private func listen(_ source: FakeSource = FakeSource(), host: String = "127.0.0.1") throws -> ControlServer {
        try ControlServer.start(tcp: host, port: 0, source: source)
    }

    @Test func `over TCP there is nothing but what anybody may read`() async throws {
        let source = FakeSource()
        let server = try listen(source)
        defer { server.stop() }
        for path in ["/metrics", "/healthz", "/readyz", "/v1/status", "/v1/tunnels", "/v1/associations"] {
            let answer = try #require(
                try await RawClient.exchange(port: server.port, "GET \(path) HTTP/1.1\r\nHost: localhost\r\n\r\n"))
            #expect(answer.hasPrefix("HTTP/1.1 200 "), "\(path) \(answer)")
            for field in [
                "X-Content-Type-Options: nosniff", "Referrer-Policy: no-referrer", "Cache-Control: no-store",
                "X-Frame-Options: DENY", "Cross-Origin-Resource-Policy: same-origin",
                "Content-Security-Policy: default-src 'none'",
            ] { #expect(answer.contains("\r\n\(field)"), "\(path) \(field)") }
            #expect(!answer.contains("Access-Control"))
            let refused = try await RawClient.exchange(
                port: server.port, "POST \(path) HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
            #expect(refused?.hasPrefix("HTTP/1.1 405 ") == true)
        }
        for path in ["/v1/config", "/v1/events", "/v1/flows", "/v1/metrics", "/v1/associations/1-1"] {
            let answer = try await RawClient.exchange(
                port: server.port, "GET \(path) HTTP/1.1\r\nHost: localhost\r\n\r\n")
            #expect(answer?.hasPrefix("HTTP/1.1 404 ") == true, "\(path)")
        }
        for path in ["/v1/drain", "/v1/reload", "/v1/log-level", "/v1/associations/1-1/close"] {
            let answer = try await RawClient.exchange(
                port: server.port, "POST \(path) HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
            #expect(answer?.hasPrefix("HTTP/1.1 404 ") == true, "\(path)")
        }
        #expect(source.actions.isEmpty)
    }

    @Test(arguments: [
        ("Host: 127.0.0.1\r\n", 200), ("Host: 127.0.0.1:9464\r\n", 200), ("Host: [::1]:9464\r\n", 200),
        ("Host: LocalHost:80\r\n", 200), ("Host: 192.0.2.1\r\n", 200), ("Host: evil.example\r\n", 421),
        ("Host: evil.example:9464\r\n", 421), ("Host: localhost.evil.example\r\n", 421), ("Host: [evil]\r\n", 421),
        ("Host: 127.0.0.1.evil.example\r\n", 421), ("Host: \r\n", 400), ("Host: [::1\r\n", 400),
        ("Host: localhost:x\r\n", 400), ("Host: user@localhost\r\n", 421), ("", 400),
        ("Host: localhost\r\nHost: evil.example\r\n", 400),
    ])
    func `a name that somebody else made resolve to this address is refused`(field: String, status: Int) async throws {
        let server = try listen()
        defer { server.stop() }
        let answer = try #require(
            try await RawClient.exchange(port: server.port, "GET /v1/status HTTP/1.1\r\n\(field)\r\n"))
        #expect(answer.hasPrefix("HTTP/1.1 \(status) "), "\(field) \(answer)")
    }

    @Test func `a program that knows HTTP 1.0 only need not name a host`() async throws {
        let server = try listen()
        defer { server.stop() }
        let answer = try await RawClient.exchange(port: server.port, "GET /metrics HTTP/1.0\r\n\r\n")
        #expect(answer?.hasSuffix("\r\n\r\nculvert_up 1\n") == true)
    }

    @Test func `an address that cannot be had is named`() throws {
        let server = try listen()
        defer { server.stop() }
        let port = try #require(server.port)
        #expect(server.address == "127.0.0.1:\(port)")
        let error = #expect(throws: ControlServerError.self) {
            try ControlServer.start(tcp: "127.0.0.1", port: port, source: FakeSource())
        }
        #expect(
            error?.description
                == "metrics_listen: cannot listen on 127.0.0.1:\(port): Address already in use")
        #expect(throws: ControlServerError.self) {
            try ControlServer.start(tcp: "192.0.2.1", port: 0, source: FakeSource())
        }
    }
}
