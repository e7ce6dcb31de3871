// An association as a status shows it: values, to be carried to another thread.

import ContainersPreview
public import DTLS
public import Wire

/// One association as a status shows it.
public struct AssociationSnapshot: Sendable {
    /// What state an association is in.
    public enum State: String, Sendable {
        /// The forward name is being resolved.
        case resolving
        /// The handshake is under way.
        case handshaking
        /// Data flows.
        case established
        /// The last attempt failed; the next one waits for its time.
        case waiting
        /// None is up; the next datagram begins one.
        case idle
    }

    /// Its number, which is its link's and lasts as long as that; unique within the group on its worker.
    public var serial: UInt64
    /// The number of the tunnel that it belongs to; nil where the tunnels of the group share it.
    public var member: Int?
    /// Whether it carries, or is to carry, flows of all tunnels of the group.
    public var isShared = false
    /// How often a new handshake has replaced its keys.
    public var rekeys: UInt32 = 0
    /// How many flows it carries.
    public var flowCount = 1
    /// What state it is in.
    public var state: State
    /// The peer's address, where one has been tried.
    public var peer: Endpoint?
    /// The local sender that it serves, at a client's end.
    public var sender: Endpoint?
    /// What is known of it once it is established.
    public var description: AssociationDescription?
    /// When it was established.
    public var establishedAt: Instant?
    /// What it has carried.
    public var counters: AssociationCounters
    /// What is known of the path's MTU once it is established.
    public var pathMTU: PathMTU?
    /// The most plaintext bytes that reach the peer in one packet.
    public var maximumDatagram: Int?
    /// What has come of heartbeats; nil where the peer takes no part.
    public var heartbeat: HeartbeatStatistics?

    /// What is known of a link.
    init<Engine>(_ link: borrowing Link<Engine>) {
        serial = link.serial
        state = link.state
        peer = link.peer
        rekeys = link.rekeys
        establishedAt = link.establishedAt
        description = link.keys.description
        counters = link.keys.current.read { $0.value.counters } ?? AssociationCounters()
        pathMTU = link.keys.current.read { $0.value.pathMTU } ?? nil
        maximumDatagram = link.keys.current.read { $0.value.maximumDatagram }
        heartbeat = link.keys.current.read { $0.value.heartbeat } ?? nil
    }
}
