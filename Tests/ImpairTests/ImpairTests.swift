// culvert-impair as a user runs it: the built program between a sender and an echo, all on loopback.

import FoundationEssentials
import LinuxIO
import Testing
import Wire

/// The program, started with its output in a file of its own.
private final class RunningProxy {
    let process: ChildProcess
    private let output: String

    init(_ arguments: [String]) throws {
        let bundle = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let program = bundle[..<(bundle.lastIndex(of: "/") ?? bundle.startIndex)] + "/culvert-impair"
        output = FileManager.default.temporaryDirectory.path + "/culvert-impair-\(UUID().uuidString)"
        process = try ChildProcess([String(program)] + arguments, output: output)
    }

    deinit {
        process.end()
        try? FileManager.default.removeItem(atPath: output)
    }

    var text: String { (try? String(contentsOfFile: output, encoding: .utf8)) ?? "" }

    /// Waits for the line that tells the address.
    func endpoint() throws -> Endpoint {
        let line = try #require(wait { self.text.split(separator: "\n").first.map(String.init) }, "no line: \(text)")
        let address = try #require(line.split(separator: " ").first { $0.contains(":") && $0.hasSuffix(",") })
        return try #require(Endpoint(address.dropLast()))
    }

    /// Asks the program to end and answers its exit status.
    func finish(_ signal: Signal = .terminate) -> Int32? {
        process.signal(signal)
        return wait { self.process.isRunning ? nil : self.process.status }
    }

    /// A counter of the lines printed last.
    func counter(_ direction: String, _ name: String) -> Int? {
        let line = text.split(separator: "\n").last { $0.hasPrefix("\(direction): ") }
        let word = line?.split(separator: " ").first { $0.hasPrefix("\(name)=") }
        return word.flatMap { Int($0.dropFirst(name.count + 1)) }
    }
}

/// A socket with what it has received.
private final class Peer {
    let socket: UDPSocket
    private(set) var received: [(datagram: [UInt8], source: Endpoint)] = []
    private let batch = ReceiveBatch(slots: 32)
    private let sender = SendBatch()

    init(connectedTo remote: Endpoint? = nil) throws {
        let any = Endpoint(address: .loopbackIPv4, port: 0)
        socket = try remote.map { try UDPSocket.connected(to: $0) } ?? UDPSocket.bound(to: any)
    }

    func send(_ datagram: [UInt8], to destination: Endpoint? = nil) {
        sender.append(datagram.bytes, on: socket, to: destination, token: 0)
        sender.flush { _, _, _ in Issue.record("a datagram was not sent") }
    }

    /// Takes what has arrived; as an echo it goes back.
    func receive(echoing: Bool = false) {
        while case .received = batch.receive(from: socket) {
            batch.forEachDatagram { datagram, source, _ in
                received.append((datagram.bytes.copied(), source))
                if echoing { sender.append(datagram.bytes, on: socket, to: source, token: 0) }
            }
            sender.flush { _, _, _ in Issue.record("a datagram was not echoed") }
        }
    }
}

/// Asks again and again, for at most ten seconds.
private func wait<Value>(_ attempt: () throws -> Value?) rethrows -> Value? {
    let end = ContinuousClock.now + .seconds(10)
    let poller = try? Poller()
    while ContinuousClock.now < end {
        if let value = try attempt() { return value }
        _ = try? poller?.wait(nanoseconds: 1_000_000) { _ in }
    }
    return nil
}

private func datagrams(_ count: Int) -> [[UInt8]] {
    (0..<count).map { [UInt8($0 >> 8), UInt8($0 & 255)] }
}

@Suite struct ImpairTests {
    @Test func `datagrams of several senders cross both ways and answers go to whom they belong`() throws {
        let echo = try Peer()
        let proxy = try RunningProxy(["--listen", "127.0.0.1:0", "--forward", "\(echo.socket.localEndpoint)"])
        let endpoint = try proxy.endpoint()
        let senders = try (0..<5).map { _ in try Peer(connectedTo: endpoint) }
        for (index, sender) in senders.enumerated() {
            sender.send([UInt8(index)])
            sender.send([])
            sender.send(Array(repeating: UInt8(index), count: 60000))
        }
        let all = wait {
            echo.receive(echoing: true)
            senders.forEach { $0.receive() }
            return senders.allSatisfy { $0.received.count == 3 } ? true : nil
        }
        #expect(all == true)
        for (index, sender) in senders.enumerated() {
            let sent = [[UInt8(index)], [], Array(repeating: UInt8(index), count: 60000)]
            #expect(sender.received.map(\.datagram) == sent)
        }
        #expect(Set(echo.received.map(\.source)).count == 5)
        #expect(proxy.finish() == 0)
        #expect(proxy.counter("up", "submitted") == 15 && proxy.counter("down", "delivered") == 15)
    }

    @Test func `a seed loses the same datagrams each time`() throws {
        func survivors(seed: Int) throws -> [[UInt8]] {
            let target = try Peer()
            let proxy = try RunningProxy([
                "--listen", "127.0.0.1:0", "--forward", "\(target.socket.localEndpoint)", "--seed", "\(seed)",
                "--drop", "50%", "--duplicate", "10%", "--corrupt", "0.1", "--stats", "20ms",
            ])
            let sender = try Peer(connectedTo: try proxy.endpoint())
            for datagram in datagrams(200) { sender.send(datagram) }
            #expect(wait { proxy.counter("up", "submitted") == 200 ? true : nil } == true)
            #expect(proxy.finish(.interrupt) == 0)
            let expected = proxy.counter("up", "delivered")
            _ = wait { () -> Bool? in
                target.receive()
                return target.received.count == expected ? true : nil
            }
            return target.received.map(\.datagram)
        }
        let first = try survivors(seed: 7)
        #expect(first == (try survivors(seed: 7)))
        #expect(first != (try survivors(seed: 8)))
    }

    @Test func `up and down are impaired each on its own and the counters say how`() throws {
        let echo = try Peer()
        let proxy = try RunningProxy([
            "--listen", "127.0.0.1:0", "--forward", "\(echo.socket.localEndpoint)", "--mtu", "600",
            "--up", "mtu=1280", "--down", "delay=100ms",
        ])
        let sender = try Peer(connectedTo: try proxy.endpoint())
        let begin = ContinuousClock.now
        for size in [1253, 1252, 573, 572] { sender.send(Array(repeating: 1, count: size)) }
        let answered = wait { () -> Bool? in
            echo.receive(echoing: true)
            sender.receive()
            return sender.received.isEmpty ? nil : true
        }
        #expect(answered == true && ContinuousClock.now - begin >= .milliseconds(100))
        #expect(sender.received.map(\.datagram.count) == [572])
        #expect(echo.received.map(\.datagram.count) == [1252, 573, 572])
        #expect(proxy.finish() == 0)
        #expect(proxy.counter("up", "dropped_over_mtu") == 1 && proxy.counter("down", "dropped_over_mtu") == 2)
    }

    @Test func `a new sender replaces the one idle for longest and an unreachable target ends nothing`() throws {
        let endpoint = try Peer().socket.localEndpoint
        let proxy = try RunningProxy(["--listen", "127.0.0.1:0", "--forward", "\(endpoint)", "--max-clients", "2"])
        let listen = try proxy.endpoint()
        let senders = try (0..<6).map { _ in try Peer(connectedTo: listen) }
        for sender in senders + senders { sender.send([1]) }
        let echo = try UDPSocket.bound(to: endpoint)
        let arrived = wait { () -> Bool? in
            senders[0].send([2])
            let batch = ReceiveBatch(slots: 1)
            if case .received = batch.receive(from: echo) { return true }
            return nil
        }
        #expect(arrived == true)
        #expect(proxy.finish() == 0)
        #expect(proxy.counter("proxy", "clients") == 2 && proxy.counter("proxy", "refused_clients") == 0)
    }

    @Test(arguments: [
        (["--drop", "120%"], "no probability"), (["--drop", "-1"], "drop"), (["--delay", "30"], "no duration"),
        (["--delay", "nans"], "no duration"), (["--delay", "99999999999999999999s"], "no duration"),
        (["--rate", "10"], "no value for rate"), (["--rate", "99999999999999999Gbit"], "no value for rate"),
        (["--mtu", "0"], "no value for mtu"), (["--burst", "1%"], "no burst"), (["--up", "drop"], "NAME=VALUE"),
        (["--up", "lisen=1"], "unknown setting"), (["--down", "drop=10%,"], "NAME=VALUE"),
        (["--idle", "0s"], "above zero"),
        (["--max-clients", "0"], "at least 1"), (["--listen", "localhost"], "no address"),
    ])
    func `a mistake in the options is named and refused`(options: [String], message: String) throws {
        let proxy = try RunningProxy(["--listen", "127.0.0.1:0", "--forward", "127.0.0.1:9"] + options)
        #expect(wait { proxy.process.isRunning ? nil : proxy.process.status } == 64)
        #expect(proxy.text.contains(message))
    }

    @Test func `a port in use is said and ends the program`() throws {
        let taken = try Peer()
        let proxy = try RunningProxy(["--listen", "\(taken.socket.localEndpoint)", "--forward", "127.0.0.1:9"])
        #expect(wait { proxy.process.isRunning ? nil : proxy.process.status } == 1)
        #expect(proxy.text.contains("Address already in use"))
    }
}
