// The control socket: an HTTP/1.1 server on a Unix socket (RFC 9112 for the messages, RFC 9110 for their meaning) that
// serves a table of routes. One event loop thread serves every connection. What a client can take up is bounded: the number
// of connections, the size of a request and each wait (ControlLimits). It must never stop the daemon and never touches the
// data path: routes answer from snapshots.

internal import FoundationEssentials
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix

/// Bounds on what clients can take up.
public struct ControlLimits: Sendable {
    /// Connections at a time; more wait in the socket's backlog.
    public var connections = 64
    /// The bytes of one request, request line, header fields and content together.
    public var requestBytes = 32 * 1024
    /// How long a request may take to arrive, from the moment of connecting.
    public var request: Duration = .seconds(5)
    /// How long a route may take to answer.
    public var response: Duration = .seconds(5)
    /// How long a client may take to read the answer.
    public var reading: Duration = .seconds(30)

    /// The defaults.
    public init() {}
}

/// A running control server. It runs until `stop`, which has to be called before the last reference goes.
public final class ControlServer: Sendable {
    /// The one thread of the control plane. It lives as long as the process, so that an answer which arrives after `stop`
    /// still finds a loop to be dropped on.
    static let loops = MultiThreadedEventLoopGroup(numberOfThreads: 1)

    private let channel: any Channel
    private let file: SocketFile
    private let identity: SocketFile.Identity?

    /// Where it listens.
    public var path: String { file.path }

    private init(channel: any Channel, file: SocketFile, identity: SocketFile.Identity?) {
        self.channel = channel
        self.file = file
        self.identity = identity
    }

    /// Binds `path`, with mode 0660, and serves `routes` from then on. Blocks until the socket is ready, which is at once.
    ///
    /// A socket file that nobody answers on is replaced.
    public static func start(
        path: String, routes: [ControlRoute], limits: ControlLimits = ControlLimits()
    ) throws(ControlServerError) -> ControlServer {
        let file = SocketFile(path: path)
        try file.prepare(attempt: tryToConnect)
        try file.draft.prepare(attempt: tryToConnect)
        let router = ControlRouter(routes)
        let bootstrap = ServerBootstrap(group: loops)
            .serverChannelOption(.backlog, value: 256)
            .serverChannelOption(.maxMessagesPerRead, value: 1)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(ConnectionGate(limit: limits.connections))
                }
            }
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.addHandler(RequestSizeLimit(limits.requestBytes))
                    try pipeline.addHandler(HTTPResponseEncoder())
                    try pipeline.addHandler(ByteToMessageHandler(HTTPRequestDecoder()))
                    try pipeline.addHandler(ControlConnection(router: router, limits: limits))
                }
            }
        let channel: any Channel
        do { channel = try bootstrap.bind(unixDomainSocketPath: file.draft.path).wait() } catch {
            throw .refused(path: path, reason: "cannot listen: \(reason(error))")
        }
        do { try file.publishDraft() } catch {
            try? channel.close().wait()
            throw error
        }
        return ControlServer(channel: channel, file: file, identity: file.identity)
    }

    /// Closes the socket and every connection and removes the socket file, unless another daemon has put its own there.
    /// Blocks until that is done; does not wait for routes that are still answering. Calling it again does nothing.
    public func stop() {
        file.remove(ifStill: identity)
        try? channel.close().wait()
    }

    private static func tryToConnect(path: String) -> SocketFile.ConnectionAttempt {
        do {
            let channel = try ClientBootstrap(group: loops).connectTimeout(.seconds(1))
                .connect(unixDomainSocketPath: path).wait()
            try? channel.close().wait()
            return .answered
        } catch let error as IOError where error.errnoCode == POSIXError.Code.ECONNREFUSED.rawValue {
            return .nobody
        } catch let error as IOError where error.errnoCode == POSIXError.Code.EAGAIN.rawValue {
            return .answered
        } catch {
            return .failed("cannot tell whether another daemon answers: \(reason(error))")
        }
    }
}

/// The part of a system error that a person can use: `No such file or directory`.
func reason(_ error: any Error) -> String {
    // NIO words it as `WHERE: WHAT) (errno: NUMBER)`.
    let text = "\(error)"
    guard error is IOError, let end = text.firstRange(of: ") (errno: ") else { return text }
    return text[..<end.lowerBound].split(separator: ": ").last.map(String.init) ?? text
}
