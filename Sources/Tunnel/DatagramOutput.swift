// The seam behind which the sockets stand: the worker's batches, or a simulator's queues.

public import DTLS
public import Wire

/// One flow or association of a group, for as long as it lives; the generation keeps a late answer from reaching the next
/// one in the same place.
public struct FlowID: Hashable, Sendable {
    /// The place in the group's table.
    public let index: Int32
    /// How often that place had been given away before.
    public let generation: UInt32

    /// Makes an id from its parts.
    public init(index: Int32, generation: UInt32) {
        self.index = index
        self.generation = generation
    }
}

/// Sends a group's datagrams.
///
/// A group has shared sockets, which it listens on: a client's one for each of its tunnels, a server's one for all. What goes
/// further has a socket of its own, connected to where it goes: an association at a client's end, a flow at a server's. A datagram is written
/// straight into the memory that will be sent.
public protocol DatagramOutput: AnyObject {
    /// Opens the flow's own socket, connected to `remote`; one that it had is closed. False where the system refuses,
    /// and then the flow has none.
    func open(_ flow: FlowID, to remote: Endpoint) -> Bool

    /// Closes the flow's own socket, if it has one.
    func close(_ flow: FlowID)

    /// Sends a datagram of at most `maximum` bytes through the flow's own socket: `write` puts it into the buffer and
    /// answers its length, or nil to send nothing. With `mayFragment` IP may cut it into pieces on its way.
    func send(_ flow: FlowID, maximum: Int, mayFragment: Bool, write: (inout MutableRawSpan) -> Int?)

    /// Sends a datagram through the shared socket number `listener` to `destination`, from the local address `source`. Nil for
    /// a flow where it belongs to none.
    func sendShared(
        _ flow: FlowID?, listener: Int, to destination: Endpoint, from source: IPAddress, maximum: Int,
        mayFragment: Bool,
        write: (inout MutableRawSpan) -> Int?)

    /// Has the forward name of the group's tunnel number `member` resolved off the data path; the answer comes by `handleAddresses`.
    func resolve(_ member: Int)
}

/// What is known of a tunnel's forward address.
public enum ForwardTarget: Sendable {
    /// A numeric address.
    case endpoint(Endpoint)
    /// A name, resolved through ``DatagramOutput/resolve()``.
    case name(String)
}

/// Why the system did not send a datagram.
public enum SendFailure: Sendable {
    /// No room in the kernel.
    case noRoom
    /// Larger than the path takes, and not to be fragmented.
    case tooLarge
    /// Refused by the far host, or no way to it.
    case unreachable

    /// The counter that it goes to.
    public var reason: DropReason {
        switch self {
        case .noRoom: .sendBuffer
        case .tooLarge: .messageSize
        case .unreachable: .unreachable
        }
    }
}
