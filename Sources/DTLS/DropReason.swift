// Every datagram or record that goes no further has one of these reasons, and a counter that a user can see.

/// Why a datagram or a record was dropped.
public enum DropReason: UInt8, CaseIterable, Sendable {
    /// Not a record, or lengths that contradict each other.
    case malformed
    /// A record of another protocol version.
    case version
    /// A record of an epoch that is not in use.
    case epoch
    /// A content type that has no place here, a handshake message of the wrong end, or an alert in the clear.
    case contentType
    /// A record that has been seen, or is too old to tell.
    case replayed
    /// A record that does not authenticate: damaged, forged, or of another association.
    case notAuthentic
    /// A repeated flight of a handshake that is over.
    case handshakeOver
    /// A request to renegotiate, which is never granted.
    case renegotiation
    /// Data that came before the end of the handshake, beyond what the queue for it holds.
    case early
    /// A datagram from an address without an association.
    case noAssociation
    /// A ClientHello whose cookie is not, or no longer, valid.
    case cookie
    /// A ClientHello from an address that `allow_from` does not name.
    case sourceNotAllowed
    /// A datagram that waited for an association for too long or with too many others.
    case queueFull
    /// A datagram larger than a record can carry, or, where `oversize` is `drop`, than the path.
    case oversize
    /// A limit on flows, associations or handshakes has been reached, and none of them can give way.
    case limit
    /// The association ended while the datagram was waiting, or it cannot carry any more.
    case closed
    /// The kernel had no room for it.
    case sendBuffer
    /// The kernel or the network would not take it to where it goes.
    case unreachable
    /// The kernel found it larger than the path takes.
    case messageSize
    /// A heartbeat that is malformed, was not asked for, or comes too often.
    case heartbeat
    /// The kernel cut it short, because it came with more than the receive buffer holds.
    case truncated
    /// A frame of shared mode that is malformed or of an unknown type.
    case frame
    /// A datagram of a flow that this end does not know.
    case unknownFlow
    /// A datagram for a service that the peer, or this end, refuses.
    case service
    /// A datagram that came in fragments and did not become whole.
    case reassembly

    /// Whether the system refused the datagram, at the very end: by then it has been counted as carried, or it is one
    /// that culvert made itself, such as a flight of a handshake. A datagram dropped for any other reason is not
    /// counted as carried.
    public var isRefusal: Bool {
        switch self {
        case .sendBuffer, .unreachable, .messageSize: true
        default: false
        }
    }

    /// The reason's name in logs, the API and metrics.
    public var name: String {
        switch self {
        case .malformed: "malformed"
        case .version: "version"
        case .epoch: "epoch"
        case .contentType: "content_type"
        case .replayed: "replayed"
        case .notAuthentic: "not_authentic"
        case .handshakeOver: "handshake_over"
        case .renegotiation: "renegotiation"
        case .early: "early"
        case .noAssociation: "no_association"
        case .cookie: "cookie"
        case .sourceNotAllowed: "source_not_allowed"
        case .queueFull: "queue_full"
        case .oversize: "oversize"
        case .limit: "limit"
        case .closed: "closed"
        case .sendBuffer: "send_buffer"
        case .unreachable: "unreachable"
        case .messageSize: "message_size"
        case .heartbeat: "heartbeat"
        case .truncated: "truncated"
        case .frame: "frame"
        case .unknownFlow: "unknown_flow"
        case .service: "service"
        case .reassembly: "reassembly"
        }
    }
}

/// Counters of drops by reason. Nearly all associations drop nothing, so the first drop allocates.
public struct DropCounters: Sendable {
    /// By raw value; empty until something is dropped.
    private var counts: [UInt64] = []
    private static let reasons = DropReason.allCases.count

    /// All zero.
    public init() {}

    /// Adds `count` drops.
    public mutating func add(_ reason: DropReason, _ count: Int = 1) {
        guard count != 0 else { return }
        if counts.isEmpty { counts = [UInt64](repeating: 0, count: Self.reasons) }
        counts[Int(reason.rawValue)] &+= UInt64(truncatingIfNeeded: count)
    }

    /// Adds another set of counters to this one.
    public mutating func add(_ other: DropCounters) {
        guard !counts.isEmpty else { return counts = other.counts }
        for (index, count) in other.counts.enumerated() { counts[index] &+= count }
    }

    /// How many were dropped for `reason`.
    public subscript(reason: DropReason) -> UInt64 { counts.isEmpty ? 0 : counts[Int(reason.rawValue)] }

    /// How many were dropped in all.
    public var total: UInt64 {
        counts.reduce(0, &+)
    }

    /// How many were dropped before they were counted as carried: all but what the system refused.
    public var beforeCarried: UInt64 {
        DropReason.allCases.reduce(0) { $0 &+ ($1.isRefusal ? 0 : self[$1]) }
    }
}
