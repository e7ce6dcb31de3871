// What ICMP and the interface say of datagrams, and datagrams that may be fragmented among others that may not.

import Glibc
import LinuxIO
import Testing
import Wire

/// A way to send to an address: by a connected socket or by one that sends to anybody, which may speak both families.
enum Way: CaseIterable, CustomTestStringConvertible {
    case connected4, connected6, bound4, bound6, dual4, dual6

    var testDescription: String { "\(self)" }
    var isIPv4: Bool { [.connected4, .bound4, .dual4].contains(self) }
    var isConnected: Bool { [.connected4, .connected6].contains(self) }

    /// A socket that keeps path errors.
    func socket(to target: Endpoint) throws -> UDPSocket {
        var options = UDPSocket.Options.perFlow
        options.pathErrors = true
        switch self {
        case .connected4, .connected6: return try UDPSocket.connected(to: target, options: options)
        case .bound4: return try UDPSocket.bound(to: loopback4, options: options)
        case .bound6: return try UDPSocket.bound(to: loopback6, options: options)
        case .dual4, .dual6:
            return try UDPSocket.bound(to: Endpoint(address: .anyIPv6, port: 0), options: options)
        }
    }

    /// Where a datagram to `target` has to be sent; nil on a connected socket.
    func destination(_ target: Endpoint) -> Endpoint? { isConnected ? nil : target }
}

/// Waits for a path error, for five seconds at most.
private func pathError(of socket: UDPSocket) throws -> UDPSocket.PathError {
    let poller = try Poller()
    try poller.add(socket.descriptor, token: 0)
    let deadline = MonotonicClock.now + 5_000_000_000
    while true {
        if let error = socket.nextPathError() { return error }
        guard MonotonicClock.now < deadline else { throw TimedOut(arrived: 0) }
        var hadError = false
        let ready = try poller.wait(nanoseconds: deadline - MonotonicClock.now) { _ in hadError = poller.hasError }
        #expect(ready == 0 || hadError)
    }
}

@Suite struct `Path errors` {
    @Test(.enabled(if: mayUnshare, "needs the right to make network namespaces"), arguments: Way.allCases)
    func `a port that nobody listens on is told once, with where it is`(_ way: Way) throws {
        // In a namespace nobody else can take the port.
        try inNamespace(mtu: 1500) {
            let target = try UDPSocket.bound(to: way.isIPv4 ? loopback4 : loopback6).localEndpoint
            let socket = try way.socket(to: target)
            let batch = SendBatch()
            batch.append([1], on: socket, to: way.destination(target))
            #expect(batch.flush().isEmpty)
            let error = try pathError(of: socket)
            #expect(error.code == ECONNREFUSED && error.destination == target && error.packetSize == nil)
            #expect(socket.nextPathError() == nil)
        }
    }

    @Test(.enabled(if: mayUnshare, "needs the right to make network namespaces"), arguments: Way.allCases)
    func `the interface tells the largest packet that it takes`(_ way: Way) throws {
        try inNamespace(mtu: 1400) {
            let server = try UDPSocket.bound(to: way.isIPv4 ? loopback4 : loopback6)
            let socket = try way.socket(to: server.localEndpoint)
            try socket.setFragmentation(.probe)
            let batch = SendBatch()
            let fits = 1400 - (way.isIPv4 ? 28 : 48)
            batch.append(pattern(fits), on: socket, to: way.destination(server.localEndpoint), token: 1)
            batch.append(pattern(fits + 1), on: socket, to: way.destination(server.localEndpoint), token: 2)
            #expect(batch.flush() == [Failure(token: 2, datagrams: 1, code: EMSGSIZE)])
            let error = try pathError(of: socket)
            #expect(error.code == EMSGSIZE && error.packetSize == 1400)
            #expect(error.destination.address == server.localEndpoint.address)
            // By IPv4 the kernel leaves the port out where the socket is not connected.
            let knowsPort = way.isConnected || !way.isIPv4
            #expect(error.destination.port == (knowsPort ? server.localEndpoint.port : 0))
            #expect(try collect(1, from: server)[0].bytes == pattern(fits))
        }
    }

    @Test(.enabled(if: mayUnshare, "needs the right to make network namespaces"), arguments: Way.allCases)
    func `after errors have been taken a poller sleeps`(_ way: Way) throws {
        try inNamespace(mtu: 1500) {
            let target = try UDPSocket.bound(to: way.isIPv4 ? loopback4 : loopback6).localEndpoint
            let socket = try way.socket(to: target)
            let poller = try Poller()
            try poller.add(socket.descriptor, token: 7)
            let batch = SendBatch()
            let received = ReceiveBatch(slots: 4)
            for _ in 0..<20 { batch.append([1], on: socket, to: way.destination(target)) }
            #expect(batch.flush().isEmpty)
            var wakes = 0
            var errors = 0
            var used = timespec()
            clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used)
            let begin = used
            let deadline = MonotonicClock.now + 300_000_000
            while MonotonicClock.now < deadline {
                try poller.wait(nanoseconds: deadline - MonotonicClock.now) { token in
                    #expect(token == 7)
                    wakes += 1
                    // As the daemon's worker does it.
                    if poller.hasError { while socket.nextPathError() != nil { errors += 1 } }
                    _ = received.receive(from: socket)
                }
            }
            clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used)
            let microseconds = (used.tv_sec - begin.tv_sec) * 1_000_000 + (used.tv_nsec - begin.tv_nsec) / 1000
            #expect(errors >= 1)
            #expect(wakes <= 25)
            #expect(microseconds < 100_000, "\(microseconds) µs of a processor in 300 ms")
        }
    }

    @Test func `a socket that keeps no path errors has none`() throws {
        let target = try deserted()
        let socket = try UDPSocket.bound(to: loopback4)
        let batch = SendBatch()
        batch.append([1], on: socket, to: target)
        #expect(batch.flush().isEmpty)
        #expect(socket.nextPathError() == nil)
    }
}

@Suite(.enabled(if: mayUnshare, "needs the right to make network namespaces"))
struct `Exceptions from the rule not to fragment` {
    /// A datagram that a test sends: its size, and whether it may be fragmented.
    private typealias Item = (size: Int, mayFragment: Bool)

    private static func send(_ items: [Item], _ way: Way, mtu: CInt) throws -> (
        arrived: [Int], failures: [Failure], after: [Failure]
    ) {
        try inNamespace(mtu: mtu) {
            let server = try UDPSocket.bound(to: way.isIPv4 ? loopback4 : loopback6)
            let socket = try way.socket(to: server.localEndpoint)
            try socket.setFragmentation(.probe)
            let batch = SendBatch()
            for (number, item) in items.enumerated() {
                batch.append(
                    on: socket, to: way.destination(server.localEndpoint), token: UInt64(number),
                    mayFragment: item.mayFragment, maximum: item.size
                ) { space in
                    unsafe space.withUnsafeMutableBytes { unsafe $0.copyBytes(from: pattern(item.size, seed: number)) }
                    return item.size
                }
            }
            let failures = batch.flush()
            let arrivals = try collect(items.count - failures.count, from: server)
            var arrived: [Int] = []
            for arrival in arrivals {
                let number = try #require(
                    items.indices.first { pattern(items[$0].size, seed: $0) == arrival.bytes })
                arrived.append(number)
            }
            // What is said of nothing is held to the rule as before.
            while socket.nextPathError() != nil {}
            batch.append(pattern(3000), on: socket, to: way.destination(server.localEndpoint), token: 99)
            return (arrived, failures, batch.flush())
        }
    }

    @Test(arguments: Way.allCases)
    func `they are fragmented, the others are not, and none overtakes another`(_ way: Way) throws {
        let items: [Item] = [
            (100, false), (3000, true), (2000, false), (1000, false), (2000, true), (2000, true), (500, true),
            (1800, false), (16_000, true), (1200, false), (10, true), (1300, false),
        ]
        let refused = [2, 7]
        let outcome = try Self.send(items, way, mtu: 1400)
        #expect(outcome.failures == refused.map { Failure(token: UInt64($0), datagrams: 1, code: EMSGSIZE) })
        #expect(outcome.arrived == items.indices.filter { !refused.contains($0) })
        #expect(outcome.after == [Failure(token: 99, datagrams: 1, code: EMSGSIZE)])
    }

    @Test(arguments: Way.allCases)
    func `a run of equal ones arrives whole although no segmentation is possible`(_ way: Way) throws {
        let outcome = try Self.send(Array(repeating: (2500, true), count: 30), way, mtu: 1280)
        #expect(outcome.failures.isEmpty)
        #expect(outcome.arrived == Array(0..<30))
        #expect(outcome.after == [Failure(token: 99, datagrams: 1, code: EMSGSIZE)])
    }

    @Test(arguments: Way.allCases)
    func `an error that ICMP left behind costs no datagram, whichever it may be`(_ way: Way) throws {
        try inNamespace(mtu: 1400) {
            let target = try UDPSocket.bound(to: way.isIPv4 ? loopback4 : loopback6).localEndpoint
            let socket = try way.socket(to: target)
            try socket.setFragmentation(.probe)
            let batch = SendBatch()
            batch.append([1], on: socket, to: way.destination(target))
            #expect(batch.flush().isEmpty)
            let poller = try Poller()
            try poller.add(socket.descriptor, token: 0)
            #expect(try poller.wait(nanoseconds: 5_000_000_000) { _ in } == 1)
            let server = try UDPSocket.bound(to: target)
            for (size, mayFragment) in [(2000, true), (100, false), (3000, true), (1000, false)] {
                batch.append(
                    on: socket, to: way.destination(target), token: 0, mayFragment: mayFragment, maximum: size
                ) { _ in size }
            }
            #expect(batch.flush().isEmpty)
            #expect(try collect(4, from: server).map(\.bytes.count) == [2000, 100, 3000, 1000])
        }
    }
}
