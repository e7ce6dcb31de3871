// The control plane's HTTP/1.1 server (RFC 9112 for the messages, RFC 9110 for their meaning): on a Unix socket for the whole
// control API, and over TCP for what may be read by anybody. One event loop thread serves every connection. What clients
// can take up is bounded: the number of connections, the size of a request and of all answers, and each wait
// (ControlLimits). It must never stop the daemon and never touches the data path: routes answer from snapshots.

internal import FoundationEssentials
internal import Glibc
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix

/// Bounds on what clients can take up.
public struct ControlLimits: Sendable {
    /// Connections at a time; more wait in the socket's backlog.
    public var connections = 1024
    /// The bytes of one request, request line, header fields and content together.
    public var requestBytes = 32 * 1024
    /// How long a request may take to arrive, from the moment of connecting.
    public var request: Duration = .seconds(5)
    /// How long a route that only reads may take to answer.
    public var response: Duration = .seconds(5)
    /// How long a route that changes something may take to answer. A reload of thousands of tunnels takes its time, and
    /// whoever is told too early that it has failed does it again.
    public var change: Duration = .seconds(60)
    /// How long a client may take to read the answer.
    public var reading: Duration = .seconds(30)
    /// The bytes of all answers together that clients have not read yet; beyond it, newcomers are asked to come again.
    public var unsentBytes = 64 * 1024 * 1024
    /// Readers of events at a time.
    public var streams = 64
    /// Events that wait for one slow reader.
    public var streamEvents = 1024
    /// How often readers of events are told that the daemon is still there.
    public var signOfLife: Duration = .seconds(15)

    /// The defaults.
    public init() {}

    /// The defaults over TCP, where strangers may be.
    public static var overTCP: ControlLimits {
        var limits = ControlLimits()
        limits.connections = 128
        limits.unsentBytes = 16 * 1024 * 1024
        return limits
    }
}

/// A running control server. It runs until `stop`, which has to be called before the last reference goes.
public final class ControlServer: Sendable {
    /// The one thread of the control plane. It lives as long as the process, so that an answer which arrives after `stop`
    /// still finds a loop to be dropped on.
    private static let loops: MultiThreadedEventLoopGroup = {
        let loops = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        // For priorities, Linux takes a thread for a process. When the machine is busy, datagrams go first.
        loops.next().execute { setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 5) }
        return loops
    }()

    /// Does `work` on the control plane's thread, soon: putting an answer together is no work for a thread that carries
    /// datagrams.
    public static func perform(_ work: @escaping @Sendable () -> Void) { loops.next().execute(work) }

    private let channel: any Channel
    private let file: (file: SocketFile, identity: SocketFile.Identity?)?

    /// Where it listens: a path, or an address and a port.
    public let address: String

    /// The port, over TCP.
    public var port: Int? { channel.localAddress?.port }

    private init(channel: any Channel, address: String, file: (SocketFile, SocketFile.Identity?)? = nil) {
        self.channel = channel
        self.address = address
        self.file = file
    }

    /// Binds `path`, with mode 0660, and serves the whole control API from then on. Blocks until the socket is ready, which is
    /// at once.
    ///
    /// A socket file that nobody answers on is replaced.
    public static func start(
        path: String, source: some ControlSource, limits: ControlLimits = ControlLimits()
    ) throws(ControlServerError) -> ControlServer {
        try start(path: path, routes: ControlAPI(source).routes, limits: limits)
    }

    /// Listens on a TCP port of this machine's address `host` (port 0 is any) and serves from then on what may be read by
    /// anybody: the status page, health and metrics. Blocks until that is ready, which is at once.
    public static func start(
        tcp host: String, port: Int, source: some ControlSource, limits: ControlLimits = .overTCP
    ) throws(ControlServerError) -> ControlServer {
        let bootstrap = bootstrap(ControlAPI(source).readOnlyRoutes, .readers(host: host), limits)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
        do {
            let channel = try bootstrap.bind(host: host, port: port).wait()
            return ControlServer(
                channel: channel, address: channel.localAddress?.hostAndPort ?? "\(host):\(port)")
        } catch {
            throw .cannotListen(host: host, port: port, reason: reason(error))
        }
    }

    static func start(
        path: String, routes: [ControlRoute], limits: ControlLimits = ControlLimits(),
        rule: PeerRule = .ownProcess
    ) throws(ControlServerError) -> ControlServer {
        let file = SocketFile(path: path)
        try file.prepare(attempt: tryToConnect)
        try file.draft.prepare(attempt: tryToConnect)
        let bootstrap = bootstrap(routes, .localPeers(rule), limits)
        let channel: any Channel
        do { channel = try bootstrap.bind(unixDomainSocketPath: file.draft.path).wait() } catch {
            throw .refused(path: path, reason: "cannot listen: \(reason(error))")
        }
        do { try file.publishDraft() } catch {
            try? channel.close().wait()
            throw error
        }
        return ControlServer(channel: channel, address: path, file: (file, file.identity))
    }

    private static func bootstrap(
        _ routes: [ControlRoute], _ admission: Admission, _ limits: ControlLimits
    ) -> ServerBootstrap {
        let eventLoop = loops.next()
        let service = NIOLoopBoundBox<ControlService?>.makeEmptyBox(eventLoop: eventLoop)
        return ServerBootstrap(group: eventLoop)
            .serverChannelOption(.backlog, value: 1024)
            .serverChannelOption(.maxMessagesPerRead, value: 1)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    service.value = ControlService(
                        routes: routes, admission: admission, limits: limits, eventLoop: channel.eventLoop)
                    try channel.pipeline.syncOperations.addHandler(ConnectionGate(limit: limits.connections))
                }
            }
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    guard let service = service.value else { throw ChannelError.ioOnClosedChannel }
                    try serve(channel, by: service)
                }
            }
    }

    /// Makes a channel a connection of the service. On its event loop only.
    static func serve(_ channel: any Channel, by service: ControlService) throws {
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandler(RequestSizeLimit(service.limits.requestBytes))
        try pipeline.addHandler(HTTPResponseEncoder())
        try pipeline.addHandler(ByteToMessageHandler(HTTPRequestDecoder()))
        try pipeline.addHandler(ControlConnection(service: service))
    }

    /// Closes the socket and every connection and removes the socket file, unless another daemon has put its own there.
    /// Blocks until that is done; does not wait for routes that are still answering. Calling it again does nothing.
    public func stop() {
        if let (file, identity) = file { file.remove(ifStill: identity) }
        try? channel.close().wait()
    }

    private static func tryToConnect(path: String) -> SocketFile.ConnectionAttempt {
        do {
            let channel = try ClientBootstrap(group: loops).connectTimeout(.seconds(1))
                .connect(unixDomainSocketPath: path).wait()
            try? channel.close().wait()
            return .answered
        } catch let error as IOError where error.errnoCode == ECONNREFUSED {
            return .nobody
        } catch let error as IOError where error.errnoCode == EAGAIN {
            return .answered
        } catch {
            return .failed("cannot tell whether another daemon answers: \(reason(error))")
        }
    }
}

extension SocketAddress {
    /// `127.0.0.1:9464`, `[::1]:9464`.
    fileprivate var hostAndPort: String? {
        guard let ipAddress, let port else { return nil }
        return ipAddress.contains(":") ? "[\(ipAddress)]:\(port)" : "\(ipAddress):\(port)"
    }
}

/// The part of a system error that a person can use: `No such file or directory`.
func reason(_ error: any Error) -> String {
    // NIO words it as `WHERE: WHAT) (errno: NUMBER)`.
    let text = "\(error)"
    guard error is IOError, let end = text.firstRange(of: ") (errno: ") else { return text }
    return text[..<end.lowerBound].split(separator: ": ").last.map(String.init) ?? text
}
