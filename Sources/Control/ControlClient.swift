// Asks a running daemon over its control socket, as the commands and the tests do. One request per connection; every call
// blocks until the answer is there or the time is over. Not for the daemon's own threads.

internal import FoundationEssentials
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix

/// A client for the control socket at one path.
public struct ControlClient: Sendable {
    /// The socket's path.
    public let path: String
    /// How long a call may take.
    public let timeout: Duration

    /// What a response may have in bytes; 100,000 associations fit.
    static let longestResponse = 64 * 1024 * 1024

    /// A client for the daemon whose control socket is `path`. Nothing is opened yet.
    public init(path: String, timeout: Duration = .seconds(5)) {
        self.path = path
        self.timeout = timeout
    }

    /// GET `target`, a path with an optional query. Any status is an answer, problem documents included.
    public func get(_ target: String) throws(ControlClientError) -> ControlResponse {
        let request = HTTPRequestHead(
            version: .http1_1, method: .GET, uri: target, headers: ["Host": "culvert", "Connection": "close"])
        let answer = ControlServer.loops.next().makePromise(of: ControlResponse.self)
        let overdue = answer.futureResult.eventLoop.scheduleTask(in: TimeAmount(timeout)) { [path] in
            answer.fail(ControlClientError.timedOut(path: path))
        }
        let connecting = ClientBootstrap(group: answer.futureResult.eventLoop)
            .channelInitializer { [path] channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.addHTTPClientHandlers()
                    try pipeline.addHandler(
                        NIOHTTPClientResponseAggregator(maxContentLength: Self.longestResponse))
                    try pipeline.addHandler(ControlExchange(request: request, path: path, answer: answer))
                }
            }
            .connect(unixDomainSocketPath: path)
        connecting.whenFailure { [path] error in
            answer.fail(ControlClientError.unreachable(path: path, reason: reason(error)))
        }
        defer {
            overdue.cancel()
            connecting.whenSuccess { $0.close(promise: nil) }
        }
        do { return try answer.futureResult.wait() } catch let error as ControlClientError {
            throw error
        } catch {
            throw .badResponse(path: path, reason: reason(error))
        }
    }

    /// Whether every tunnel is up: nil, or the daemon's words for what is missing.
    public func whatIsMissing() throws(ControlClientError) -> String? {
        let response = try get("/readyz")
        switch response.status {
        case 200: return nil
        case 503: return try decode(Problem.self, response).detail
        default: throw .badResponse(path: path, reason: "status \(response.status)")
        }
    }

    /// The associations that the daemon has now.
    public func associations() throws(ControlClientError) -> [AssociationStatus] {
        let response = try get("/v1/associations")
        guard response.status == 200 else { throw .badResponse(path: path, reason: "status \(response.status)") }
        return try decode([AssociationStatus].self, response)
    }

    private func decode<Value: Decodable>(
        _ type: Value.Type, _ response: ControlResponse
    ) throws(ControlClientError) -> Value {
        do { return try JSONDecoder.control.decode(type, from: Data(response.body)) } catch {
            throw .badResponse(path: path, reason: "\(error)")
        }
    }
}

/// Sends one request and keeps its promise with the response, or with the reason why there is none.
private final class ControlExchange: ChannelInboundHandler {
    typealias InboundIn = NIOHTTPClientResponseFull
    typealias OutboundOut = HTTPClientRequestPart

    private let request: HTTPRequestHead
    private let path: String
    private let answer: EventLoopPromise<ControlResponse>

    init(request: HTTPRequestHead, path: String, answer: EventLoopPromise<ControlResponse>) {
        self.request = request
        self.path = path
        self.answer = answer
    }

    func channelActive(context: ChannelHandlerContext) {
        context.write(wrapOutboundOut(.head(request)), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let response = unwrapInboundIn(data)
        answer.succeed(
            ControlResponse(
                status: Int(response.head.status.code),
                contentType: response.head.headers.first(name: "Content-Type") ?? "",
                body: response.body.map { Array($0.readableBytesView) } ?? []))
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        answer.fail(ControlClientError.badResponse(path: path, reason: reason(error)))
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        answer.fail(ControlClientError.badResponse(path: path, reason: "the connection was closed"))
    }
}
