// What `GET /v1/flows` says about one flow. As with `AssociationStatus`, the JSON names are an interface that scripts
// depend on: fields may be added, but none is renamed, removed or given another unit.

public import FoundationEssentials

/// One flow, as the control API shows it: the datagrams of one plaintext sender through one tunnel, and the answers to it.
public struct FlowStatus: Codable, Sendable, Equatable {
    /// What state a flow is in.
    public enum State: String, Codable, Sendable {
        /// Its association is not established; datagrams wait in a bounded queue.
        case waiting
        /// Datagrams go out, and the peer has not yet said that it knows the flow (shared mode).
        case opening
        /// Datagrams pass.
        case open
        /// The peer refuses it.
        case refused
    }

    /// Names the flow for as long as it lives; not reused while the daemon runs.
    public var id: String
    /// The name of its tunnel in the config.
    public var tunnel: String
    /// The service that it belongs to.
    public var service: String
    /// The id of the association that carries it. Absent while there is none.
    public var association: String?
    /// Which end this daemon is.
    public var role: AssociationStatus.Role
    /// At a client, the local sender; at a server, this end's address on the way to the target. Absent until known.
    public var sender: String?
    /// The peer's address and port. Absent until known.
    public var peerAddress: String?
    /// How its datagrams travel.
    public var mode: AssociationStatus.Mode
    /// What state it is in.
    public var state: State
    /// Its number on the wire, in shared mode. Absent in dedicated mode.
    public var flowID: UInt64?
    /// Application datagrams carried.
    public var datagrams = AssociationStatus.Count()
    /// Their payload in bytes, without any header.
    public var bytes = AssociationStatus.Count()
    /// Datagrams of either direction that were dropped, by reason; reasons with a count of zero are left out.
    public var dropped: [String: UInt64] = [:]
    /// How long it has carried nothing, in milliseconds; precise to about a second.
    public var idleMilliseconds: UInt64 = 0
    /// When it began.
    public var since: Date

    /// A flow that has carried nothing yet.
    public init(
        id: String, tunnel: String, service: String, role: AssociationStatus.Role, mode: AssociationStatus.Mode,
        state: State, since: Date
    ) {
        self.id = id
        self.tunnel = tunnel
        self.service = service
        self.role = role
        self.mode = mode
        self.state = state
        self.since = since
    }

    private enum CodingKeys: String, CodingKey {
        case id, tunnel, service, association, role, sender
        case peerAddress = "peer_address"
        case mode, state
        case flowID = "flow_id"
        case datagrams, bytes, dropped
        case idleMilliseconds = "idle_ms"
        case since
    }
}
