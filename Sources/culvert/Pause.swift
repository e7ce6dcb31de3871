// Waiting, for commands that have nothing else to do meanwhile.

import Glibc

/// Lets the calling thread wait.
enum Pause {
    /// Waits so many seconds.
    static func seconds(_ seconds: Double) {
        _ = usleep(UInt32(max(seconds, 0) * 1_000_000))
    }
}
