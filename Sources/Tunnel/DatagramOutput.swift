// The seam that hides the sockets: the worker's batches, or a simulator's queues.

public import DTLS
public import Wire

/// Sends a group's datagrams.
///
/// A group has listeners: a client's one for each of its tunnels, a server's one for all. What leads onwards has an own
/// socket, connected to where it leads: a link at a client's end, a flow at a server's. A datagram is written straight
/// into the memory that will be sent.
public protocol DatagramOutput: ~Copyable {
    /// Opens the own socket of a link or flow, connected to `remote`, and closes the one that it had. False if the
    /// system refuses; it has none then.
    mutating func open(_ owner: PlaceID, to remote: Endpoint) -> Bool

    /// Closes the own socket of a link or flow, if it has one.
    mutating func close(_ owner: PlaceID)

    /// Sends a datagram of at most `maximum` bytes through the own socket of a link or flow: `write` puts it into the buffer and
    /// returns its length, or nil to send nothing. With `mayFragment` IP may cut it into pieces on its way.
    mutating func send(
        _ owner: PlaceID, maximum: Int, mayFragment: Bool, write: (inout MutableRawSpan) -> Int?)

    /// Sends a datagram through the listener of this number to `destination`, from the local address `source`. `origin`
    /// is the client's flow or the server's link that it belongs to; nil if it belongs to none.
    mutating func sendShared(
        _ origin: PlaceID?, listener: Int, to destination: Endpoint, from source: IPAddress, maximum: Int,
        mayFragment: Bool, write: (inout MutableRawSpan) -> Int?)

    /// Has the forward name of this member resolved off the data path; the answer comes through `handleAddresses`.
    mutating func resolve(_ member: Int)
}

/// Which kind of socket a datagram went through, and whose it was.
public enum DatagramOrigin: Hashable, Sendable {
    /// The own socket of a client's link, or of a server's flow.
    case own(PlaceID)
    /// A listener; on behalf of a client's flow or a server's link, or of none (nil).
    case shared(PlaceID?)
}

/// What is known of a tunnel's forward address.
public enum ForwardTarget: Sendable {
    /// A numeric address.
    case endpoint(Endpoint)
    /// A name, resolved through ``DatagramOutput/resolve(_:)``.
    case name(String)
}

/// Why the system did not send a datagram.
public enum SendFailure: Sendable {
    /// No room in the kernel.
    case noRoom
    /// Larger than the interface takes, and not to be fragmented.
    case tooLarge
    /// Refused by the far host, or there is no route to it.
    case unreachable
    /// The socket's own address is no longer one of this host's: nothing will ever leave through it again. No packet from
    /// outside can bring this about.
    case noAddress

    /// The counter that it goes to.
    public var reason: DropReason {
        switch self {
        case .noRoom: .sendBuffer
        case .tooLarge: .messageSize
        case .unreachable, .noAddress: .unreachable
        }
    }
}
