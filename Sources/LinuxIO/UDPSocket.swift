// A UDP socket: it owns the descriptor and the options. It moves no data; ReceiveBatch and SendBatch do, and a SendBatch keeps
// it open until what it was given for it has left. Not Sendable: a socket belongs to the worker that made it.

internal import CLinux
internal import Glibc
public import Wire

/// A nonblocking UDP socket, closed when the last reference to it goes.
///
/// An endpoint has one spelling whatever the socket's family is: IPv4 is IPv4-mapped.
public final class UDPSocket {
    /// How a socket is made.
    public struct Options: Sendable {
        /// Whether other sockets of this user may be bound to the same endpoint and share its datagrams.
        public var reusePort = false
        /// Whether received datagrams tell which local address they came to.
        public var packetInfo = false
        /// Whether the kernel may put datagrams of one sender together (UDP_GRO).
        public var coalescing = true
        /// Whether what ICMP says of sent datagrams is kept for ``UDPSocket/nextPathError()``.
        public var pathErrors = false
        /// Bytes of receive buffer to ask for; nil leaves the system's default. The system may give less.
        public var receiveBufferBytes: Int? = 7 << 20
        /// Bytes of send buffer to ask for; nil leaves the system's default. The system may give less.
        public var sendBufferBytes: Int? = 7 << 20

        /// The defaults, for a socket that carries the datagrams of many.
        public init() {}

        /// For one of thousands of sockets: buffers of the system's default size.
        public static var perFlow: Options {
            var options = Options()
            options.receiveBufferBytes = nil
            options.sendBufferBytes = nil
            return options
        }
    }

    /// What happens to a datagram that is longer than the path takes.
    public enum Fragmentation: Sendable {
        /// It is fragmented, here and in IPv4 on its way.
        case allowed
        /// It fails with EMSGSIZE when it is longer than the interface takes; what the kernel has learnt
        /// about the path is not heeded (RFC 8899 probes).
        case probe

        /// IP_PMTUDISC_* for the system.
        var value: CInt {
            switch self {
            case .allowed: IP_PMTUDISC_DONT
            case .probe: IP_PMTUDISC_PROBE
            }
        }
    }

    /// The file descriptor, for a `Poller`.
    public var descriptor: CInt { owned.rawValue }
    /// Where the socket is bound to; the port is the real one even when 0 was asked for. Asks the system.
    public var localEndpoint: Endpoint {
        var address = SocketAddress()
        guard unsafe address.fill({ unsafe getsockname(descriptor, $0, $1) }) == 0, let endpoint = address.endpoint
        else { return Endpoint(address: .anyIPv6, port: 0) }
        return endpoint
    }
    /// Where the socket is connected to, or nil.
    public let remoteEndpoint: Endpoint?
    /// AF_INET or AF_INET6.
    let family: CInt
    private let owned: OwnedDescriptor
    /// What holds for datagrams unless their sender says otherwise.
    // Not public: reading a public variable costs a dynamic exclusivity check, and this one is read for each datagram.
    private(set) var fragmentation = Fragmentation.allowed

    /// Makes a socket that receives from anyone.
    ///
    /// A socket bound to `::` takes IPv4 too; one bound to another IPv6 address does not. Port 0 lets the system choose.
    public static func bound(to local: Endpoint, options: Options = Options()) throws(SystemError) -> UDPSocket {
        let socket = try UDPSocket(family: local.family, remote: nil, options: options)
        try socket.bind(to: local)
        return socket
    }

    /// Makes a socket that sends to and receives from one peer only.
    public static func connected(to remote: Endpoint, options: Options = Options()) throws(SystemError) -> UDPSocket {
        let socket = try UDPSocket(family: remote.family, remote: remote, options: options)
        try socket.connect(to: remote)
        return socket
    }

    /// Says what happens to datagrams that are too long, for both families where the socket speaks both.
    public func setFragmentation(_ fragmentation: Fragmentation) throws(SystemError) {
        let result = culvert_set_path_mtu_discovery(descriptor, family, fragmentation.value)
        guard result == 0 else { throw SystemError(-result, "set IP_MTU_DISCOVER") }
        self.fragmentation = fragmentation
    }

    /// Whether the address that it sends from is no longer one of this host's, so that no other socket can have it.
    public var hasLostAddress: Bool {
        do {
            _ = try UDPSocket.bound(to: Endpoint(address: localEndpoint.address, port: 0, scope: localEndpoint.scope))
            return false
        } catch {
            return error.code == EADDRNOTAVAIL
        }
    }

    /// What ICMP, or the local interface, said of a datagram that was sent from here.
    public struct PathError: Equatable, Sendable {
        /// Where it was going.
        public let destination: Endpoint
        /// The errno, such as ECONNREFUSED.
        public let code: CInt
        /// The largest IP packet that would have gone on, where the datagram was too large.
        public let packetSize: Int?
    }

    /// Takes the oldest report of ICMP that has not been taken; nil where there is none, or the socket keeps none. A
    /// poller reports a socket as ready for as long as there are any.
    public func nextPathError() -> PathError? {
        var error = culvert_path_error()
        guard unsafe culvert_next_path_error(descriptor, &error) == 1 else { return nil }
        let address = IPAddress(high: error.destination.high, low: error.destination.low)
        return PathError(
            destination: Endpoint(address: address, port: error.destination.port, scope: error.destination.scope),
            code: error.error, packetSize: error.packet_size > 0 ? Int(error.packet_size) : nil)
    }

    // MARK: - Set-up

    private init(family: CInt, remote: Endpoint?, options: Options) throws(SystemError) {
        self.family = family
        remoteEndpoint = remote
        owned = try OwnedDescriptor(
            socket(family, CInt(SOCK_DGRAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0), "socket")
        if options.reusePort { try set(SOL_SOCKET, SO_REUSEPORT, 1, "set SO_REUSEPORT") }
        if options.packetInfo {
            // Of IPv4 at a dual-stack socket, too: only IP_PKTINFO tells this host's address where a broadcast came.
            try set(CInt(IPPROTO_IP), IP_PKTINFO, 1, "set IP_PKTINFO")
            if family == AF_INET6 { try set(CInt(IPPROTO_IPV6), IPV6_RECVPKTINFO, 1, "set IPV6_RECVPKTINFO") }
        }
        if let bytes = options.receiveBufferBytes { ask(bytes, forced: SO_RCVBUFFORCE, plain: SO_RCVBUF) }
        if let bytes = options.sendBufferBytes { ask(bytes, forced: SO_SNDBUFFORCE, plain: SO_SNDBUF) }
        if options.pathErrors {
            let result = culvert_queue_path_errors(descriptor, family)
            guard result == 0 else { throw SystemError(-result, "set IP_RECVERR") }
        }
        // Kernels before 5.0 do not know it, and then each datagram comes by itself.
        if options.coalescing { try? set(CInt(IPPROTO_UDP), UDP_GRO, 1, "set UDP_GRO") }
    }

    private func bind(to local: Endpoint) throws(SystemError) {
        if family == AF_INET6 {
            let dualStack = local.address == .anyIPv6
            try set(CInt(IPPROTO_IPV6), IPV6_V6ONLY, dualStack ? 0 : 1, "set IPV6_V6ONLY")
        }
        let address = SocketAddress(local, family: family)
        guard unsafe address.read({ unsafe Glibc.bind(descriptor, $0, $1) }) == 0 else {
            throw .last("bind", local.description)
        }
    }

    private func connect(to remote: Endpoint) throws(SystemError) {
        let address = SocketAddress(remote, family: family)
        guard unsafe address.read({ unsafe Glibc.connect(descriptor, $0, $1) }) == 0 else {
            throw .last("connect", remote.description)
        }
    }

    /// Only CAP_NET_ADMIN may pass the system's limit, and a smaller buffer is no reason to fail.
    private func ask(_ bytes: Int, forced: CInt, plain: CInt) {
        let value = CInt(clamping: bytes)
        guard (try? set(SOL_SOCKET, forced, value, "set buffer")) == nil else { return }
        try? set(SOL_SOCKET, plain, value, "set buffer")
    }

    private func set(_ level: CInt, _ name: CInt, _ value: CInt, _ operation: StaticString) throws(SystemError) {
        var value = value
        let result = unsafe setsockopt(descriptor, level, name, &value, socklen_t(MemoryLayout<CInt>.size))
        guard result == 0 else { throw .last(operation) }
    }
}

extension Endpoint {
    fileprivate var family: CInt { address.isIPv4 ? AF_INET : AF_INET6 }
}
