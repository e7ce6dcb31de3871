// What the tests of the control socket share: a directory of their own, a client that sends any bytes it likes, and curl.

import Foundation
import NIOCore
import NIOPosix
import Synchronization
import TestSupport
import Testing

@testable import Control

/// A fresh directory, short enough for a socket path, removed with its owner.
final class Scratch: Sendable {
    let directory: String

    init() throws {
        directory = "/tmp/culvert-control-\(UInt32.random(in: .min ... .max))"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: false)
    }

    deinit { try? FileManager.default.removeItem(atPath: directory) }

    var socket: String { directory + "/control.sock" }
}

/// A tunnel as a daemon would report it.
let sampleTunnel: TunnelStatus = {
    var tunnel = TunnelStatus(
        name: "syslog", role: .client, listen: "udp://127.0.0.1:5514", forward: "dtls://collector.example.net:6514")
    tunnel.associations = ["established": 2]
    tunnel.datagrams = .init(in: 1, out: 20)
    tunnel.dropped = ["no_association": 3]
    tunnel.evictions = 4
    return tunnel
}()

/// Two associations as a daemon would report them, one established and one not yet.
let sampleAssociations: [AssociationStatus] = {
    var up = AssociationStatus(
        id: "1-1", tunnel: "syslog", role: .client, state: .established, peerAddress: "192.0.2.7:6514")
    up.peerIdentity = "DNS:collector.example.net"
    up.cipher = "ECDHE-ECDSA-AES128-GCM-SHA256"
    up.establishedAt = Date(timeIntervalSince1970: 1_700_000_000.25)
    up.handshakeMilliseconds = 4.5
    up.datagrams = .init(in: 3, out: 100)
    up.bytes = .init(in: 120, out: 9000)
    up.dropped = ["replayed": 2]
    up.replayed = 2
    let waiting = AssociationStatus(
        id: "1-2", tunnel: "radius", role: .server, state: .handshaking, peerAddress: "[2001:db8::7]:40000")
    return [up, waiting]
}()

extension ControlLimits {
    /// For tests that are not about time: a busy machine does not hurry.
    static var patient: ControlLimits {
        var limits = ControlLimits()
        limits.request = .seconds(60)
        limits.response = .seconds(60)
        return limits
    }
}

/// A client that writes exactly what it is told to and reads until the server closes.
struct RawClient {
    private let channel: any Channel
    private let received: EventLoopFuture<String?>
    private let text = Text()

    /// Connects to a Unix socket. What comes back is nil when the server has not closed within `limit`.
    init(_ path: String, limit: TimeAmount = .seconds(60)) async throws {
        try await self.init(to: SocketAddress(unixDomainSocketPath: path), limit: limit)
    }

    /// Connects. What comes back is nil when the server has not closed within `limit`.
    init(to address: SocketAddress, limit: TimeAmount = .seconds(60)) async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let received = loop.makePromise(of: String?.self)
        let text = text
        let bootstrap = ClientBootstrap(group: loop)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Collector(received, text))
                }
            }
        var attempts = 0
        while true {
            do {
                channel = try await bootstrap.connect(to: address).get()
                break
            } catch let error as IOError where error.errnoCode == EAGAIN && attempts < 3_000 {
                // A Unix socket whose backlog is full refuses at once, where TCP would wait.
                attempts += 1
                try await Task.sleep(for: .milliseconds(10))
            }
        }
        loop.scheduleTask(in: limit) { received.succeed(nil) }
        self.received = received.futureResult
    }

    /// The server may have answered and closed already: that is no error, what it said is still to be read.
    func send(_ text: String) async { await send(Array(text.utf8)) }

    /// The same with any bytes.
    func send(_ bytes: [UInt8]) async {
        try? await channel.writeAndFlush(ByteBuffer(bytes: bytes)).get()
    }

    /// Reads nothing more; what comes fills the buffers in between.
    func stopReading() async throws { try await channel.setOption(.autoRead, value: false).get() }

    func startReading() async throws { try await channel.setOption(.autoRead, value: true).get() }

    /// Goes away without a word.
    func close() async { try? await channel.close().get() }

    func closeOutput() async {
        try? await channel.close(mode: .output).get()
    }

    /// Everything that came until the server closed.
    func answer() async throws -> String? {
        let answer = try await received.get()
        try? await channel.close().get()
        return answer
    }

    /// Connects to a port of this machine, sends and gives the answer.
    static func exchange(port: Int?, _ bytes: String) async throws -> String? {
        let client = try await RawClient(to: SocketAddress(ipAddress: "127.0.0.1", port: #require(port)))
        await client.send(bytes)
        return try await client.answer()
    }

    /// Connects, sends and gives the answer.
    static func exchange(_ path: String, _ bytes: String) async throws -> String? {
        let client = try await RawClient(path)
        await client.send(bytes)
        return try await client.answer()
    }

    /// What has come so far.
    var receivedSoFar: String { text.value }

    private final class Text: Sendable {
        private let text = Mutex("")
        var value: String { text.withLock { $0 } }
        func add(_ more: String) { text.withLock { $0 += more } }
    }

    private final class Collector: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let received: EventLoopPromise<String?>
        private let text: Text

        init(_ received: EventLoopPromise<String?>, _ text: Text) {
            self.received = received
            self.text = text
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            text.add(String(buffer: unwrapInboundIn(data)))
        }

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            if event as? ChannelEvent == .inputClosed { received.succeed(text.value) }
        }

        func channelInactive(context: ChannelHandlerContext) { received.succeed(text.value) }
    }
}

/// Runs what blocks on a thread of its own, because the threads that tests run on are few and others wait for them.
func blocking<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
    try await withCheckedThrowingContinuation { continuation in
        Thread.detachNewThread { continuation.resume(with: Swift.Result { try body() }) }
    }
}

let curlIsInstalled = FileManager.default.isExecutableFile(atPath: "/usr/bin/curl")

/// Waits until something is so, for at most thirty seconds.
func eventually(_ condition: () throws -> Bool) async throws -> Bool {
    for _ in 0..<3_000 {
        if try condition() { return true }
        try await Task.sleep(for: .milliseconds(10))
    }
    return try condition()
}

/// Runs curl against a control socket; gives its exit status and output.
func curl(_ arguments: String..., socket: String) async throws -> (status: Int32, said: String) {
    try await Program.run(["/usr/bin/curl", "-sS", "--max-time", "10", "--unix-socket", socket] + arguments)
}
