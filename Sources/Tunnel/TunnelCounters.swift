// What a tunnel has carried and dropped (docs/METRICS.md says how the numbers add up).

public import DTLS

/// What a tunnel has carried, and dropped, in all.
public struct TunnelCounters: Sendable {
    /// Plaintext datagrams from the local side that went into associations.
    public var datagramsOut: UInt64 = 0
    /// Their bytes.
    public var bytesOut: UInt64 = 0
    /// Plaintext datagrams that came out of associations.
    public var datagramsIn: UInt64 = 0
    /// Their bytes.
    public var bytesIn: UInt64 = 0
    /// Datagrams that came from the local side. Each is one of ``datagramsOut``, dropped, or still waits.
    public var receivedOut: UInt64 = 0
    /// Datagrams that came from peers, whatever they held.
    public var receivedIn: UInt64 = 0
    /// The records in those; what is no record counts as one. Each is one of ``datagramsIn``, one of ``control``, dropped, or
    /// still waits.
    public var records: UInt64 = 0
    /// Records that did their job and carried no datagram: those of handshakes, heartbeats and alerts, those that open
    /// and close flows, and all fragments of a datagram but the first.
    public var control: UInt64 = 0
    /// What went no further. Drops for a reason with ``DropReason/isRefusal`` were counted as carried before.
    public var drops = DropCounters()
    /// Handshakes that gave keys.
    public var handshakes: UInt64 = 0
    /// Handshakes that did not.
    public var failedHandshakes: UInt64 = 0
    /// Flows and handshakes that had to give way to others at a limit.
    public var evictions: UInt64 = 0
    /// How long completed handshakes took.
    public var handshakeTimes = TimeHistogram()
    /// Round-trip times that heartbeats have measured.
    public var roundTrips = TimeHistogram()

    /// All zero.
    public init() {}

    /// Adds another tunnel's counters, such as those of the same tunnel on another worker.
    public mutating func add(_ other: TunnelCounters) {
        datagramsOut &+= other.datagramsOut
        bytesOut &+= other.bytesOut
        datagramsIn &+= other.datagramsIn
        bytesIn &+= other.bytesIn
        receivedOut &+= other.receivedOut
        receivedIn &+= other.receivedIn
        records &+= other.records
        control &+= other.control
        drops.add(other.drops)
        handshakes &+= other.handshakes
        failedHandshakes &+= other.failedHandshakes
        evictions &+= other.evictions
        handshakeTimes.add(other.handshakeTimes)
        roundTrips.add(other.roundTrips)
    }

    /// Counts a datagram from a peer that reaches no association.
    mutating func dropRecord(_ reason: DropReason) {
        records &+= 1
        drops.add(reason)
    }

    /// Counts datagrams that came cut short.
    mutating func countTruncated(_ count: Int, fromPeer: Bool) {
        if fromPeer {
            receivedIn &+= UInt64(count)
            records &+= UInt64(count)
        } else {
            receivedOut &+= UInt64(count)
        }
        drops.add(.truncated, count)
    }

    /// Adds what an association has received and dropped; its datagrams are counted with the flows.
    mutating func add(_ association: AssociationCounters) {
        records &+= association.records
        control &+= association.control
        drops.add(association.drops)
    }
}
