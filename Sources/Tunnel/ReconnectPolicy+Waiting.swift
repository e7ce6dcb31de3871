// When to try again: exponential back-off, with jitter from the first wait on, so that a server that comes back does
// not see all its clients at once.

import DTLS
import Settings

extension ReconnectPolicy {
    /// How long a silent peer may go without a ClientHello while an attempt runs: as long as between two attempts, so
    /// that a peer that comes back is found as soon as it would be then; but no less than the initial timeout of a
    /// handshake (RFC 6347 §4.2.4.1).
    var helloInterval: Duration { max(maximum, .seconds(1)) }

    /// The wait after `failures` failures in a row, taken as at least one. The ceiling is the minimum doubled that many
    /// times, but at most the maximum; the wait is drawn from between half the ceiling and the ceiling, and is never
    /// below the minimum.
    func wait(failures: Int, random: inout SplitMix64) -> Duration {
        let doublings = min(max(failures, 1), 30)
        let (scaled, overflow) = minimum.nanoseconds.multipliedReportingOverflow(by: 1 << Int64(doublings))
        let ceiling = overflow ? maximum.nanoseconds : min(scaled, maximum.nanoseconds)
        let half = max(ceiling / 2, 1)
        let wait = half + Int64(random.next() % UInt64(half))
        return .nanoseconds(max(wait, minimum.nanoseconds))
    }
}
