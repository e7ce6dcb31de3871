// A plain UDP program's socket, as the applications at the two ends of a tunnel have it. Unlike ``UDPEndpoint`` it can be
// connected, so that it hears only answers that come from where it asked, and it tells what the system said.

import Glibc
import TestSupport
import Wire

/// A UDP socket.
final class Peer: Sendable {
    /// A datagram that has arrived.
    struct Received {
        let bytes: [UInt8]
        let source: Endpoint
    }

    /// Where it is bound to.
    let endpoint: Endpoint
    private let descriptor: CInt
    private let family: CInt

    /// Binds to `local`, by default to an address that no other test has; port 0 lets the system choose. Connected to `remote`, it hears nobody else.
    init(_ local: Endpoint = Endpoint(address: .ownLoopback(), port: 0), connectedTo remote: Endpoint? = nil) throws {
        let family = local.address.isIPv4 ? AF_INET : AF_INET6
        let descriptor = socket(
            family, CInt(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { throw Unusable("socket: \(String(cString: strerror(errno)))") }
        var room: CInt = 8 << 20
        setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &room, socklen_t(MemoryLayout<CInt>.size))
        var failed = Self.with(local, family) { bind(descriptor, $0, $1) } != 0
        if let remote, !failed { failed = Self.with(remote, family) { connect(descriptor, $0, $1) } != 0 }
        var bound = sockaddr_in6()
        var length = socklen_t(MemoryLayout<sockaddr_in6>.size)
        withUnsafeMutablePointer(to: &bound) {
            _ = $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        guard !failed else {
            let reason = String(cString: strerror(errno))
            close(descriptor)
            throw Unusable("\(local): \(reason)")
        }
        self.family = family
        self.descriptor = descriptor
        endpoint = Self.endpoint(bound)
    }

    deinit { close(descriptor) }

    /// Sends one datagram, to `destination` or to whom the socket is connected. Answers 0 or an errno: what ICMP has
    /// left on a connected socket is told here too.
    @discardableResult
    func send(_ bytes: [UInt8], to destination: Endpoint? = nil) -> CInt {
        let sent: Int
        if let destination {
            sent = Self.with(destination, family) { sendto(descriptor, bytes, bytes.count, 0, $0, $1) }
        } else {
            sent = Glibc.send(descriptor, bytes, bytes.count, 0)
        }
        return sent == bytes.count ? 0 : errno
    }

    /// The next datagram that waits; nil when none does.
    func take() -> Received? {
        var source = sockaddr_in6()
        var length = socklen_t(MemoryLayout<sockaddr_in6>.size)
        // An ICMP error that is waiting is passed over.
        for _ in 0..<2 {
            var count = -1
            let bytes = [UInt8](unsafeUninitializedCapacity: 65_536) { buffer, initialized in
                count = withUnsafeMutablePointer(to: &source) {
                    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        recvfrom(descriptor, buffer.baseAddress, buffer.count, 0, $0, &length)
                    }
                }
                initialized = max(0, count)
            }
            if count >= 0 { return Received(bytes: bytes, source: Self.endpoint(source)) }
        }
        return nil
    }

    /// The next datagram, or nil when none comes in time.
    func receive(within time: Duration = .seconds(20)) async throws -> Received? {
        let end = ContinuousClock.now + time
        while true {
            if let received = take() { return received }
            guard ContinuousClock.now < end else { return nil }
            try await Task.sleep(for: .milliseconds(1))
        }
    }

    /// Waits until one of `peers` has a datagram, or for `milliseconds`.
    static func wait(for peers: [Peer], milliseconds: CInt) {
        var descriptors = peers.map { pollfd(fd: $0.descriptor, events: Int16(POLLIN), revents: 0) }
        poll(&descriptors, nfds_t(descriptors.count), milliseconds)
    }

    /// Forgets what has arrived.
    func drain() {
        while take() != nil {}
    }

    /// Copies an endpoint into the form of the system's calls.
    private static func with<Result>(
        _ endpoint: Endpoint, _ family: CInt, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        var storage = sockaddr_in6()
        let length: Int
        if family == AF_INET {
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = endpoint.port.bigEndian
            address.sin_addr.s_addr = endpoint.address.ipv4Bits.bigEndian
            length = MemoryLayout<sockaddr_in>.size
            withUnsafeMutableBytes(of: &storage) { $0.storeBytes(of: address, as: sockaddr_in.self) }
        } else {
            storage.sin6_family = sa_family_t(AF_INET6)
            storage.sin6_port = endpoint.port.bigEndian
            storage.sin6_scope_id = endpoint.scope
            withUnsafeMutableBytes(of: &storage.sin6_addr) {
                $0.storeBytes(of: endpoint.address.high.bigEndian, as: UInt64.self)
                $0.storeBytes(of: endpoint.address.low.bigEndian, toByteOffset: 8, as: UInt64.self)
            }
            length = MemoryLayout<sockaddr_in6>.size
        }
        return withUnsafePointer(to: storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(length)) }
        }
    }

    private static func endpoint(_ storage: sockaddr_in6) -> Endpoint {
        withUnsafeBytes(of: storage) { bytes in
            if CInt(storage.sin6_family) == AF_INET {
                let address = bytes.loadUnaligned(as: sockaddr_in.self)
                return Endpoint(
                    address: IPAddress(ipv4: UInt32(bigEndian: address.sin_addr.s_addr)),
                    port: UInt16(bigEndian: address.sin_port))
            }
            return Endpoint(
                address: IPAddress(
                    high: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)),
                    low: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self))),
                port: UInt16(bigEndian: storage.sin6_port), scope: storage.sin6_scope_id)
        }
    }
}
