// What a group keeps for one peer for as long as an association with it is wanted. A link outlives the associations
// that it has one after the other, holds their keys, and says which flows they carry.

import ContainersPreview
import DTLS
import Wire

/// What a link is for.
enum LinkUse: Equatable {
    /// For the flows of all tunnels of the group, or to find out whether the peer has shared mode.
    case common
    /// For the first flow that comes: the peer has no shared mode.
    case spare
    /// For one flow; -1 while there is none yet.
    case dedicated(flow: Int32)
}

/// One link of a group.
struct Link<Engine: HandshakeEngine>: ~Copyable, TableElement {
    // The order is the one in which the least memory is lost between them: a daemon may have very many.

    /// Its number in snapshots.
    var serial: UInt64 = 0
    var keys = KeyGenerations<Engine>()
    var use = LinkUse.dedicated(flow: -1)
    /// How often a new handshake has replaced its keys.
    var rekeys: UInt32 = 0
    /// In shared mode: the flows and their numbers.
    var channel: UniqueBox<Channel>?
    /// The peer's address; client: nil until one has been tried.
    var peer: Endpoint?
    var state = AssociationSnapshot.State.idle
    /// Whether it is on the list of those that need attention.
    var isListed = false
    /// The number of the tunnel whose counters it adds to.
    var member: Int32 = 0
    /// Server: the local address that the peer sends to.
    var localAddress = IPAddress.anyIPv6
    @CompactInstant var establishedAt: Instant? = nil
    /// The deadline that its timer is set to.
    @CompactInstant var armed: Instant? = nil
    /// Client: when the next attempt begins.
    @CompactInstant var retryAt: Instant? = nil
    /// Server: the hello that the last handshake answers, be it a first one or one beside the association: the beginning of its
    /// tag, which is enough to tell it from another. 0 for none.
    var hello: UInt64 = 0
    /// Client: failures in a row, and the number of attempts, which chooses the next address.
    var failures: Int32 = 0
    var attempts: Int32 = 0

    /// Whether it carries, or is to carry, flows of all tunnels.
    var isCommon: Bool { use == .common }

    /// The one flow that it is for, if there is one.
    var flow: Int32? {
        if case .dedicated(let flow) = use, flow >= 0 { flow } else { nil }
    }

    /// When it has something to do by itself.
    var deadline: Instant? {
        if state == .waiting { return retryAt }
        return .earlier(keys.deadline, channel.read { $0.value.deadline } ?? nil)
    }
}
