// The datagrams of one plaintext sender through one tunnel.

import DTLS
import Wire

/// One flow of a group.
struct Flow: ~Copyable, TableElement {
    /// Its number in snapshots.
    var serial: UInt64 = 0
    /// Its tunnel's number in the group.
    var member: Int32 = 0
    /// The place of the link that carries it; -1 while there is none.
    var link: Int32 = -1
    /// In shared mode, its number on the wire; 0 while it has none.
    var number: UInt64 = 0
    /// What it has carried.
    var counters = FlowCounters()
    var beganAt = Instant(nanoseconds: 0)
    @CompactInstant var toldOversizeAt: Instant? = nil
    /// Client: the local sender, and the local address that it sends to.
    var sender: Endpoint?
    // Behind the endpoint there is room for it.
    /// Whether the peer knows the flow by its number.
    var isOpen = false
    var localAddress = IPAddress.anyIPv6
    /// Client: what waits for an association.
    var waiting = WaitingQueue()
}
