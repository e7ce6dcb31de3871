import Glibc
import LinuxIO
import Testing
import Wire

@Suite struct `UDP sockets` {
    @Test func `an endpoint that is taken is refused with a message that names it`() throws {
        let first = try UDPSocket.bound(to: loopback4)
        let taken = first.localEndpoint
        #expect(taken.port != 0)
        let error = try #require(throws: SystemError.self) { try UDPSocket.bound(to: taken) }
        #expect(error.code == EADDRINUSE)
        #expect(error.description == "bind \(taken): Address already in use")
    }

    @Test func `an address of another host cannot be bound`() {
        let foreign = Endpoint(address: IPAddress(ipv4: 0xc000_0201), port: 0)
        #expect(throws: SystemError(EADDRNOTAVAIL, "bind", "192.0.2.1:0")) { try UDPSocket.bound(to: foreign) }
    }

    @Test func `sockets with reusePort share an endpoint`() throws {
        var options = UDPSocket.Options()
        options.reusePort = true
        let first = try UDPSocket.bound(to: loopback6, options: options)
        let second = try UDPSocket.bound(to: first.localEndpoint, options: options)
        #expect(first.localEndpoint == second.localEndpoint)
    }

    @Test func `an unspecified IPv6 address takes both families, another IPv6 address does not`() throws {
        let dual = try UDPSocket.bound(to: Endpoint(address: .anyIPv6, port: 0))
        #expect(throws: SystemError.self) {
            try UDPSocket.bound(to: Endpoint(address: .anyIPv4, port: dual.localEndpoint.port))
        }
        let six = try UDPSocket.bound(to: loopback6)
        #expect(six.localEndpoint.address == .loopbackIPv6)
    }

    @Test func `a connected socket knows both ends`() throws {
        let server = try UDPSocket.bound(to: loopback4)
        let client = try UDPSocket.connected(to: server.localEndpoint)
        #expect(client.remoteEndpoint == server.localEndpoint)
        #expect(client.localEndpoint.address == .loopbackIPv4)
        #expect(client.localEndpoint.port != 0)
        #expect(server.remoteEndpoint == nil)
    }

    @Test func `the receive buffer is enlarged by default and left alone per flow`() throws {
        let large = try UDPSocket.bound(to: loopback4)
        let small = try UDPSocket.bound(to: loopback4, options: .perFlow)
        for buffer in [SO_RCVBUF, SO_SNDBUF] { #expect(bytes(of: buffer, large) > bytes(of: buffer, small)) }
    }

    /// The bytes of a socket's buffer.
    private func bytes(of buffer: CInt, _ socket: UDPSocket) -> CInt {
        var value: CInt = 0
        var size = socklen_t(MemoryLayout<CInt>.size)
        return unsafe getsockopt(socket.descriptor, SOL_SOCKET, buffer, &value, &size) == 0 ? value : -1
    }

    @Test(arguments: [UDPSocket.Fragmentation.allowed, .probe])
    func `fragmentation can be set for every kind of socket`(_ fragmentation: UDPSocket.Fragmentation) throws {
        for address in [IPAddress.loopbackIPv4, .loopbackIPv6, .anyIPv6] {
            try UDPSocket.bound(to: Endpoint(address: address, port: 0)).setFragmentation(fragmentation)
        }
    }

    @Test(.enabled(if: mayUnshare, "needs the right to make network namespaces"))
    func `what is longer than the interface takes is fragmented, or fails where that is forbidden`() throws {
        struct Observed: Equatable {
            var arrived: Int
            var failures: [CInt]
        }
        func observe(_ fragmentation: UDPSocket.Fragmentation) throws -> Observed {
            try inNamespace(mtu: 1500) {
                let server = try UDPSocket.bound(to: loopback4)
                let client = try UDPSocket.bound(to: loopback4)
                try client.setFragmentation(fragmentation)
                let batch = SendBatch()
                batch.append(pattern(3000), on: client, to: server.localEndpoint)
                let failures = batch.flush().map(\.code)
                return Observed(
                    arrived: failures.isEmpty ? try collect(1, from: server)[0].bytes.count : 0, failures: failures)
            }
        }
        #expect(try observe(.allowed) == Observed(arrived: 3000, failures: []))
        #expect(try observe(.probe) == Observed(arrived: 0, failures: [EMSGSIZE]))
    }

    @Test func `a socket is closed when the last reference to it goes`() throws {
        var socket: UDPSocket? = try UDPSocket.bound(to: loopbackOfItsOwn())
        let endpoint = try #require(socket?.localEndpoint)
        var other = socket
        socket = nil
        #expect(throws: SystemError(EADDRINUSE, "bind", "\(endpoint)")) { try UDPSocket.bound(to: endpoint) }
        #expect(other?.localEndpoint == endpoint)
        other = nil
        _ = try UDPSocket.bound(to: endpoint)
    }

    @Test func `an IPv6 destination on an IPv4 socket is reported`() throws {
        let socket = try UDPSocket.bound(to: loopback4)
        let batch = SendBatch()
        batch.append([1], on: socket, to: Endpoint(address: .loopbackIPv6, port: 9), token: 5)
        #expect(batch.flush() == [Failure(token: 5, datagrams: 1, code: EAFNOSUPPORT)])
    }
}
