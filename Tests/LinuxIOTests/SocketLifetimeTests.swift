import Glibc
import LinuxIO
import Testing
import Wire

/// A batch keeps sockets for what waits in it, and no longer.
@Suite struct `Sockets that wait in a batch` {
    /// Whether the system holds a socket at an endpoint that no other test uses.
    private func isTaken(_ endpoint: Endpoint) throws -> Bool {
        do throws(SystemError) {
            _ = try UDPSocket.bound(to: endpoint)
            return false
        } catch {
            guard error.code == EADDRINUSE else { throw error }
            return true
        }
    }

    @Test func `one that its owner lets go still sends, and is closed by the flush`() throws {
        let server = try UDPSocket.bound(to: loopback4)
        var client: UDPSocket? = try UDPSocket.bound(to: loopbackOfItsOwn())
        let endpoint = try #require(client?.localEndpoint)
        let descriptor = client?.descriptor
        let batch = SendBatch()
        if let client { for size in [10, 10, 3] { batch.append(pattern(size), on: client, to: server.localEndpoint) } }
        weak let remembered = client
        client = nil
        #expect(remembered != nil)
        #expect(try isTaken(endpoint))

        // The number is its own as long as something waits, so nobody else's socket can be meant by it.
        let others = try (0..<16).map { _ in try UDPSocket.bound(to: loopbackOfItsOwn()) }
        #expect(others.allSatisfy { $0.descriptor != descriptor })
        for other in others { batch.append(pattern(10), on: other, to: server.localEndpoint) }

        #expect(batch.flush().isEmpty)
        #expect(remembered == nil)
        #expect(try !isTaken(endpoint))
        let arrivals = try collect(3 + others.count, from: server)
        #expect(arrivals.filter { $0.source == endpoint }.map(\.bytes.count) == [10, 10, 3])
        for other in others { #expect(arrivals.filter { $0.source == other.localEndpoint }.count == 1) }
    }

    @Test func `a new one never sends what its predecessor's number stands for`() throws {
        let server = try UDPSocket.bound(to: loopback4)
        let batch = SendBatch()
        var expected: [Endpoint: [UInt8]] = [:]
        // Each is let go at once, so that without the batch's hold the next would have its number.
        for seed in 0..<100 {
            let client = try UDPSocket.bound(to: loopbackOfItsOwn(), options: .perFlow)
            expected[client.localEndpoint] = pattern(20, seed: seed)
            batch.append(pattern(20, seed: seed), on: client, to: server.localEndpoint)
        }
        #expect(batch.flush().isEmpty)
        let arrivals = try collect(100, from: server)
        #expect(Dictionary(arrivals.map { ($0.source, $0.bytes) }) { first, _ in first } == expected)
    }

    @Test func `those of a full table are let go when it flushes by itself`() throws {
        let server = try UDPSocket.bound(to: loopback4)
        let batch = SendBatch(messageCapacity: 1)
        var client: UDPSocket? = try UDPSocket.connected(to: server.localEndpoint)
        weak let first = client
        if let client { batch.append([1], on: client) }
        client = nil
        #expect(first != nil)
        let second = try UDPSocket.connected(to: server.localEndpoint)
        batch.append([2], on: second)
        #expect(first == nil)
        #expect(batch.flush().isEmpty)
        #expect(Set(try collect(2, from: server).map(\.bytes)) == [[1], [2]])
    }

    @Test func `one that cannot send is let go like any other, and its failure is told`() throws {
        var client: UDPSocket? = try UDPSocket.bound(to: loopback4)
        weak let remembered = client
        let batch = SendBatch()
        let token = UInt64.max - 1
        if let client { batch.append([1], on: client, to: Endpoint(address: .loopbackIPv6, port: 9), token: token) }
        client = nil
        #expect(batch.flush() == [Failure(token: token, datagrams: 1, code: EAFNOSUPPORT)])
        #expect(remembered == nil)
    }

    @Test func `a batch that goes lets go of them, unsent`() throws {
        let server = try UDPSocket.bound(to: loopback4)
        var client: UDPSocket? = try UDPSocket.connected(to: server.localEndpoint)
        weak let remembered = client
        var batch: SendBatch? = SendBatch()
        if let client { batch?.append([1], on: client) }
        client = nil
        #expect(remembered != nil)
        batch = nil
        #expect(remembered == nil)
        #expect(ReceiveBatch(slots: 1).receive(from: server) == .empty)
    }
}
