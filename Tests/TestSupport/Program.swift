// A program that runs beside a test: one that was built here, or one of the system's. It gets a process group of its own
// and is ended, by its id and with what it has forked, when the object is let go.

import Foundation
import Synchronization

/// A running program with its input and its output.
public final class Program: Sendable {
    /// Its process id, also the id of its process group.
    public let pid: pid_t
    /// What was started, for messages.
    public let arguments: [String]

    /// Both of its outputs, in a file that has no name any more.
    private let output: CInt
    private let input: Mutex<CInt>
    private let ended = Mutex<Int32?>(nil)

    /// Where the built program `name` is: beside the test bundle.
    public static func built(_ name: String) -> String {
        URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
            .appendingPathComponent(name).path
    }

    /// Whether `name` can be found by PATH.
    public static func isInstalled(_ name: String) -> Bool {
        (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin").split(separator: ":").contains {
            access("\($0)/\(name)", X_OK) == 0
        }
    }

    /// Starts `arguments[0]`, found by PATH unless it holds a slash, with `environment` added to the test's own.
    public init(_ arguments: [String], environment: [String: String] = [:]) throws {
        self.arguments = arguments
        let file = FileManager.default.temporaryDirectory.path + "/culvert-output-\(UUID().uuidString)"
        let output = open(file, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0o600)
        guard output >= 0 else { throw CallFailure("open \(file)") }
        unlink(file)
        // A socket rather than a pipe: writing to a program that has ended must not raise SIGPIPE.
        var ends: [CInt] = [-1, -1]
        guard socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
            close(output)
            throw CallFailure("socketpair")
        }
        defer { close(ends[1]) }
        guard let pid = Self.spawn(arguments, environment: environment, input: ends[1], output: output) else {
            let failure = CallFailure("start \(arguments)")
            close(output)
            close(ends[0])
            throw failure
        }
        self.pid = pid
        self.output = output
        input = Mutex(ends[0])
    }

    deinit {
        end()
        input.withLock { if $0 >= 0 { close($0) } }
        close(output)
    }

    // MARK: Output and input

    /// Everything that it has said so far, on either output.
    public var said: String {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = pread(output, &buffer, buffer.count, off_t(bytes.count))
            guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
            bytes += buffer[..<count]
        }
    }

    /// How many bytes it has said so far.
    public var saidBytes: Int {
        var state = stat()
        return fstat(output, &state) == 0 ? Int(state.st_size) : 0
    }

    /// The lines of it that contain `words`.
    public func lines(with words: String) -> [String] {
        said.split(whereSeparator: \.isNewline).map(String.init).filter { $0.contains(words) }
    }

    /// Writes to its input; without effect when it has ended.
    public func write(_ text: String) {
        let bytes = Array(text.utf8)
        input.withLock { _ = Glibc.send($0, bytes, bytes.count, CInt(MSG_NOSIGNAL)) }
    }

    /// Ends its input.
    public func closeInput() {
        input.withLock {
            if $0 >= 0 { close($0) }
            $0 = -1
        }
    }

    /// Waits until it has said `words`, `count` times.
    public func expect(
        _ words: String, count: Int = 1, within limit: Duration = .seconds(20), file: StaticString = #fileID,
        line: UInt = #line
    ) async throws {
        try await eventually("'\(words)' from \(self)", within: limit, file: file, line: line) {
            said.components(separatedBy: words).count > count
        }
    }

    /// Waits until it has ended by itself, or by a signal.
    ///
    /// - Returns: its exit status, or 128 and the number of the signal that ended it.
    @discardableResult
    public func expectExit(
        within limit: Duration = .seconds(20), file: StaticString = #fileID, line: UInt = #line
    ) async throws -> Int32 {
        try await eventually("the end of \(self)", within: limit, file: file, line: line) { status }
    }

    // MARK: Its end

    /// Whether it runs.
    public var isRunning: Bool { status == nil }

    /// Its exit status, or 128 and the number of the signal that ended it; nil while it runs.
    public var status: Int32? {
        ended.withLock { status in
            guard status == nil else { return status }
            var information = siginfo_t()
            guard waitid(P_PID, id_t(pid), &information, WEXITED | WNOHANG | WNOWAIT) == 0,
                information.si_signo != 0
            else { return nil }
            status = collect()
            return status
        }
    }

    /// Sends it a signal.
    public func signal(_ number: CInt) {
        ended.withLock { if $0 == nil { kill(pid, number) } }
    }

    /// Ends it. It is not asked to: some never do what they are asked, and waiting for them would hold up one of the few
    /// threads that all tests share.
    public func end() {
        ended.withLock { if $0 == nil { $0 = collect() } }
    }

    /// Ends what is left of its process group, whose id is nobody else's before the program is collected.
    private func collect() -> Int32 {
        kill(-pid, SIGKILL)
        var code: CInt = 0
        waitpid(pid, &code, 0)
        return code & 0x7f == 0 ? code >> 8 & 0xff : 128 + code & 0x7f
    }

    private typealias CloseFrom = @convention(c) (UnsafeMutablePointer<posix_spawn_file_actions_t>, CInt) -> CInt

    /// posix_spawn_file_actions_addclosefrom_np, which Glibc's module leaves out.
    private static let closeFrom = dlsym(nil, "posix_spawn_file_actions_addclosefrom_np").map {
        unsafeBitCast($0, to: CloseFrom.self)
    }

    private static func spawn(
        _ arguments: [String], environment: [String: String], input: CInt, output: CInt
    ) -> pid_t? {
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        posix_spawn_file_actions_adddup2(&actions, input, 0)
        posix_spawn_file_actions_adddup2(&actions, output, 1)
        posix_spawn_file_actions_adddup2(&actions, output, 2)
        // What other tests have open at the moment must not stay open in it.
        _ = closeFrom?(&actions, 3)
        // What the test process has blocked or ignored must not stay so in its children.
        var none = sigset_t()
        var ignored = sigset_t()
        sigemptyset(&none)
        sigemptyset(&ignored)
        for number in [SIGPIPE, SIGTERM, SIGINT, SIGHUP] { sigaddset(&ignored, number) }
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &ignored)
        posix_spawnattr_setpgroup(&attributes, 0)
        let flags = POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF
        posix_spawnattr_setflags(&attributes, Int16(truncatingIfNeeded: flags))

        let variables = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        let environment = variables.map { strdup("\($0)=\($1)") } + [nil]
        let strings = arguments.map { strdup($0) } + [nil]
        defer { (environment + strings).forEach { free($0) } }
        var pid = pid_t()
        errno = posix_spawnp(&pid, arguments.first ?? "", &actions, &attributes, strings, environment)
        return errno == 0 ? pid : nil
    }
}

extension Program: CustomStringConvertible {
    /// The program, how it fares and the end of what it has said.
    public var description: String {
        let state = status.map { "ended with \($0)" } ?? "running"
        return "\(arguments.prefix(4).joined(separator: " ")) (\(state)), which has said:\n\(said.suffix(3000))"
    }
}

extension Program {
    /// Runs a program to its end.
    @discardableResult
    public static func run(
        _ arguments: [String], environment: [String: String] = [:], within limit: Duration = .seconds(30),
        file: StaticString = #fileID, line: UInt = #line
    ) async throws -> (status: Int32, said: String) {
        let program = try Program(arguments, environment: environment)
        program.closeInput()
        let status = try await program.expectExit(within: limit, file: file, line: line)
        return (status, program.said)
    }
}
