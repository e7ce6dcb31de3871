import Glibc
import Testing
import Wire

@testable import LinuxIO

@Suite struct `Sending in batches` {
    @Test(arguments: [IPAddress.loopbackIPv4, .loopbackIPv6])
    func `equal datagrams leave in one message and arrive with their boundaries`(_ address: IPAddress) throws {
        let server = try UDPSocket.bound(to: Endpoint(address: address, port: 0))
        let client = try UDPSocket.connected(to: server.localEndpoint)
        let batch = SendBatch()
        let sent = (0..<20).map { pattern(1200, seed: $0) } + [pattern(17)]
        for datagram in sent { batch.append(datagram, on: client) }
        #expect(batch.flush().isEmpty)
        #expect(batch.statistics.systemCalls == 1)
        #expect(batch.statistics.segmentedMessages == 1)
        #expect(batch.statistics.datagrams == 21)
        #expect(batch.statistics.bytes == 20 * 1200 + 17)

        let receiving = ReceiveBatch()
        #expect(receiving.receive(from: server) == .received(slots: 1))
        var arrived: [[UInt8]] = []
        receiving.forEachDatagram { datagram, source, _ in
            #expect(source == client.localEndpoint)
            arrived.append(bytes(of: datagram))
        }
        #expect(arrived == sent)
    }

    @Test func `a single datagram leaves without segmentation`() throws {
        let server = try UDPSocket.bound(to: loopback4)
        let client = try UDPSocket.connected(to: server.localEndpoint)
        let batch = SendBatch()
        batch.append([], on: client)
        batch.append([1, 2, 3], on: client)
        batch.append([], on: client)
        #expect(batch.flush().isEmpty)
        #expect(batch.statistics.segmentedMessages == 0)
        #expect(batch.statistics.systemCalls == 1)
        #expect(try collect(3, from: server).map(\.bytes) == [[], [1, 2, 3], []])
    }

    @Test func `a message takes at most 64 datagrams and 65000 bytes`() throws {
        let server = try UDPSocket.bound(to: loopback4)
        let client = try UDPSocket.connected(to: server.localEndpoint)
        let batch = SendBatch()
        for _ in 0..<65 { batch.append([7], on: client) }
        #expect(batch.flush().isEmpty)
        #expect(batch.statistics.segmentedMessages == 1)
        #expect(try collect(65, from: server).allSatisfy { $0.bytes == [7] })

        for _ in 0..<9 { batch.append(pattern(13_001), on: client) }
        #expect(batch.flush().isEmpty)
        #expect(batch.statistics.segmentedMessages == 3)
        #expect(try collect(9, from: server).allSatisfy { $0.bytes == pattern(13_001) })
    }

    @Test func `sizes of every mixture keep their order`() throws {
        let server = try UDPSocket.bound(to: loopback4)
        let client = try UDPSocket.connected(to: server.localEndpoint)
        let batch = SendBatch()
        var generator = SystemRandomNumberGenerator()
        let sent = (0..<400).map {
            pattern([0, 1, 200, 200, 200, 200, 199, 500][Int.random(in: 0..<8, using: &generator)], seed: $0)
        }
        for datagram in sent { batch.append(datagram, on: client) }
        #expect(batch.flush().isEmpty)
        #expect(try collect(sent.count, from: server).map(\.bytes) == sent)
        #expect(batch.statistics.datagrams == 400)
    }

    @Test func `interleaved flows are merged per destination, each in its order`() throws {
        let servers = try (0..<5).map { _ in try UDPSocket.bound(to: loopback4) }
        let client = try UDPSocket.bound(to: loopback4)
        let batch = SendBatch()
        var sent: [[[UInt8]]] = Array(repeating: [], count: servers.count)
        for round in 0..<30 {
            for (index, server) in servers.enumerated() {
                // Now and then a size that ends a message.
                let datagram = pattern(round % 11 == 10 ? 90 : round % 13 == 12 ? 300 : 200, seed: round * 5 + index)
                sent[index].append(datagram)
                batch.append(datagram, on: client, to: server.localEndpoint)
            }
        }
        #expect(batch.flush().isEmpty)
        #expect(batch.statistics.systemCalls == 1)
        #expect(batch.statistics.segmentedMessages >= 5)
        for (index, server) in servers.enumerated() {
            #expect(try collect(30, from: server).map(\.bytes) == sent[index])
        }
    }

    @Test func `many destinations and sockets at once lose and reorder nothing`() throws {
        let servers = try (0..<300).map { _ in try UDPSocket.bound(to: loopback4, options: .perFlow) }
        let shared = try UDPSocket.bound(to: loopback4)
        let own = try servers.map { try UDPSocket.connected(to: $0.localEndpoint, options: .perFlow) }
        let batch = SendBatch(arenaBytes: 50_000, messageCapacity: 16)
        for round in 0..<6 {
            for (index, server) in servers.enumerated() {
                let datagram = pattern(64, seed: round)
                // Odd ones have a socket of their own.
                if index % 2 == 0 {
                    batch.append(datagram, on: shared, to: server.localEndpoint)
                } else {
                    batch.append(datagram, on: own[index])
                }
            }
        }
        #expect(batch.flush().isEmpty)
        #expect(batch.statistics.datagrams == 1800)
        let receiving = ReceiveBatch()
        for (index, server) in servers.enumerated() {
            let sender = index % 2 == 0 ? shared.localEndpoint : own[index].localEndpoint
            let arrived = try collect(6, from: server, by: receiving, sentBy: sender)
            #expect(arrived.map(\.bytes) == (0..<6).map { pattern(64, seed: $0) })
        }
    }

    @Test func `the same destination from different sources is never merged`() throws {
        let server = try UDPSocket.bound(to: loopback4)
        let client = try UDPSocket.bound(to: Endpoint(address: .anyIPv4, port: 0))
        let batch = SendBatch()
        let sources = [2, 2, 3, 3, 3, 2].map { IPAddress(ipv4: 0x7f00_0000 | $0) }
        for (index, source) in sources.enumerated() {
            batch.append(pattern(10, seed: index), on: client, to: server.localEndpoint, from: source)
        }
        #expect(batch.flush().isEmpty)
        #expect(batch.statistics.segmentedMessages == 2)
        let arrivals = try collect(6, from: server)
        for arrival in arrivals {
            let index = try #require((0..<6).first { pattern(10, seed: $0) == arrival.bytes })
            #expect(arrival.source.address == sources[index])
        }
    }

    @Test(arguments: [IPAddress.loopbackIPv4, .loopbackIPv6])
    func `the longest datagram passes and one byte more is reported`(_ address: IPAddress) throws {
        let server = try UDPSocket.bound(to: Endpoint(address: address, port: 0))
        let client = try UDPSocket.bound(to: Endpoint(address: address, port: 0))
        let longest = address.isIPv4 ? 65507 : 65527
        let batch = SendBatch()
        batch.append(pattern(longest), on: client, to: server.localEndpoint, token: 1)
        batch.append(pattern(longest + 1), on: client, to: server.localEndpoint, token: 2)
        batch.append(pattern(5), on: client, to: server.localEndpoint, token: 3)
        #expect(batch.flush() == [Failure(token: 2, datagrams: 1, code: EMSGSIZE)])
        #expect(try collect(2, from: server).map(\.bytes) == [pattern(longest), pattern(5)])
        #expect(batch.statistics.failures == 1)
    }

    @Test func `the writer gets exactly its room and decides`() throws {
        let server = try UDPSocket.bound(to: loopback4)
        let client = try UDPSocket.connected(to: server.localEndpoint)
        let batch = SendBatch(arenaBytes: 1000)
        var room = -1
        let queued = batch.append(on: client, token: 0, maximum: 100) { space in
            room = space.byteCount
            unsafe space.withUnsafeMutableBytes { unsafe $0.copyBytes(from: [1, 2, 3]) }
            return 3
        }
        #expect(queued)
        #expect(room == 100)
        #expect(!batch.append(on: client, token: 0, maximum: 100) { _ in nil })
        #expect(!batch.append(on: client, token: 0, maximum: 100) { _ in 101 })
        #expect(!batch.append(on: client, token: 0, maximum: 100) { _ in -1 })
        #expect(!batch.append(on: client, token: 0, maximum: 1001) { _ in 1 })
        #expect(!batch.append(on: client, token: 0, maximum: -1) { _ in 1 })
        #expect(!batch.append(pattern(1001), on: client))
        #expect(batch.append(on: client, token: 0, maximum: 0) { _ in 0 })
        #expect(batch.flush().isEmpty)
        #expect(try collect(2, from: server).map(\.bytes) == [[1, 2, 3], []])
    }

    @Test func `a full arena or table flushes by itself, and its failures are told at the next flush`() throws {
        let server = try UDPSocket.bound(to: loopback4)
        let client = try UDPSocket.bound(to: loopback4)
        let batch = SendBatch(arenaBytes: 70_000, messageCapacity: 4)
        let nobody = Endpoint(address: .loopbackIPv6, port: 9)
        batch.append([1], on: client, to: nobody, token: 77)
        batch.append([1], on: client, to: nobody, token: 77)
        var sent: [[UInt8]] = []
        for size in 1...50 {
            sent.append(pattern(size * 300, seed: size))
            batch.append(sent[size - 1], on: client, to: server.localEndpoint)
        }
        #expect(batch.statistics.systemCalls > 3)
        #expect(batch.flush() == [Failure(token: 77, datagrams: 2, code: EAFNOSUPPORT)])
        #expect(batch.flush().isEmpty)
        #expect(try collect(50, from: server).map(\.bytes) == sent)
    }

    @Test func `an error of an earlier datagram costs no later one`() throws {
        let target = try deserted()
        let client = try UDPSocket.connected(to: target)
        let batch = SendBatch()
        batch.append([1], on: client, token: 1)
        #expect(batch.flush().isEmpty)
        // The refusal has come back by now, or comes soon: the next send finds it and goes out all the same.
        let server = try UDPSocket.bound(to: target)
        let poller = try Poller()
        try poller.add(client.descriptor, token: 0)
        #expect(try poller.wait(nanoseconds: 5_000_000_000) { _ in } == 1)
        for size in [10, 10, 5, 20] { batch.append(pattern(size), on: client, token: 2) }
        #expect(batch.flush().isEmpty)
        #expect(try collect(4, from: server).map(\.bytes.count) == [10, 10, 5, 20])
        #expect(batch.statistics.failures == 0)
    }

    @Test func `where segmentation is refused the datagrams go one by one, and nothing is lost`() throws {
        let server = try UDPSocket.bound(to: loopback4)
        let client = try UDPSocket.bound(to: Endpoint(address: .anyIPv4, port: 0))
        // The kernel refuses segmentation on a socket without checksums (EINVAL).
        var on: CInt = 1
        #expect(unsafe setsockopt(client.descriptor, SOL_SOCKET, SO_NO_CHECK, &on, 4) == 0)
        let batch = SendBatch()
        let sent = (0..<12).map { pattern($0 == 11 ? 30 : 100, seed: $0) }
        let source = IPAddress(ipv4: 0x7f00_0005)
        for round in 0..<2 {
            for datagram in sent {
                batch.append(datagram, on: client, to: server.localEndpoint, from: source)
            }
            #expect(batch.flush().isEmpty)
            let arrivals = try collect(12, from: server)
            #expect(arrivals.map(\.bytes) == sent)
            #expect(arrivals.allSatisfy { $0.source.address == source })
            // The refusal is remembered: the second round does not try again.
            #expect(batch.statistics.refusedSegmentations == 1, "round \(round)")
        }
        #expect(batch.statistics.segmentedMessages == 0)
        #expect(batch.statistics.datagrams == 24)
        // Shorter segments are another matter, and are tried.
        for seed in 0..<3 { batch.append(pattern(50, seed: seed), on: client, to: server.localEndpoint, from: source) }
        #expect(batch.flush().isEmpty)
        #expect(batch.statistics.refusedSegmentations == 2)
        #expect(try collect(3, from: server).map(\.bytes) == (0..<3).map { pattern(50, seed: $0) })
    }

    @Test func `a refusal that is not segmentation's is told and not remembered as one`() throws {
        let server = try UDPSocket.bound(to: loopback4)
        let client = try UDPSocket.bound(to: Endpoint(address: .anyIPv4, port: 0))
        let batch = SendBatch()
        let foreign = IPAddress(ipv4: 0xc000_0201)
        for token: UInt64 in [1, 1, 2] {
            batch.append([1], on: client, to: server.localEndpoint, from: foreign, token: token)
        }
        let failures = batch.flush()
        #expect(failures.map(\.token) == [1, 2])
        #expect(failures.map(\.datagrams) == [2, 1])
        #expect(batch.statistics.failures == 3)
        for _ in 0..<3 { batch.append([1], on: client, to: server.localEndpoint) }
        #expect(batch.flush().isEmpty)
        #expect(batch.statistics.segmentedMessages == 1)
        #expect(try collect(3, from: server).count == 3)
    }

    @Test(.enabled(if: mayUnshare, "needs the right to make network namespaces"), arguments: [false, true])
    func `of segments that the path does not take only the too long are lost`(_ connected: Bool) throws {
        struct Observed: Equatable {
            var failures: [Failure]
            var arrived: [Int]
        }
        let observed = try inNamespace(mtu: 1500) {
            let server = try UDPSocket.bound(to: loopback4)
            let client =
                connected ? try UDPSocket.connected(to: server.localEndpoint) : try UDPSocket.bound(to: loopback4)
            try client.setFragmentation(.probe)
            let batch = SendBatch()
            for (token, size) in [2000, 2000, 1000, 1000, 1000, 1473, 1472].enumerated() {
                batch.append(
                    pattern(size), on: client, to: connected ? nil : server.localEndpoint, token: UInt64(token))
            }
            let failures = batch.flush()
            return Observed(failures: failures, arrived: try collect(4, from: server).map(\.bytes.count))
        }
        let failures = [0, 1, 5].map { Failure(token: $0, datagrams: 1, code: EMSGSIZE) }
        #expect(observed == Observed(failures: failures, arrived: [1000, 1000, 1000, 1472]))
    }

    @Test(.enabled(if: mayUnshare, "needs the right to make network namespaces"))
    func `segments that need IP fragmentation are sent one by one and arrive`() throws {
        let (arrived, statistics) = try inNamespace(mtu: 1500) {
            let server = try UDPSocket.bound(to: loopback4)
            let client = try UDPSocket.bound(to: loopback4)
            try client.setFragmentation(.allowed)
            let batch = SendBatch()
            for size in [4000, 4000, 4000, 200] { batch.append(pattern(size), on: client, to: server.localEndpoint) }
            // A flow of short datagrams to the same destination is not made to pay.
            guard batch.flush().isEmpty else { throw SystemError(EIO, "flush") }
            for _ in 0..<4 { batch.append(pattern(200), on: client, to: server.localEndpoint) }
            guard batch.flush().isEmpty else { throw SystemError(EIO, "flush") }
            return (try collect(8, from: server).map(\.bytes.count), batch.statistics)
        }
        #expect(arrived == [4000, 4000, 4000, 200, 200, 200, 200, 200])
        #expect(statistics.refusedSegmentations == 1)
        #expect(statistics.segmentedMessages == 1)
    }

    @Test(
        .enabled(if: mayUnshare, "needs the right to make network namespaces"),
        .enabled(if: hasIproute, "needs ip of iproute2"))
    func `once the send buffer is full the rest is reported without a system call for each`() throws {
        let (failures, statistics) = try inNamespace(mtu: 65536) {
            // A neighbour that does not answer: what is sent to it waits in the kernel, at the socket's expense.
            try run("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
            try run("ip", "address", "add", "10.9.0.1/24", "dev", "v0")
            try run("ip", "link", "set", "v1", "up")
            try run("ip", "link", "set", "v0", "up")
            var options = UDPSocket.Options()
            options.sendBufferBytes = 4096
            let client = try UDPSocket.bound(to: Endpoint(address: .anyIPv4, port: 0), options: options)
            let silent = Endpoint(address: IPAddress(ipv4: 0x0a09_0002), port: 9)
            let batch = SendBatch()
            // Ever longer, so that none is merged.
            for size in 1000..<1100 { batch.append(pattern(size), on: client, to: silent, token: 3) }
            return (batch.flush(), batch.statistics)
        }
        let failed = try #require(failures.first)
        #expect(failures == [Failure(token: 3, datagrams: failed.datagrams, code: EAGAIN)])
        #expect(failed.datagrams > 50)
        #expect(statistics.datagrams + statistics.failures == 100)
        #expect(statistics.systemCalls <= 2)
    }

    @Test(.enabled(if: mayUnshare, "needs the right to make network namespaces"))
    func `full buffers are reported and what fits still leaves`() throws {
        let (failures, arrived) = try inNamespace(mtu: 1500) {
            var options = UDPSocket.Options()
            options.sendBufferBytes = 4096
            let server = try UDPSocket.bound(to: loopback4)
            let client = try UDPSocket.bound(to: loopback4, options: options)
            try client.setFragmentation(.allowed)
            let batch = SendBatch()
            // The fragments of the long one outgrow the send buffer (ENOBUFS).
            for (token, size) in [100, 60_000, 101].enumerated() {
                batch.append(pattern(size), on: client, to: server.localEndpoint, token: UInt64(token))
            }
            let failures = batch.flush()
            return (failures, try collect(2, from: server).map(\.bytes.count))
        }
        #expect(failures == [Failure(token: 1, datagrams: 1, code: ENOBUFS)])
        #expect(arrived == [100, 101])
    }
}
