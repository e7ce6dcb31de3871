// A UDP socket as tests use it, and ports that nobody has.

import Glibc
import Synchronization
import Wire

/// A system call that failed.
public struct CallFailure: Error, CustomStringConvertible {
    /// What failed and why.
    public let description: String

    init(_ call: String) { description = "\(call): \(String(cString: strerror(errno)))" }
}

/// Ports that were free a moment ago.
public enum FreePorts {
    private static let given = Mutex<Set<UInt16>>([])

    /// A UDP port that nobody has on 127.0.0.1 or ::1, and that no other test of this process is given. It is not one of those that the
    /// system gives to sockets by itself.
    public static func next() throws -> UInt16 {
        for _ in 0..<1000 {
            let port = UInt16.random(in: 10_000..<32_000)
            guard given.withLock({ $0.insert(port).inserted }) else { continue }
            let addresses = [IPAddress.anyIPv4, .anyIPv6]
            let isFree = addresses.allSatisfy { (try? UDPEndpoint(at: Endpoint(address: $0, port: port))) != nil }
            if isFree { return port }
        }
        throw CallFailure("no free port")
    }
}

extension IPAddress {
    private static let nextLoopback = Mutex(UInt32.random(in: 0..<1 << 20))

    /// A loopback address, 127.64.0.0 and up, that nobody else here is given: what the daemons of other tests still send to
    /// somebody who has gone must not reach who got the port next.
    public static func ownLoopback() -> IPAddress {
        IPAddress(
            ipv4: 0x7f40_0000
                | nextLoopback.withLock { next in
                    next = (next + 1) % (1 << 20)
                    return next
                })
    }
}

/// A UDP socket that is never blocked on.
public final class UDPEndpoint: Sendable {
    /// Its address and port.
    public let endpoint: Endpoint
    /// Its port.
    public var port: UInt16 { endpoint.port }

    private let descriptor: CInt

    /// Binds a socket, by default at an address that no other test has; port 0 lets the system choose.
    public init(at endpoint: Endpoint = Endpoint(address: .ownLoopback(), port: 0)) throws {
        let descriptor = socket(
            endpoint.address.isIPv4 ? AF_INET : AF_INET6,
            CInt(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { throw CallFailure("socket") }
        if !endpoint.address.isIPv4 {
            var one: CInt = 1
            setsockopt(descriptor, CInt(IPPROTO_IPV6), IPV6_V6ONLY, &one, socklen_t(MemoryLayout<CInt>.size))
        }
        var size: CInt = 4 << 20
        setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<CInt>.size))
        let bound = Self.withAddress(endpoint) { bind(descriptor, $0, $1) }
        var storage = sockaddr_in6()
        var length = socklen_t(MemoryLayout<sockaddr_in6>.size)
        let named = withUnsafeMutablePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        guard bound == 0, named == 0, let local = Self.endpoint(of: &storage) else {
            let failure = CallFailure("bind \(endpoint)")
            close(descriptor)
            throw failure
        }
        self.endpoint = local
        self.descriptor = descriptor
    }

    /// Binds a socket on 127.0.0.1; port 0 lets the system choose.
    public convenience init(port: UInt16) throws {
        try self.init(at: Endpoint(address: .loopbackIPv4, port: port))
    }

    deinit { close(descriptor) }

    /// Sends a datagram.
    ///
    /// - Returns: whether the system took it. ICMP errors of earlier datagrams are passed over.
    @discardableResult
    public func send(_ datagram: [UInt8], to destination: Endpoint) -> Bool {
        for _ in 0..<2 {
            let sent = Self.withAddress(destination) { sendto(descriptor, datagram, datagram.count, 0, $0, $1) }
            if sent == datagram.count { return true }
        }
        return false
    }

    /// Sends text to a port of 127.0.0.1.
    @discardableResult
    public func send(_ text: String, to port: UInt16) -> Bool {
        send(Array(text.utf8), to: Endpoint(address: .loopbackIPv4, port: port))
    }

    /// The next datagram that waits, with where it came from; nil when none does.
    public func receive() -> (datagram: [UInt8], source: Endpoint)? {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        var storage = sockaddr_in6()
        var length = socklen_t(MemoryLayout<sockaddr_in6>.size)
        for _ in 0..<2 {
            let count = withUnsafeMutablePointer(to: &storage) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    recvfrom(descriptor, &buffer, buffer.count, 0, $0, &length)
                }
            }
            if count >= 0, let source = Self.endpoint(of: &storage) { return (Array(buffer.prefix(count)), source) }
        }
        return nil
    }

    /// Waits for a datagram.
    public func next(
        within limit: Duration = .seconds(20), file: StaticString = #fileID, line: UInt = #line
    ) async throws -> (datagram: [UInt8], source: Endpoint) {
        try await eventually(
            "a datagram at \(endpoint)", within: limit, every: .milliseconds(2), file: file, line: line
        ) {
            receive()
        }
    }

    /// Waits until one of `endpoints` has a datagram, or for `milliseconds`.
    public static func wait(for endpoints: [UDPEndpoint], milliseconds: CInt) {
        var descriptors = endpoints.map { pollfd(fd: $0.descriptor, events: Int16(POLLIN), revents: 0) }
        poll(&descriptors, nfds_t(descriptors.count), milliseconds)
    }

    private static func withAddress<Result>(
        _ endpoint: Endpoint, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        func call<Address>(_ address: Address) -> Result {
            withUnsafePointer(to: address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    body($0, socklen_t(MemoryLayout<Address>.size))
                }
            }
        }
        guard endpoint.address.isIPv4 else {
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            address.sin6_port = endpoint.port.bigEndian
            address.sin6_scope_id = endpoint.scope
            withUnsafeMutableBytes(of: &address.sin6_addr) {
                $0.storeBytes(of: endpoint.address.high.bigEndian, as: UInt64.self)
                $0.storeBytes(of: endpoint.address.low.bigEndian, toByteOffset: 8, as: UInt64.self)
            }
            return call(address)
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = endpoint.port.bigEndian
        address.sin_addr.s_addr = endpoint.address.ipv4Bits.bigEndian
        return call(address)
    }

    private static func endpoint(of storage: inout sockaddr_in6) -> Endpoint? {
        switch CInt(storage.sin6_family) {
        case AF_INET:
            withUnsafePointer(to: &storage) {
                $0.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                    Endpoint(
                        address: IPAddress(ipv4: UInt32(bigEndian: $0.pointee.sin_addr.s_addr)),
                        port: UInt16(bigEndian: $0.pointee.sin_port))
                }
            }
        case AF_INET6:
            withUnsafeBytes(of: storage.sin6_addr) {
                Endpoint(
                    address: IPAddress(
                        high: UInt64(bigEndian: $0.loadUnaligned(as: UInt64.self)),
                        low: UInt64(bigEndian: $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self))),
                    port: UInt16(bigEndian: storage.sin6_port), scope: storage.sin6_scope_id)
            }
        default: nil
        }
    }
}
