// One message that a SendBatch is filling: one datagram, or several of equal size that the kernel cuts from one buffer
// (UDP_SEGMENT). It keeps its socket open until it has been sent. The datagrams themselves, and the kernel's view of
// them, are the batch's.

internal import Wire

/// A message in the making.
struct OutgoingMessage {
    /// Kept so that no other socket gets the descriptor's number before the message has left.
    let socket: UDPSocket
    /// What its datagrams have in common.
    let key: Key
    /// How many datagrams it has.
    var segments = 1
    /// The bytes of each datagram but the last, which may have fewer.
    let segmentSize: Int
    /// The bytes of all datagrams.
    var bytes: Int
    /// Whether another datagram may join.
    var isOpen: Bool
    /// The bytes of ancillary data, without the segment size.
    let controlBytes: Int

    /// A message of one datagram of `length` bytes.
    init(_ socket: UDPSocket, _ key: Key, length: Int, isOpen: Bool, controlBytes: Int) {
        self.socket = socket
        self.key = key
        segmentSize = length
        bytes = length
        self.isOpen = isOpen
        self.controlBytes = controlBytes
    }

    /// What datagrams must have in common to share a message. It holds no reference, so making one for each datagram
    /// costs nothing; a waiting message makes sure that the descriptor's number stays its socket's.
    struct Key {
        let descriptor: CInt
        let isNamed: Bool
        let destination: Endpoint
        let source: IPAddress
        /// For datagrams that may be fragmented: the setting that the socket has for all others; -1 for those.
        let restored: CInt

        init(_ socket: UDPSocket, _ destination: Endpoint?, _ source: IPAddress?, mayFragment: Bool) {
            let unspecified = IPAddress(high: 0, low: 0)
            descriptor = socket.descriptor
            isNamed = destination != nil
            self.destination = destination ?? Endpoint(address: unspecified, port: 0)
            self.source = source ?? unspecified
            // Datagrams that may be fragmented go separately from others, but only if the socket would not fragment
            // them anyway.
            restored = mayFragment && socket.fragmentation != .allowed ? socket.fragmentation.value : -1
        }

        /// Eight bits.
        var hash: Int {
            let mixed =
                (destination.address.high &+ UInt64(destination.port)) &* 0x9e37_79b9_7f4a_7c15
                ^ (destination.address.low &+ UInt64(truncatingIfNeeded: descriptor) << 40) &* 0xc2b2_ae3d_27d4_eb4f
            return Int(truncatingIfNeeded: mixed >> 56)
        }

        func equals(_ other: Key) -> Bool {
            descriptor == other.descriptor && isNamed == other.isNamed && destination.port == other.destination.port
                && destination.address.low == other.destination.address.low
                && destination.address.high == other.destination.address.high
                && destination.scope == other.destination.scope
                && source.low == other.source.low && source.high == other.source.high && restored == other.restored
        }
    }
}
