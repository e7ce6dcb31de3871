// What is known of one flow: what it has carried, and a snapshot of it for a status.

public import DTLS
public import Wire

/// What one flow has carried.
public struct FlowCounters: Sendable {
    /// Plaintext datagrams from the local side that left towards the peer.
    public var datagramsOut: UInt64 = 0
    /// Their bytes.
    public var bytesOut: UInt64 = 0
    /// Plaintext datagrams from the peer.
    public var datagramsIn: UInt64 = 0
    /// Their bytes.
    public var bytesIn: UInt64 = 0
    /// Datagrams of either direction that went no further; the tunnel's counters have the reasons.
    public var dropped: UInt64 = 0

    /// All zero.
    public init() {}
}

/// One flow as a status shows it.
public struct FlowSnapshot: Sendable {
    /// What state a flow is in.
    public enum State: String, Sendable {
        /// Its datagrams wait for an association.
        case waiting
        /// The peer has been asked for its service and has not answered yet; its datagrams go out all the same.
        case opening
        /// Datagrams pass.
        case open
    }

    /// Its number for life; unique within the group on its worker.
    public var serial: UInt64
    /// The number of its tunnel in the group.
    public var member: Int
    /// The association that carries it, by its serial; nil while there is none.
    public var association: UInt64?
    /// Whether that association carries other flows too.
    public var isShared: Bool
    /// Its number on the wire, in shared mode.
    public var wireID: UInt64?
    /// What state it is in.
    public var state: State
    /// The local sender, at a client's end.
    public var sender: Endpoint?
    /// The peer's address, where there is one.
    public var peer: Endpoint?
    /// What it has carried.
    public var counters: FlowCounters
    /// When it began.
    public var beganAt: Instant
    /// Since when it has been idle, to the second.
    public var touchedAt: Instant
}
