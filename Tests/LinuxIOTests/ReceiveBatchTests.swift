import Glibc
import LinuxIO
import Testing
import Wire

@Suite struct `Receiving in batches` {
    @Test(arguments: [IPAddress.loopbackIPv4, .loopbackIPv6])
    func `datagrams arrive whole, in order, with their sender`(_ address: IPAddress) throws {
        let server = try UDPSocket.bound(to: Endpoint(address: address, port: 0))
        let client = try UDPSocket.bound(to: Endpoint(address: address, port: 0))
        let sent = [5, 700, 0, 1, 1400, 1400, 3, 0, 0, 9000].enumerated().map { pattern($1, seed: $0) }
        let batch = SendBatch()
        for datagram in sent { batch.append(datagram, on: client, to: server.localEndpoint) }
        #expect(batch.flush().isEmpty)
        let arrivals = try collect(sent.count, from: server)
        #expect(arrivals.map(\.bytes) == sent)
        #expect(arrivals.allSatisfy { $0.source == client.localEndpoint })
    }

    @Test func `a dual-stack socket serves both families and spells IPv4 the same`() throws {
        var options = UDPSocket.Options()
        options.packetInfo = true
        let server = try UDPSocket.bound(to: Endpoint(address: .anyIPv6, port: 0), options: options)
        let port = server.localEndpoint.port
        let clients = [try UDPSocket.bound(to: loopback4), try UDPSocket.bound(to: loopback6)]
        let targets = [IPAddress(ipv4: 0x7f00_0002), .loopbackIPv6]
        let batch = SendBatch()
        for (client, target) in zip(clients, targets) {
            batch.append([1], on: client, to: Endpoint(address: target, port: port))
        }
        #expect(batch.flush().isEmpty)
        let arrivals = try collect(2, from: server)
        #expect(Set(arrivals.map(\.source)) == Set(clients.map(\.localEndpoint)))
        #expect(Set(arrivals.map(\.destination)) == Set(targets))

        // And the answers come from where the questions went.
        for arrival in arrivals { batch.append([2], on: server, to: arrival.source, from: arrival.destination) }
        #expect(batch.flush().isEmpty)
        for (client, target) in zip(clients, targets) {
            #expect(try collect(1, from: client)[0].source == Endpoint(address: target, port: port))
        }
    }

    @Test func `an IPv4 socket answers from the address that was asked`() throws {
        var options = UDPSocket.Options()
        options.packetInfo = true
        let server = try UDPSocket.bound(to: Endpoint(address: .anyIPv4, port: 0), options: options)
        let client = try UDPSocket.bound(to: loopback4)
        let asked = Endpoint(address: IPAddress(ipv4: 0x7f00_0002), port: server.localEndpoint.port)
        let batch = SendBatch()
        for size in [100, 100, 100, 40] { batch.append(pattern(size), on: client, to: asked) }
        #expect(batch.flush().isEmpty)
        let questions = try collect(4, from: server)
        #expect(questions.allSatisfy { $0.destination == asked.address })
        for question in questions {
            batch.append(question.bytes, on: server, to: question.source, from: question.destination)
        }
        #expect(batch.flush().isEmpty)
        let answers = try collect(4, from: client)
        #expect(answers.map(\.bytes) == questions.map(\.bytes))
        #expect(answers.allSatisfy { $0.source == asked })
    }

    @Test(arguments: [IPAddress.anyIPv4, .anyIPv6])
    func `a broadcast is answered from this host's own address`(_ any: IPAddress) throws {
        var options = UDPSocket.Options()
        options.packetInfo = true
        let server = try UDPSocket.bound(to: Endpoint(address: any, port: 0), options: options)
        // The whole network of the loopback interface has a broadcast address like any other.
        let sender = socket(AF_INET, CInt(SOCK_DGRAM.rawValue), 0)
        defer { close(sender) }
        var (isAllowed, size) = (CInt(1), socklen_t(MemoryLayout<CInt>.size))
        #expect(unsafe setsockopt(sender, SOL_SOCKET, SO_BROADCAST, &isAllowed, size) == 0)
        var target = sockaddr_in()
        target.sin_family = sa_family_t(AF_INET)
        target.sin_port = server.localEndpoint.port.bigEndian
        target.sin_addr.s_addr = (0x7fff_ffff as UInt32).bigEndian
        size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let sent = unsafe withUnsafePointer(to: target) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe sendto(sender, "x", 1, 0, $0, size)
            }
        }
        try #require(sent == 1)
        #expect(try collect(1, from: server).map(\.destination) == [.loopbackIPv4])
    }

    @Test func `without packetInfo the destination is unspecified, and that is no source`() throws {
        let server = try UDPSocket.bound(to: loopback4)
        let client = try UDPSocket.connected(to: server.localEndpoint)
        let batch = SendBatch()
        batch.append([1], on: client)
        #expect(batch.flush().isEmpty)
        let arrival = try collect(1, from: server)[0]
        #expect(arrival.destination == .anyIPv6)
        batch.append([2], on: server, to: arrival.source, from: arrival.destination)
        #expect(batch.flush().isEmpty)
        #expect(
            try collect(1, from: client) == [Arrival(bytes: [2], source: server.localEndpoint, destination: .anyIPv6)])
    }

    @Test func `one batch serves connected and other sockets in turn`() throws {
        let server = try UDPSocket.bound(to: loopback4)
        let client = try UDPSocket.connected(to: server.localEndpoint)
        let receiving = ReceiveBatch(slots: 4)
        let sending = SendBatch()
        for round in 0..<3 {
            sending.append([UInt8(round)], on: client)
            #expect(sending.flush().isEmpty)
            #expect(try collect(1, from: server, by: receiving)[0].source == client.localEndpoint)
            sending.append([UInt8(round), 1], on: server, to: client.localEndpoint)
            #expect(sending.flush().isEmpty)
            #expect(try collect(1, from: client, by: receiving)[0].source == server.localEndpoint)
        }
    }

    @Test func `a full batch says that there may be more`() throws {
        let server = try UDPSocket.bound(to: loopback4)
        let client = try UDPSocket.bound(to: loopback4)
        let sending = SendBatch()
        for size in 1...5 { sending.append(pattern(size), on: client, to: server.localEndpoint) }
        #expect(sending.flush().isEmpty)
        let batch = ReceiveBatch(slots: 3)
        #expect(batch.receive(from: server) == .received(slots: 3))
        #expect(batch.wasFull)
        #expect(batch.receive(from: server) == .received(slots: 2))
        #expect(!batch.wasFull)
        #expect(batch.receive(from: server) == .empty)
        #expect(!batch.wasFull)
        batch.forEachDatagram { _, _, _ in Issue.record("an empty batch hands out nothing") }
    }

    @Test func `a datagram that does not fit its slot is dropped and counted, those around it arrive`() throws {
        let server = try UDPSocket.bound(to: loopback4)
        let client = try UDPSocket.bound(to: loopback4)
        let sending = SendBatch()
        let batch = ReceiveBatch(slots: 8, slotBytes: 1000)
        for size in [10, 1001, 1000] {
            sending.append(pattern(size), on: client, to: server.localEndpoint)
            #expect(sending.flush().isEmpty)
        }
        #expect(try collect(2, from: server, by: batch).map(\.bytes.count) == [10, 1000])
        #expect(batch.truncated == 1)

        // Of several that came together, those that fitted are kept.
        for _ in 0..<4 { sending.append(pattern(300), on: client, to: server.localEndpoint) }
        #expect(sending.flush().isEmpty)
        #expect(try collect(3, from: server, by: batch).map(\.bytes) == Array(repeating: pattern(300), count: 3))
        #expect(batch.truncated == 2)
    }

    @Test func `a datagram may be changed in place`() throws {
        let server = try UDPSocket.bound(to: loopback4)
        let client = try UDPSocket.bound(to: loopback4)
        let sending = SendBatch()
        for seed in 0..<3 { sending.append(pattern(50, seed: seed), on: client, to: server.localEndpoint) }
        #expect(sending.flush().isEmpty)
        let batch = ReceiveBatch()
        guard case .received = batch.receive(from: server) else {
            Issue.record("nothing came")
            return
        }
        batch.forEachDatagram { datagram, _, _ in
            unsafe datagram.withUnsafeMutableBytes { unsafe $0[0] ^= 0xff }
        }
        var changed: [[UInt8]] = []
        batch.forEachDatagram { datagram, _, _ in changed.append(bytes(of: datagram)) }
        #expect(changed == (0..<3).map { [pattern(50, seed: $0)[0] ^ 0xff] + pattern(50, seed: $0).dropFirst() })
    }

    @Test func `a socket that cannot be read says so each time, and others are read as before`() throws {
        let broken = try UDPSocket.bound(to: loopback4)
        // Something else takes the socket's place, in which there is always something to read.
        var ends: [CInt] = [-1, -1]
        #expect(unsafe pipe(&ends) == 0)
        defer { for end in ends { close(end) } }
        #expect(unsafe write(ends[1], "x", 1) == 1)
        #expect(dup2(ends[0], broken.descriptor) == broken.descriptor)
        let server = try UDPSocket.bound(to: loopback4)
        let poller = try Poller()
        try poller.add(broken.descriptor, token: 0)
        let client = try UDPSocket.connected(to: server.localEndpoint)
        let sending = SendBatch()
        let batch = ReceiveBatch(slots: 1)
        for _ in 0..<3 {
            #expect(try poller.wait(nanoseconds: 0) { _ in } == 1)
            // What another socket brought is not handed out again as this one's.
            sending.append([1], on: client)
            #expect(sending.flush().isEmpty)
            #expect(try collect(1, from: server, by: batch).map(\.bytes) == [[1]])
            #expect(batch.receive(from: broken) == .failed(ENOTSOCK))
            #expect(!batch.wasFull && batch.pendingErrors == 0)
            batch.forEachDatagram { _, _, _ in Issue.record("nothing has come") }
        }
        try poller.remove(broken.descriptor)
        #expect(try poller.wait(nanoseconds: 0) { _ in } == 0)
    }

    @Test func `what ICMP has left behind is cleared, counted, and hides nothing`() throws {
        let target = try deserted()
        let client = try UDPSocket.connected(to: target)
        let sending = SendBatch()
        sending.append([1], on: client)
        #expect(sending.flush().isEmpty)
        let batch = ReceiveBatch()
        #expect(batch.receive(from: client) == .empty)
        #expect(batch.pendingErrors == 1)

        sending.append([2], on: client)
        #expect(sending.flush().isEmpty)
        let server = try UDPSocket.bound(to: target)
        sending.append([3], on: server, to: client.localEndpoint)
        #expect(sending.flush().isEmpty)
        #expect(try collect(1, from: client, by: batch).map(\.bytes) == [[3]])
        #expect(batch.receive(from: client) == .empty)
        #expect(batch.pendingErrors == 0)
    }
}
