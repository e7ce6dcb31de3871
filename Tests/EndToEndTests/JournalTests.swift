// Log lines in systemd's journal: what arrives at a socket in its place, and what journalctl finds in a journal of the test's
// own.

import Foundation
import Testing
import TestSupport
import Wire

@Suite struct JournalTests {
    @Test func `lines go to the journal with fields, and not to standard error`() async throws {
        let bench = try await Bench()
        let journal = try UnixReceiver(bench.directory("journal.sock"))
        let address = Endpoint(address: .loopbackIPv4, port: try FreePorts.next())
        try bench.configure(
            "client", daemon: "log_format = \"journal\"\nworkers = 1", sharing: "never",
            tunnels: Self.tunnel("syslog", address))
        let daemon = try await bench.start("client", environment: ["CULVERT_JOURNAL_SOCKET": journal.path])
        let ready = try await eventually("an entry") { try journal.takeEntry() }
        #expect(
            ready == [
                "MESSAGE": ["ready: 1 tunnel, 1 worker"], "PRIORITY": ["5"], "SYSLOG_IDENTIFIER": ["culvert"],
                "CULVERT_EVENT": ["ready"],
            ])
        try Peer(Endpoint(address: .loopbackIPv4, port: 0), connectedTo: address).send([1])
        let refused = try await eventually("an entry of the tunnel") { try journal.takeEntry() }
        #expect(refused["CULVERT_TUNNEL"] == ["syslog"])
        #expect(refused["CULVERT_EVENT"] == ["unreachable"])
        #expect(refused["CULVERT_PEER"] == ["127.0.0.1:9"])
        #expect(try await daemon.stop().status == 0)
        let stopping = try await eventually("the last entry") {
            try journal.takeEntry().flatMap { $0["CULVERT_EVENT"] == ["stopping"] ? $0 : nil }
        }
        #expect(stopping["CULVERT_TUNNEL"] == nil)
        #expect(daemon.log == "")
    }

    @Test(
        .enabled(
            if: isRoot && Journal.isPossible && Program.isInstalled("unshare") && Program.isInstalled("journalctl"),
            "needs root, unshare, systemd-journald and journalctl"))
    func `journalctl finds lines by tunnel, event and peer`() async throws {
        let journal = try await Journal()
        let bench = try await Bench()
        let addresses = try (0..<2).map { _ in Endpoint(address: .loopbackIPv4, port: try FreePorts.next()) }
        try bench.configure(
            "client", daemon: "log_format = \"journal\"", sharing: "never",
            tunnels: Self.tunnel("syslog", addresses[0]) + "\n" + Self.tunnel("radius", addresses[1]))
        let daemon = try await bench.start("client", environment: ["CULVERT_JOURNAL_SOCKET": journal.socket])
        for address in addresses {
            try Peer(Endpoint(address: .loopbackIPv4, port: 0), connectedTo: address).send([1])
        }
        for name in ["syslog", "radius"] {
            try await journal.finds("\(name): nothing listens at 127.0.0.1:9", by: "CULVERT_TUNNEL=\(name)")
            try await journal.finds(
                "\(name): nothing listens at", by: "CULVERT_EVENT=unreachable", "CULVERT_PEER=127.0.0.1:9",
                "CULVERT_TUNNEL=\(name)", "SYSLOG_IDENTIFIER=culvert", "PRIORITY=5")
        }
        let lines = try await journal.lines("CULVERT_TUNNEL=syslog")
        #expect(lines.allSatisfy { $0.hasPrefix("syslog: ") }, "\(lines)")
        #expect(try await journal.lines("CULVERT_TUNNEL=nobody").isEmpty)
        #expect(try await daemon.stop().status == 0)
        try await journal.finds("stopping", by: "CULVERT_EVENT=stopping", "_PID=\(daemon.process.pid)")
        #expect(daemon.log == "")
    }

    private static func tunnel(_ name: String, _ address: Endpoint) -> String {
        """
        [[tunnel]]
        name = "\(name)"
        listen = "udp://\(address)"
        forward = "dtls://127.0.0.1:9"
        """
    }
}

/// A journal that nobody else writes to: a journald whose /run is its own.
private final class Journal {
    private static let daemon = "/lib/systemd/systemd-journald"
    static let isPossible = access(daemon, X_OK) == 0 && access("/etc/machine-id", R_OK) == 0

    let socket: String
    private let directory: String
    private let journald: Program

    init() async throws {
        // Without the network it cannot switch the kernel's auditing on, which it otherwise would.
        let script =
            "mount -t tmpfs none /run && mount --bind /dev/null /dev/kmsg && mkdir -p /run/systemd/journal "
            + "/run/log/journal && exec \(Self.daemon)"
        journald = try Program(["unshare", "--mount", "--net", "sh", "-c", script])
        socket = "/proc/\(journald.pid)/root/run/systemd/journal/socket"
        directory = "/proc/\(journald.pid)/root/run/log/journal"
        try await eventually("journald: \(journald)") {
            guard journald.isRunning else { throw Unusable("journald did not start: \(journald)") }
            return access(socket, F_OK) == 0
        }
    }

    /// The messages of the entries that match.
    func lines(_ matches: [String]) async throws -> [String] {
        let (status, said) = try await Program.run(
            ["journalctl", "--directory", directory, "--no-pager", "--quiet", "--output", "cat"] + matches)
        guard status == 0 || said.isEmpty else { throw Unusable("journalctl: \(said)") }
        return said.split(separator: "\n").map(String.init)
    }

    func lines(_ matches: String...) async throws -> [String] { try await lines(matches) }

    /// Waits until an entry that matches begins with `words`.
    func finds(_ words: String, by matches: String...) async throws {
        let end = ContinuousClock.now + .seconds(20)
        var last: [String] = []
        while ContinuousClock.now < end {
            last = try await lines(matches)
            if last.contains(where: { $0.hasPrefix(words) }) { return }
            try await Task.sleep(for: .milliseconds(50))
        }
        throw Unusable("'\(words)' is not in the journal by \(matches): \(last); \(journald)")
    }
}
