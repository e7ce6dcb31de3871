import DTLS
import LinuxIO

extension MonotonicClock {
    /// Now, as the cores know it.
    static var instant: Instant { Instant(nanoseconds: now) }
}
