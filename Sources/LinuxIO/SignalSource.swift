// Signals as something to poll for, by signalfd. They are blocked, so that no handler ever interrupts anything.

internal import CLinux
internal import Glibc

/// A signal that a program reacts to.
public enum Signal: Sendable, CaseIterable {
    /// SIGTERM.
    case terminate
    /// SIGINT.
    case interrupt
    /// SIGHUP.
    case hangUp
    /// SIGWINCH: the terminal has another size.
    case windowChange

    /// The system's number.
    public var number: CInt {
        switch self {
        case .terminate: SIGTERM
        case .interrupt: SIGINT
        case .hangUp: SIGHUP
        case .windowChange: SIGWINCH
        }
    }
}

/// Delivers signals to a `Poller` instead of to handlers.
public final class SignalSource {
    private let source: OwnedDescriptor

    /// Blocks `signals` and collects them from now on; SIGPIPE is ignored.
    ///
    /// A thread inherits what is blocked from its maker: make the source before the first thread.
    /// The signals stay blocked when the source goes.
    public init(_ signals: [Signal]) throws(SystemError) {
        var set = sigset_t()
        unsafe sigemptyset(&set)
        for signal in signals { unsafe sigaddset(&set, signal.number) }
        let result = unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
        guard result == 0 else { throw SystemError(result, "pthread_sigmask") }
        _ = Glibc.signal(SIGPIPE, SIG_IGN)
        source = unsafe try OwnedDescriptor(
            signalfd(-1, &set, CInt(SFD_NONBLOCK | SFD_CLOEXEC)), "signalfd")
    }

    /// The file descriptor, for a `Poller`; readable while a signal waits.
    public var descriptor: CInt { source.rawValue }

    /// The next signal that has come, or nil.
    public func next() -> Signal? {
        var info = signalfd_siginfo()
        let size = MemoryLayout<signalfd_siginfo>.size
        guard unsafe read(source.rawValue, &info, size) == size else { return nil }
        return Signal.allCases.first { $0.number == CInt(truncatingIfNeeded: info.ssi_signo) }
    }
}
