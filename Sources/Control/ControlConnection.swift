// One connection of the control socket: one request, one answer, then it closes (`Connection: close`). There is no
// pipelining and no second request, so every bound is a bound on the connection and a broken client can spoil nothing but its
// own exchange. Runs on the event loop only.
//
// receiving -> answering -> writing -> draining; one deadline is set for each.

internal import NIOCore
internal import NIOHTTP1

/// Passes bytes on up to a limit and reports `RequestTooLarge` once when there are more.
final class RequestSizeLimit: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private var remaining: Int

    init(_ bytes: Int) {
        self.remaining = bytes
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard remaining >= 0 else { return }
        remaining -= unwrapInboundIn(data).readableBytes
        guard remaining >= 0 else { return context.fireErrorCaught(RequestTooLarge()) }
        context.fireChannelRead(data)
    }
}

/// More bytes came than a request may have.
struct RequestTooLarge: Error {}

/// Reads a request, asks its route, writes the answer.
final class ControlConnection: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private enum Phase: Equatable {
        case receiving
        case answering
        case writing
        case draining
    }

    /// How long to wait for the client to close after its answer was written.
    private static let drainTime = TimeAmount.seconds(1)

    private let router: ControlRouter
    private let limits: ControlLimits
    private var phase = Phase.receiving
    private var head: HTTPRequestHead?
    private var deadline: Scheduled<Void>?

    init(router: ControlRouter, limits: ControlLimits) {
        self.router = router
        self.limits = limits
    }

    func channelActive(context: ChannelHandlerContext) {
        setDeadline(TimeAmount(limits.request), context: context) {
            self.refuse(408, "Request Timeout", "The request did not arrive in time.", context: context)
        }
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        deadline?.cancel()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard phase == .receiving else { return }
        switch unwrapInboundIn(data) {
        case .head(let head): self.head = head
        // No route takes content yet; RequestSizeLimit has counted it.
        case .body: break
        case .end: answer(context: context)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard event as? ChannelEvent == .inputClosed else { return context.fireUserInboundEventTriggered(event) }
        // A client may close its side once it has sent the request; one that does so earlier will not send any.
        if phase == .receiving || phase == .draining { context.close(promise: nil) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error {
        case is RequestTooLarge where head == nil:
            refuse(
                431, "Request Header Fields Too Large", "A request may have \(limits.requestBytes) bytes.",
                context: context)
        case is RequestTooLarge:
            refuse(413, "Content Too Large", "A request may have \(limits.requestBytes) bytes.", context: context)
        case let error as HTTPParserError:
            refuse(400, "Bad Request", "This is not an HTTP/1.1 request (\(error)).", context: context)
        default:
            context.close(promise: nil)
        }
    }

    private func answer(context: ChannelHandlerContext) {
        guard let head else { return context.close(promise: nil) }
        phase = .answering
        switch router.match(method: head.method.rawValue, target: head.uri) {
        case .refused(let response):
            write({ response }, context: context)
        case .found(let found, let request):
            setDeadline(TimeAmount(limits.response), context: context) {
                let problem = Problem(
                    status: 503, title: "Service Unavailable", detail: "The daemon did not answer in time.")
                self.write({ .problem(problem) }, context: context)
            }
            let bound = NIOLoopBound((connection: self, context: context), eventLoop: context.eventLoop)
            let reply = ControlReply { [eventLoop = context.eventLoop] response in
                eventLoop.execute { bound.value.connection.write(response, context: bound.value.context) }
            }
            found.respond(request, reply)
        }
    }

    private func refuse(_ status: Int, _ title: String, _ detail: String, context: ChannelHandlerContext) {
        guard phase == .receiving else { return }
        phase = .answering
        write({ .problem(Problem(status: status, title: title, detail: detail)) }, context: context)
    }

    /// Writes the only answer of this connection; a second one, such as a route's after its deadline, is ignored.
    private func write(_ make: () -> ControlResponse, context: ChannelHandlerContext) {
        guard phase == .answering, context.channel.isActive else { return }
        phase = .writing
        let response = make()
        setDeadline(TimeAmount(limits.reading), context: context) { context.close(promise: nil) }
        var headers = HTTPHeaders(response.headers)
        headers.add(name: "Content-Type", value: response.contentType)
        headers.add(name: "Content-Length", value: String(response.body.count))
        headers.add(name: "Cache-Control", value: "no-store")
        headers.add(name: "Connection", value: "close")
        let status = HTTPResponseStatus(statusCode: response.status)
        context.write(
            wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: status, headers: headers))), promise: nil)
        if head?.method != .HEAD {
            context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: response.body)))), promise: nil)
        }
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenSuccess { self.drain(context: context) }
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: written)
    }

    /// Closes this side only and lets the client close the other: closing with its bytes unread would look to it like a reset
    /// and could cost it the answer.
    private func drain(context: ChannelHandlerContext) {
        phase = .draining
        setDeadline(Self.drainTime, context: context) { context.close(promise: nil) }
        context.close(mode: .output, promise: nil)
    }

    private func setDeadline(_ delay: TimeAmount, context: ChannelHandlerContext, _ expired: @escaping () -> Void) {
        deadline?.cancel()
        deadline = context.eventLoop.assumeIsolated().scheduleTask(in: delay, expired)
    }
}
