// `culvert status --watch` in a terminal, which tmux plays: what is on the screen, what keys, sizes and signals do, and that
// the terminal is left as it was found.

import Foundation
import TestSupport
import Testing

/// A terminal with a program in it.
private final class PlayedTerminal: Sendable {
    let directory: TemporaryDirectory
    private let server: Program

    /// Runs a shell script in a terminal of that size.
    init(_ script: String, columns: Int = 80, rows: Int = 24, environment: [String: String] = [:]) async throws {
        directory = try TemporaryDirectory()
        let path = try directory.write(script, "script")
        let defaults = ["LC_ALL": "C.UTF-8", "TERM": "xterm-256color", "DIRECTORY": directory.path]
        // Not as a daemon, so that it ends with this object.
        server = try Program(
            ["tmux", "-D", "-S", directory("tmux"), "-f", "/dev/null"],
            environment: defaults.merging(environment) { $1 })
        let socket = directory("tmux")
        try await eventually("tmux: \(server)") { FileManager.default.fileExists(atPath: socket) }
        try await tmux("new-session", "-d", "-x", "\(columns)", "-y", "\(rows)", "/bin/sh \(path)")
        try await tmux("set-option", "-g", "status", "off")
        try await resize(columns, rows)
    }

    @discardableResult
    func tmux(_ arguments: String...) async throws -> String {
        let client = try Program(
            ["tmux", "-S", directory("tmux")] + arguments, environment: ["LC_ALL": "C.UTF-8", "TMUX": ""])
        let status = try await client.expectExit()
        try #require(status == 0, "\(client)")
        return client.said
    }

    func press(_ keys: String...) async throws { for key in keys { try await tmux("send-keys", key) } }

    func resize(_ columns: Int, _ rows: Int) async throws {
        try await tmux("resize-window", "-x", "\(columns)", "-y", "\(rows)")
    }

    var screen: String { get async throws { try await tmux("capture-pane", "-p") } }

    /// Whether the second screen is shown, and the cursor.
    var modes: String { get async throws { try await tmux("display-message", "-p", "#{alternate_on} #{cursor_flag}") } }

    /// Waits until the screen is as `condition` wants it, and returns it.
    @discardableResult
    func expect(
        _ what: String, sourceLocation: SourceLocation = #_sourceLocation, _ condition: (String) -> Bool
    ) async throws -> String {
        var last = ""
        for _ in 0..<400 {
            last = try await screen
            if condition(last) { return last }
            try await Task.sleep(for: .milliseconds(50))
        }
        try #require(Bool(false), "not seen: \(what); the screen is\n\(last)", sourceLocation: sourceLocation)
        return last
    }

    func file(_ name: String) -> String {
        ((try? String(contentsOfFile: directory(name), encoding: .utf8)) ?? "")
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }
}

@Suite(.enabled(if: Program.isInstalled("tmux"), "needs tmux"))
struct LiveScreenTests {
    /// The screen of `daemon` in a terminal; the script says how it has ended and what the terminal was like before and after.
    private func watch(
        _ daemon: FakeDaemon, columns: Int = 80, rows: Int = 24, _ environment: [String: String] = [:]
    ) async throws -> PlayedTerminal {
        try await PlayedTerminal(
            """
            echo "on the first screen"
            stty -g >"$DIRECTORY/before"
            sh -c 'echo $$ >"$DIRECTORY/pid"; exec \(Program.built("culvert")) status --watch --socket \(daemon.socket)'
            echo "exit code $?"
            stty -g >"$DIRECTORY/after"
            exec sleep 60
            """, columns: columns, rows: rows, environment: environment)
    }

    /// Waits for the end and checks what it has left behind.
    private func expectRestored(_ terminal: PlayedTerminal, exit code: Int) async throws {
        let screen = try await terminal.expect("the end") { $0.contains("exit code \(code)\n") }
        #expect(screen.hasPrefix("on the first screen\n"))
        #expect(try await terminal.modes == "0 1\n")
        try await eventually("the terminal's settings") { !terminal.file("after").isEmpty }
        #expect(terminal.file("after") == terminal.file("before"))
    }

    @Test func `a screen of 80 by 24 shows tunnels, rates and associations, and q ends it`() async throws {
        let daemon = try FakeDaemon()
        daemon.facts.withLock { $0.step = 500 }
        let terminal = try await watch(daemon)
        let screen = try await terminal.expect("a history of rates") { $0.contains("█") && $0.contains("by rate") }
        let lines = screen.components(separatedBy: "\n")
        #expect(lines[0].hasPrefix("culvert 1.2.3  up 3 d 4 h  4 associations  2 flows  23.4 MiB"))
        #expect(lines[0].count == 80)
        #expect(screen.contains("2 tunnels up, 1 tunnel DOWN"))
        #expect(screen.contains("! coap: the certificate CN=edge-7 expires in 5 days"))
        #expect(
            lines.contains {
                $0.hasPrefix("radius  [2001:db8:9::2]:40000  CN=branch-9") && $0.contains("0.46 ms  1280")
            })
        #expect(lines[23] == "q quit  ↑↓ scroll  sort: r rate t tunnel p peer l round trip m MTU d drops")
        #expect(try await terminal.modes == "1 0\n")
        try await terminal.press("q")
        try await expectRestored(terminal, exit: 0)
    }

    @Test func `keys sort and scroll, and a new size is used at once`() async throws {
        let daemon = try FakeDaemon()
        daemon.facts.withLock { facts in
            facts.associations = (100..<140).map { number in
                var one = facts.associations[number % 2]
                one.id = "a-\(number)"
                one.peerAddress = "192.0.2.\(number):6514"
                return one
            }
        }
        let terminal = try await watch(daemon)
        try await terminal.expect("the list") { $0.contains("of 40, by rate") }
        try await terminal.press("p", "p")
        try await terminal.expect("another order") { $0.contains("of 40, by peer, reversed") }
        try await terminal.press("Down", "NPage", "PPage", "Down")
        try await terminal.expect("a later part") { $0.contains("associations 3 to ") }
        try await terminal.resize(132, 40)
        let wide = try await terminal.expect("a wider screen") { $0.contains("DROPPED  HISTORY") }
        #expect(wide.components(separatedBy: "\n")[0].hasSuffix("Z"), "the last column is used")
        #expect(wide.components(separatedBy: "\n")[39].hasPrefix("q quit"))
        try await terminal.resize(40, 10)
        try await terminal.expect("a small screen") { screen in
            let lines = screen.components(separatedBy: "\n")
            return lines.count == 11 && lines[0].hasPrefix("culvert 1.2.3") && lines[9].hasPrefix("q quit")
                && lines.allSatisfy { $0.count <= 40 }
        }
        try await terminal.press("C-c")
        try await expectRestored(terminal, exit: 0)
    }

    @Test(arguments: [(SIGTERM, 143), (SIGINT, 130), (SIGHUP, 129)])
    func `a signal ends it with the terminal as it was`(signal: CInt, code: Int) async throws {
        let daemon = try FakeDaemon()
        let terminal = try await watch(daemon)
        try await terminal.expect("the screen") { $0.contains("by rate") }
        let pid = try #require(pid_t(terminal.file("pid")))
        kill(pid, signal)
        try await expectRestored(terminal, exit: code)
    }

    @Test func `a daemon that goes is missed, and one that comes back is found`() async throws {
        let daemon = try FakeDaemon()
        let terminal = try await watch(daemon)
        try await terminal.expect("the screen") { $0.contains("by rate") }
        daemon.stop()
        try await terminal.expect("that it is gone") { $0.contains("NO ANSWER for") && $0.contains("trying again") }
        daemon.facts.withLock { facts in
            facts.status.processID = 4343
            facts.status.uptimeSeconds = 2
        }
        try daemon.start()
        try await terminal.expect("that it is back") { $0.hasPrefix("culvert 1.2.3  up 2 s  restarted") }
        try await terminal.press("q")
        try await expectRestored(terminal, exit: 0)
    }

    @Test func `where the locale knows ASCII only, so does the screen`() async throws {
        let daemon = try FakeDaemon()
        daemon.facts.withLock { $0.step = 500 }
        let terminal = try await watch(daemon, ["LC_ALL": "C"])
        let screen = try await terminal.expect("the screen") { $0.contains("by rate") && $0.contains("#") }
        #expect(screen.utf8.allSatisfy { $0 < 0x80 } && screen.contains("arrows scroll"))
        try await terminal.press("q")
        try await expectRestored(terminal, exit: 0)
    }

    @Test func `there is no live screen without a terminal, or without a daemon`() async throws {
        let daemon = try FakeDaemon()
        #expect(try await culvert(["status", "--watch", "--socket", daemon.socket]).status == 64)
        daemon.stop()
        let terminal = try await watch(daemon)
        let screen = try await terminal.expect("the end") { $0.contains("exit code 69") }
        #expect(screen.contains("systemctl start culvert"))
    }
}
