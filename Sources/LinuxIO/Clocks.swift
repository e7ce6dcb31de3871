// The clocks. Nothing below the worker reads one: `now` is handed down as a parameter.

internal import Glibc

/// The clock that timers run on.
///
/// CLOCK_MONOTONIC, which epoll's timeouts follow too: it does not step when the time of day is set. It stands
/// still while the machine is suspended, where CLOCK_BOOTTIME goes on; then a deadline would pass in sleep and
/// every association of a resumed machine would be given up before its peer is asked.
public enum MonotonicClock {
    /// Nanoseconds since some moment in the past.
    public static var now: Int64 { nanoseconds(CLOCK_MONOTONIC) }
}

/// The CPU time that has been used, by user code and by the kernel on its behalf.
public enum CPUTime {
    /// Nanoseconds used by all threads of this process.
    public static var process: Int64 { nanoseconds(CLOCK_PROCESS_CPUTIME_ID) }
}

private func nanoseconds(_ clock: clockid_t) -> Int64 {
    var time = timespec()
    _ = unsafe clock_gettime(clock, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}
