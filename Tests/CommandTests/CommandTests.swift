// The commands that talk to the daemon, as a user meets them: the built program, against a control server with a fake daemon
// behind it.

import Control
import Foundation
import Synchronization
import TestSupport
import Testing

/// Runs the built program to its end.
@discardableResult
func culvert(
    _ arguments: [String], _ environment: [String: String] = [:], sourceLocation: SourceLocation = #_sourceLocation
) async throws -> (status: Int32, said: String) {
    let defaults = ["LC_ALL": "C.UTF-8", "ASAN_OPTIONS": "detect_leaks=0"]
    let program = try Program(
        [Program.built("culvert")] + arguments, environment: defaults.merging(environment) { $1 })
    program.closeInput()
    let status = try await program.expectExit()
    return (status, program.said)
}

@Suite struct CommandTests {
    /// Runs a command against `daemon`.
    private func run(
        _ arguments: String..., on daemon: FakeDaemon, _ environment: [String: String] = [:]
    ) async throws -> (status: Int32, said: String) {
        try await culvert(arguments + ["--socket", daemon.socket], environment)
    }

    @Test func `status answers in its first lines`() async throws {
        let daemon = try FakeDaemon()
        let (status, said) = try await run("status", on: daemon)
        #expect(status == 0)
        #expect(
            said.contains("syslog  up    udp 127.0.0.1:5514 → dtls collector.example.net:6514  encrypted: DTLS 1.2,"))
        #expect(!said.contains("\u{1b}"), "a pipe is given no colours")
    }

    @Test func `status tells of drops that are rising`() async throws {
        let daemon = try FakeDaemon()
        daemon.facts.withLock { $0.tunnels[0].dropped = ["queue_full": 10] }
        #expect(try await !run("status", on: daemon).said.contains("dropping"))
        let isOver = Flag()
        async let answer = run("status", on: daemon)
        Thread.detachNewThread {
            while !isOver.isSet {
                daemon.facts.withLock { $0.tunnels[0].dropped["queue_full", default: 0] += 1 }
                usleep(10_000)
            }
        }
        let said = try await answer.said
        isOver.set()
        #expect(said.contains("/s now: queue_full") && said.hasPrefix("ATTENTION: 2 of 3 tunnels: syslog, coap"))
    }

    @Test(arguments: ["tunnels", "associations", "flows"])
    func `a list is a table, or the API's JSON`(list: String) async throws {
        let daemon = try FakeDaemon()
        let (status, table) = try await run(list, on: daemon)
        let rows = table.split(separator: "\n")
        #expect(status == 0 && rows.count == (list == "tunnels" ? 4 : list == "flows" ? 3 : 5))
        #expect(rows[0].contains("DROPPED") && !table.contains("…"))
        let client = ControlClient(path: daemon.socket)
        let api = String(decoding: try client.get("/v1/\(list)").body, as: UTF8.self)
        #expect(try await run(list, "--json", on: daemon).said == api)
        let (code, some) = try await run(list, "--tunnel", "coap", on: daemon)
        #expect(code == 0 && some.split(separator: "\n").count == 2 && some.contains("198.51.100.40:5684"))
        let (refused, complaint) = try await run(list, "--tunnel", "cap", on: daemon)
        #expect(refused == 1 && complaint == "culvert: there is no tunnel 'cap'; there is syslog, radius, coap\n")
    }

    @Test func `a long list is printed whole`() async throws {
        let daemon = try FakeDaemon()
        let count = 10_007
        daemon.facts.withLock { facts in
            facts.associations = (0..<count).map { number in
                var one = facts.associations[0]
                one.id = "syslog-0-0-\(number)"
                return one
            }
        }
        let json = try await run("associations", "--json", on: daemon).said
        struct List: Decodable {
            struct Item: Decodable { var id: String }
            var items: [Item]
            var next: String?
            var total: Int
        }
        let list = try JSONDecoder().decode(List.self, from: Data(json.utf8))
        #expect(Set(list.items.map(\.id)).count == count && list.next == nil && list.total == count)
        #expect(try await run("associations", on: daemon).said.split(separator: "\n").count == count + 1)
    }

    @Test func `columns that are asked for are kept`() async throws {
        let daemon = try FakeDaemon()
        for columns in [40, 80, 100] {
            for list in ["status", "tunnels", "associations", "flows"] {
                let said = try await run(list, on: daemon, ["COLUMNS": "\(columns)"]).said
                #expect(said.split(separator: "\n").allSatisfy { $0.count <= columns }, "\(said)")
            }
        }
        let plain = try await run("status", on: daemon, ["LC_ALL": "C"]).said
        #expect(plain.utf8.allSatisfy { $0 < 0x80 } && plain.contains(" -> "))
    }

    @Test func `ping asks an association, or all of a tunnel`() async throws {
        let daemon = try FakeDaemon()
        let (status, said) = try await run("ping", "radius-1-0-1", on: daemon)
        #expect(status == 0)
        #expect(
            said
                == "radius-1-0-1 203.0.113.77:40112: 31.8 ms, path MTU 1420 (complete), datagrams of up to 1355 bytes in one packet\n"
        )
        let (code, all) = try await run("ping", "radius", "--count", "2", on: daemon)
        #expect(code == 0 && all.split(separator: "\n").count == 5)
        #expect(all.hasSuffix("4 heartbeats, 4 answered; shortest 0.42 ms, mean 16.1 ms, longest 31.8 ms\n"))
        #expect(daemon.actions.withLock { $0 }.suffix(2) == ["ping radius-1-0-1", "ping radius-1-1-1"])
        let json = try await run("ping", "syslog", "--json", on: daemon).said
        #expect(json.hasPrefix("{\"id\":\"syslog-0-0-1\",") && json.contains("\"rtt_ms\":12.4"))
    }

    @Test func `a ping without an answer, or without anybody to ask, fails`() async throws {
        let daemon = try FakeDaemon()
        let (status, said) = try await run("ping", "coap-2-0-4", on: daemon)
        #expect(status == 1 && said == "coap-2-0-4: The association is not established.\n")
        let (code, none) = try await run("ping", "coap", on: daemon)
        #expect(code == 1 && none == "culvert: tunnel 'coap' has no established association\n")
        let (wrong, unknown) = try await run("ping", "../x?y", on: daemon)
        #expect(wrong == 1 && unknown == "culvert: there is neither a tunnel nor an association '../x?y'\n")
    }

    @Test func `associations are closed and rekeyed by their ids`() async throws {
        let daemon = try FakeDaemon()
        #expect(try await run("close", "radius-1-0-1", on: daemon) == (0, "radius-1-0-1: closed\n"))
        #expect(try await run("rekey", "radius-1-1-1", on: daemon) == (0, "radius-1-1-1: rekeying has begun\n"))
        #expect(try await run("close", "radius-1-1-1", "--json", on: daemon).said == "{\"id\":\"radius-1-1-1\"}\n")
        #expect(try await run("close", "nobody", on: daemon) == (1, "culvert: There is no association nobody.\n"))
        #expect(
            try await run("rekey", "coap-2-0-4", on: daemon) == (1, "culvert: The association is not established.\n"))
        #expect(daemon.actions.withLock { $0.first } == "close radius-1-0-1")
    }

    @Test func `reload says what was changed, and what a restart would`() async throws {
        let daemon = try FakeDaemon()
        #expect(
            try await run("reload", on: daemon) == (
                0, "no setting was changed; keys and certificates were read again\n"
            ))
        daemon.facts.withLock { facts in
            facts.reload.applied = ["tunnel 'syslog': allow_from changed"]
            facts.reload.unchanged = ["radius", "coap"]
            facts.reload.needsRestart = ["workers changed; restart the daemon to apply it"]
            facts.reload.warnings = [.init(severity: "warning", message: "expires soon", location: "a.toml:2:1")]
        }
        #expect(
            try await run("reload", on: daemon).said == """
                tunnel 'syslog': allow_from changed
                unchanged: radius, coap
                workers changed; restart the daemon to apply it
                a.toml:2:1: warning: expires soon

                """)
        daemon.facts.withLock { facts in facts.reload.unchanged = (1...9).map { "tunnel-\($0)" } }
        #expect(try await run("reload", on: daemon).said.contains("\nunchanged: 9 tunnels\n"))
        daemon.facts.withLock {
            $0.reload.errors = [.init(severity: "error", message: "port 514 is taken")]
            $0.reload.applied = ["tunnel 'syslog': as it was before; its associations begin anew"]
        }
        #expect(
            try await run("reload", on: daemon) == (
                1,
                """
                culvert: The configuration cannot be put in force, and tunnels had ended before this was known.
                  error: port 514 is taken
                  warning: tunnel 'syslog': as it was before; its associations begin anew

                """
            ))
        daemon.facts.withLock {
            $0.reload.errors = [.init(severity: "error", message: "unknown key 'lisen'", location: "a.toml:12:3")]
            $0.reload.applied = []
        }
        let (status, said) = try await run("reload", on: daemon)
        #expect(
            status == 1 && said.contains("nothing was changed")
                && said.contains("\n  a.toml:12:3: error: unknown key 'lisen'"))
    }

    @Test func `log levels are checked here, tunnels by the daemon`() async throws {
        let daemon = try FakeDaemon()
        #expect(try await run("log-level", "debug", on: daemon) == (0, "daemon: log level debug\n"))
        #expect(
            try await run("log-level", "default", "--tunnel", "radius", on: daemon)
                == (0, "tunnel 'radius': log level default\n"))
        #expect(
            try await run("log-level", "info", "--tunnel", "x", on: daemon).said
                == "culvert: There is no tunnel of that name.\n")
        #expect(try await run("log-level", "loud", on: daemon).status == 64)
        #expect(try await run("log-level", "default", on: daemon).status == 64)
        #expect(
            daemon.actions.withLock { $0 } == ["log-level debug -", "log-level default radius", "log-level info x"])
    }

    @Test func `drain and metrics print what the daemon says`() async throws {
        let daemon = try FakeDaemon()
        #expect(try await run("drain", on: daemon) == (0, "draining: nothing new is taken on; 2 flows left\n"))
        #expect(try await run("metrics", on: daemon) == (0, "culvert_tunnel_up{tunnel=\"syslog\"} 1\n"))
        #expect(try await run("metrics", "--associations", on: daemon).said.hasSuffix("culvert_association_up 1\n"))
    }

    @Test func `events come as they happen, each a line`() async throws {
        let daemon = try FakeDaemon()
        let program = try Program(
            [Program.built("culvert"), "events", "--after", "0", "--socket", daemon.socket],
            environment: ["LC_ALL": "C.UTF-8"])
        try await program.expect("coap: no answer from 198.51.100.40:5684")
        #expect(
            program.said.hasPrefix(
                "2026-09-21 14:13:20Z  info    established       syslog: established with 192.0.2.7:6514\n"))
        let json = try Program(
            [Program.built("culvert"), "events", "--after", "1", "--json", "--socket", daemon.socket])
        try await json.expect("\"type\":\"handshake_failed\"}\n")
        #expect(json.said.split(separator: "\n").count == 1)
        daemon.stop()
        #expect(try await program.expectExit() == 69 && program.said.hasSuffix("culvert: the daemon has ended\n"))
        #expect(try await json.expectExit() == 69)
    }

    @Test func `events for a reader who has gone away end`() async throws {
        let daemon = try FakeDaemon()
        let program = try Program([
            "/bin/sh", "-c",
            "{ \(Program.built("culvert")) events --after 0 --socket \(daemon.socket); echo ended with $? >&2; } | head -n 1",
        ])
        try await program.expect("established with")
        try await program.expect("ended with 0")
    }

    @Test func `without a daemon the commands say where they have looked and how to start it`() async throws {
        let directory = try TemporaryDirectory()
        for command in [
            ["status"], ["tunnels"], ["events"], ["ping", "x"], ["reload"], ["metrics"], ["status", "--json"],
        ] {
            let (status, said) = try await culvert(command, ["CULVERT_SOCKET": directory("none.sock")])
            #expect(status == 69)
            #expect(said.contains(directory("none.sock")) && said.contains("systemctl start culvert"), "\(said)")
        }
    }

    @Test(.enabled(if: getuid() == 0 && Program.isInstalled("setpriv"), "needs root and setpriv"))
    func `who may not open the socket is told which group may`() async throws {
        let daemon = try FakeDaemon()
        let directory = (daemon.socket as NSString).deletingLastPathComponent
        // The directories above are the test's own, whose modes keep others out.
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: directory)
        let copy = directory + "/culvert"
        try FileManager.default.copyItem(atPath: Program.built("culvert"), toPath: copy)
        let program = try Program([
            "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", copy, "status", "--socket",
            daemon.socket,
        ])
        #expect(try await program.expectExit() == 69)
        #expect(
            program.said == """
                culvert: you may not open the control socket \(daemon.socket)
                  try sudo, or join the group 'root'

                """)
    }

    @Test func `usage errors exit with 64`() async throws {
        for command in [
            ["ping"], ["close"], ["ping", "x", "--count", "0"], ["status", "--jsno"], ["events", "--after", "-1"],
        ] {
            #expect(try await culvert(command).status == 64, "\(command)")
        }
    }
}

/// Something that may become true.
private final class Flag: Sendable {
    private let value = Mutex(false)
    var isSet: Bool { value.withLock { $0 } }
    func set() { value.withLock { $0 = true } }
}
