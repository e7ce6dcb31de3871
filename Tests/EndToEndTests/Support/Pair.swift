// Two daemons in a row and the application behind them: the set-up of most tests.

import Testing
import TestSupport
import Wire

/// A client daemon, a server daemon and the target that the server forwards to.
final class Pair {
    let bench: Bench
    let server: Daemon
    private(set) var client: Daemon
    /// The application at the far end.
    let target: Peer
    /// Where senders send to.
    let entrance: Endpoint
    /// Where the server listens.
    let exit: Endpoint

    /// Starts both daemons. `exit` is where the server listens and `reached` how the client names its host, with another
    /// port where something is in between; the `…Tunnel` and
    /// `…Daemon` texts go into the configs, and `environment` is both daemons'.
    init(
        entrance: IPAddress = .loopbackIPv4, exit: IPAddress = .loopbackIPv4, reached host: String? = nil,
        through port: UInt16? = nil,
        target: IPAddress = .ownLoopback(), clientTunnel: String = "", serverTunnel: String = "",
        clientDaemon: String = "", serverDaemon: String = "", sharing: String? = "never",
        environment: [String: String] = [:]
    ) async throws {
        bench = try await Bench()
        self.target = try Peer(Endpoint(address: target, port: 0))
        self.entrance = Endpoint(address: entrance, port: try FreePorts.next())
        let exit = Endpoint(address: exit, port: try FreePorts.next())
        self.exit = exit
        try bench.configure(
            "server", daemon: serverDaemon, sharing: sharing,
            tunnels: """
                [[tunnel]]
                name = "echo"
                listen = "dtls://\(exit)"
                forward = "udp://\(self.target.endpoint)"
                \(serverTunnel)
                """)
        try bench.configure(
            "client", daemon: clientDaemon, sharing: sharing,
            tunnels: """
                [[tunnel]]
                name = "echo"
                listen = "udp://\(self.entrance)"
                forward = "dtls://\(host.map { "\($0):\(port ?? exit.port)" } ?? "\(exit)")"
                \(clientTunnel)
                """)
        server = try await bench.start("server", environment: environment)
        client = try await bench.start("client", environment: environment)
    }

    /// A sender that hears only what comes from where it sends to: `entrance`, or the same port of another address.
    func sender(to address: IPAddress? = nil) throws -> Peer {
        let address = address ?? entrance.address
        return try Peer(
            Endpoint(address: address.isIPv4 ? .loopbackIPv4 : .loopbackIPv6, port: 0),
            connectedTo: Endpoint(address: address, port: entrance.port))
    }

    /// Sends `bytes` to the target and back, and checks that both arrive whole; answers who the target saw. What others send
    /// to the target beside it, `skipped`, is passed over.
    @discardableResult
    func converse(
        _ sender: Peer, _ bytes: [UInt8], answer: [UInt8]? = nil, skipping skipped: [UInt8]? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> Endpoint {
        let answer = answer ?? bytes.reversed()
        sender.send(bytes)
        var asked: Peer.Received
        repeat {
            asked = try #require(
                try await target.receive(), "nothing at the target\n\(logs)", sourceLocation: sourceLocation)
        } while asked.bytes == skipped
        #expect(asked.bytes == bytes, sourceLocation: sourceLocation)
        target.send(answer, to: asked.source)
        let answered = try #require(try await sender.receive(), "no answer\n\(logs)", sourceLocation: sourceLocation)
        #expect(answered.bytes == answer, sourceLocation: sourceLocation)
        return asked.source
    }

    /// Sends to the target and back again and again, until datagrams pass.
    func recover(
        _ sender: Peer, within time: Duration = .seconds(20), file: StaticString = #fileID, line: UInt = #line
    ) async throws {
        target.drain()
        sender.drain()
        try await eventually("datagrams pass\n\(logs)", within: time, every: .milliseconds(20), file: file, line: line)
        {
            sender.send(Array("again".utf8))
            while let asked = target.take() { target.send(asked.bytes, to: asked.source) }
            return sender.take() != nil
        }
        try await Task.sleep(for: .milliseconds(50))
        target.drain()
        sender.drain()
    }

    /// Starts the client anew from the same config.
    func restartClient() async throws { client = try await bench.start("client") }

    /// Starts another server from the same config.
    func startServerAgain() async throws -> Daemon { try await bench.start("server") }

    /// Both logs, for messages.
    var logs: String { "client:\n\(client.log)server:\n\(server.log)" }
}

/// Bytes that differ from their neighbours.
func pattern(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) } }
