// Datagrams that do not fit one packet of the path, or not even a record.

import DTLS
import Settings
import Wire

/// How a datagram travels.
public enum DatagramFate: Hashable, Sendable {
    /// In one packet.
    case whole
    /// In IP fragments; one packet carries at most `limit` bytes.
    case fragmented(limit: Int)
    /// Not at all; at most `limit` bytes get through.
    case dropped(limit: Int)
}

extension Association {
    /// How a datagram of this many bytes travels through an association that is established.
    @inline(__always)
    func fate(of byteCount: Int, _ policy: OversizePolicy) -> DatagramFate {
        let limit = maximumDatagram
        if byteCount <= limit || !isEstablished { return .whole }
        guard byteCount <= maximumPlaintext else { return .dropped(limit: maximumPlaintext) }
        // Nothing is dropped because of an assumption: until the first search has ended, IP may fragment what it has
        // to.
        return policy == .fragment || !isPathKnown ? .fragmented(limit: limit) : .dropped(limit: limit)
    }

    /// Counts what the system did not send, unless it was a probe: to a probe, a refusal is an answer.
    mutating func handleSendFailure(_ failure: SendFailure, count: Int, now: Instant) {
        let probes = failure == .tooLarge && handleRefusal(now: now) ? 1 : 0
        countRefusal(failure.reason, count - probes)
    }
}
