// The seam behind which the sockets stand: the worker's batches, or a simulator's queues.

public import DTLS
public import Wire

/// Sends a group's datagrams.
///
/// A group has shared sockets, which it listens on: a client's one for each of its tunnels, a server's one for all. What goes
/// further has a socket of its own, connected to where it goes: a link at a client's end, a flow at a server's. A datagram is
/// written straight into the memory that will be sent.
public protocol DatagramOutput: ~Copyable {
    /// Opens the own socket of a link or flow, connected to `remote`; one that it had is closed. False where the system refuses,
    /// and then it has none.
    mutating func open(_ owner: PlaceID, to remote: Endpoint) -> Bool

    /// Closes the own socket of a link or flow, if it has one.
    mutating func close(_ owner: PlaceID)

    /// Sends a datagram of at most `maximum` bytes through the own socket of a link or flow: `write` puts it into the buffer and
    /// returns its length, or nil to send nothing. With `mayFragment` IP may cut it into pieces on its way.
    mutating func send(
        _ owner: PlaceID, maximum: Int, mayFragment: Bool, write: (inout MutableRawSpan) -> Int?)

    /// Sends a datagram through the shared socket number `listener` to `destination`, from the local address `source`. It is the
    /// client's flow `origin`'s, or the server's link's; nil where it belongs to none.
    mutating func sendShared(
        _ origin: PlaceID?, listener: Int, to destination: Endpoint, from source: IPAddress, maximum: Int,
        mayFragment: Bool, write: (inout MutableRawSpan) -> Int?)

    /// Has the forward name of the group's tunnel number `member` resolved off the data path; the answer comes by
    /// `handleAddresses`.
    mutating func resolve(_ member: Int)
}

/// Which socket a datagram went through, and whose it was.
public enum DatagramOrigin: Hashable, Sendable {
    /// The own socket of a client's link, or of a server's flow.
    case own(PlaceID)
    /// A socket that the group listens on; of a client's flow or a server's link, nil where it was none's.
    case shared(PlaceID?)
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
