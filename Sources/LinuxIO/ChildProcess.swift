// A program that was started from here and ends with its owner: posix_spawn. For measuring and testing only; the
// daemon starts nothing. It leads a process group of its own, so that what it forks ends with it.

internal import Glibc

/// A running program, which is ended when it is let go.
public final class ChildProcess {
    /// Its process id, also the id of its process group.
    public let pid: Int32
    /// How it has ended: its exit status, or 128 and the number of the signal that ended it; nil while it runs.
    public private(set) var status: Int32?

    /// Starts `arguments[0]`, found by PATH unless it holds a slash. Both of its outputs go to the end of the file at
    /// `output`; it reads nothing.
    public init(_ arguments: [String], output: String) throws(SystemError) {
        var actions = unsafe posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        unsafe posix_spawn_file_actions_init(&actions)
        unsafe posix_spawnattr_init(&attributes)
        defer {
            unsafe posix_spawn_file_actions_destroy(&actions)
            unsafe posix_spawnattr_destroy(&attributes)
        }
        unsafe posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        unsafe posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        unsafe posix_spawn_file_actions_adddup2(&actions, 1, 2)
        // What a SignalSource has blocked or ignored here must not stay so there.
        var none = sigset_t()
        var ignored = sigset_t()
        unsafe sigemptyset(&none)
        unsafe sigemptyset(&ignored)
        unsafe sigaddset(&ignored, SIGPIPE)
        unsafe posix_spawnattr_setsigmask(&attributes, &none)
        unsafe posix_spawnattr_setsigdefault(&attributes, &ignored)
        unsafe posix_spawnattr_setpgroup(&attributes, 0)
        let flags = POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF
        unsafe posix_spawnattr_setflags(&attributes, Int16(truncatingIfNeeded: flags))

        let strings = unsafe arguments.map { unsafe strdup($0) } + [nil]
        defer { unsafe strings.forEach { unsafe free($0) } }
        var started = pid_t()
        let result = unsafe posix_spawnp(&started, arguments.first ?? "", &actions, &attributes, strings, environ)
        guard result == 0 else { throw SystemError(result, "start", arguments.first) }
        pid = started
    }

    deinit { end() }

    /// Whether the program still runs. Once it has ended by itself, what it has forked is ended too.
    public var isRunning: Bool {
        guard status == nil else { return false }
        var info = unsafe siginfo_t()
        let result = unsafe waitid(P_PID, id_t(pid), &info, WEXITED | WNOHANG | WNOWAIT)
        guard result == 0, unsafe info.si_signo == 0 else {
            collect()
            return false
        }
        return true
    }

    /// Sends a signal to the program.
    public func signal(_ signal: Signal) {
        if isRunning { kill(pid, signal.number) }
    }

    /// Asks the program to end, waits for at most two seconds, and then ends it and all that it has forked.
    public func end() {
        signal(.terminate)
        for _ in 0..<200 where isRunning { usleep(10_000) }
        if isRunning { collect() }
    }

    private func collect() {
        // Until its leader is reaped, no other group can have the id.
        kill(-pid, SIGKILL)
        var code: CInt = 0
        _ = unsafe waitpid(pid, &code, 0)
        // The macros WIFEXITED and WTERMSIG are not imported.
        status = code & 0x7f == 0 ? code >> 8 & 0xff : 128 + code & 0x7f
    }
}
