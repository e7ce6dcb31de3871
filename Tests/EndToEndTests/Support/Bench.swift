// A directory with configs, and the daemons that run from them. Unlike ``DaemonFixture`` it serves tests that restart daemons,
// start them in odd surroundings, and have several of them.

import Foundation
import Testing
import TestSupport
import Wire

/// A place for a test's daemons.
final class Bench: Sendable {
    let directory: TemporaryDirectory
    let keys: TestKeys

    /// Makes an empty directory.
    init() async throws {
        directory = try TemporaryDirectory()
        keys = try await TestKeys.shared()
    }

    /// Writes a config with the daemon's control socket in `NAME.sock`, an identity and a trust; returns its path.
    @discardableResult
    func configure(
        _ name: String, identity: String? = nil, authority: String = "ca", daemon: String = "",
        sharing: String? = nil,
        tunnels: String
    ) throws -> String {
        let identity = identity ?? (name.hasPrefix("server") ? "server" : "client")
        return try directory.write(
            """
            [daemon]
            control_socket = "\(directory("\(name).sock"))"
            \(daemon.contains("log_format") ? "" : "log_format = \"text\"")
            \(daemon)
            [identity.default]
            certificate = "\(keys.path("\(identity).crt"))"
            private_key = "\(keys.path("\(identity).key"))"
            [trust.default]
            ca = "\(keys.path("\(authority).crt"))"
            \(tunnels.replacingOccurrences(of: "[[tunnel]]\n", with: "[[tunnel]]\n" + sharingLine(sharing)))
            """, "\(name).toml")
    }

    /// Starts the daemon whose config is `NAME.toml` and waits until it is ready.
    func start(
        _ name: String, prefix: [String] = [], environment: [String: String] = [:],
        file: StaticString = #fileID, line: UInt = #line
    ) async throws -> Daemon {
        let daemon = try Daemon(self, name, prefix: prefix, environment: environment)
        try await daemon.becomesReady(file: file, line: line)
        return daemon
    }

    /// Runs `culvert` to its end.
    func culvert(_ arguments: String..., prefix: [String] = []) async throws -> (status: Int32, said: String) {
        // What ArgumentParser leaks on a usage error would replace the exit status under the address sanitizer.
        try await Program.run(
            prefix + [Daemon.program] + arguments, environment: ["ASAN_OPTIONS": "detect_leaks=0"])
    }
}

/// A running daemon.
final class Daemon: Sendable {
    /// The built `culvert`, or what CULVERT names instead: a debug build's tests can measure a release build.
    static let program = ProcessInfo.processInfo.environment["CULVERT"] ?? Program.built("culvert")

    let process: Program
    let control: ControlSocket
    private let bench: Bench

    /// Starts it without waiting; `prefix` is a program that executes it, as `setpriv` does.
    init(_ bench: Bench, _ name: String, prefix: [String] = [], environment: [String: String] = [:]) throws {
        self.bench = bench
        process = try Program(
            prefix + [Self.program, "run", "--config", bench.directory("\(name).toml")], environment: environment)
        control = ControlSocket(path: bench.directory("\(name).sock"))
    }

    /// Waits until it is ready.
    func becomesReady(file: StaticString = #fileID, line: UInt = #line) async throws {
        try await eventually("a daemon that is ready: \(process)", within: .seconds(30), file: file, line: line) {
            guard process.isRunning else { throw Unusable("the daemon did not start: \(process)") }
            return control.isReady
        }
    }

    /// Its log so far.
    var log: String { process.said }

    /// Its log's lines that hold `words`.
    func lines(with words: String) -> [String] { process.lines(with: words) }

    /// Waits until a line of its log holds `words`.
    func says(
        _ words: String, within time: Duration = .seconds(20), file: StaticString = #fileID, line: UInt = #line
    ) async throws {
        try await eventually("'\(words)' in the log:\n\(log.suffix(3000))", within: time, file: file, line: line) {
            log.contains(words)
        }
    }

    /// Its associations now.
    func associations() throws -> [AssociationReport] { try control.associations() }

    /// Waits until its associations are as wanted.
    func has(
        _ what: String, within time: Duration = .seconds(20), file: StaticString = #fileID, line: UInt = #line,
        _ wanted: ([AssociationReport]) -> Bool
    ) async throws {
        var last: [AssociationReport] = []
        try await eventually(
            "\(what): \(last.prefix(3)) \(log.suffix(3000))", within: time, every: .milliseconds(20), file: file,
            line: line
        ) {
            last = try associations()
            return wanted(last)
        }
    }

    /// Sends a signal and waits for the end; answers the exit status and how long it took.
    @discardableResult
    func stop(
        _ signal: Int32 = SIGTERM, file: StaticString = #fileID, line: UInt = #line
    ) async throws -> (status: Int32, took: Duration) {
        let begin = ContinuousClock.now
        process.signal(signal)
        let status = try await process.expectExit(file: file, line: line)
        return (status, ContinuousClock.now - begin)
    }

    /// The memory of its own in bytes, as the kernel counts it: heap, stacks, and what it has written elsewhere. Memory of
    /// the kernel, such as its sockets', is not in it.
    func memory() throws -> Int {
        let text = try String(contentsOfFile: "/proc/\(process.pid)/smaps_rollup", encoding: .utf8)
        let line = try #require(text.split(separator: "\n").first { $0.hasPrefix("Anonymous:") })
        return try #require(line.split(separator: " ").dropFirst().first.flatMap { Int($0) }) * 1024
    }

    /// What it has used of processors.
    func processorTime() throws -> Duration {
        let text = try String(contentsOfFile: "/proc/\(process.pid)/stat", encoding: .utf8)
        // The name in parentheses, the second field, may hold anything; utime and stime are the 14th and 15th.
        let fields = text[(text.lastIndex(of: ")") ?? text.startIndex)...].split(separator: " ")
        let ticks = try fields.dropFirst(12).prefix(2).map { try #require(Int($0)) }.reduce(0, +)
        return .milliseconds(ticks * 1000 / sysconf(CInt(_SC_CLK_TCK)))
    }

    /// How many files it has open.
    func openFiles() throws -> Int {
        try FileManager.default.contentsOfDirectory(atPath: "/proc/\(process.pid)/fd").count
    }
}
