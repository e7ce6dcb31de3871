// When to try again: exponential back-off with jitter from the first wait on, so that the clients of a server that comes back do
// not all arrive at once.

import DTLS
import Settings

extension ReconnectPolicy {
    /// How long a silent peer may be left without a ClientHello while an attempt runs: as long as between two attempts, so
    /// that a peer that is back is found as soon then; but no more often than handshakes are begun (RFC 6347 §4.2.4.1).
    var helloInterval: Duration { max(maximum, .seconds(1)) }

    /// The wait after `failures` failures in a row, at least one: between half of and the whole minimum doubled as
    /// many times, the maximum at most, but never under the minimum.
    func wait(failures: Int, random: inout SplitMix64) -> Duration {
        let doublings = min(max(failures, 1), 30)
        let (scaled, overflow) = minimum.nanoseconds.multipliedReportingOverflow(by: 1 << Int64(doublings))
        let ceiling = overflow ? maximum.nanoseconds : min(scaled, maximum.nanoseconds)
        let half = max(ceiling / 2, 1)
        let wait = half + Int64(random.next() % UInt64(half))
        return .nanoseconds(max(wait, minimum.nanoseconds))
    }
}
