// One connection of a control server: one request, one answer, then it closes (`Connection: close`). There is no
// pipelining and no second request, so every bound is a bound on the connection and a broken client can spoil nothing but its
// own exchange. Runs on the event loop only.
//
// receiving -> answering -> writing -> draining; one deadline is set for each. Or receiving -> answering -> streaming.

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

/// The server stops: what is being told ends, everything else is closed.
struct ServerStopping {}

/// Reads a request, asks for its answer, writes it.
final class ControlConnection: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private enum Phase: Equatable {
        case receiving
        case answering
        case writing
        case streaming
        case draining
    }

    /// How long to wait for the client to close after its answer was written.
    private static let drainTime = TimeAmount.seconds(1)

    private let service: ControlService
    private let limits: ControlLimits
    private var phase = Phase.receiving
    private var head: HTTPRequestHead?
    private var content: [UInt8] = []
    private var deadline: Scheduled<Void>?
    private var lease: ControlService.Lease?
    private var stream: EventStream?
    private var signOfLife: Scheduled<Void>?

    init(service: ControlService) {
        self.service = service
        limits = service.limits
    }

    func channelActive(context: ChannelHandlerContext) {
        setDeadline(TimeAmount(limits.request), context: context) {
            self.refuse(408, "Request Timeout", "The request did not arrive in time.", context: context)
        }
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        deadline?.cancel()
        signOfLife?.cancel()
        stream?.end()
        stream = nil
        lease = nil
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard phase == .receiving else { return }
        switch unwrapInboundIn(data) {
        case .head(let head): self.head = head
        // RequestSizeLimit has counted it.
        case .body(let part): content += part.readableBytesView
        case .end: answer(context: context)
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if phase == .streaming { tell(context: context) }
        context.fireChannelWritabilityChanged()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is ServerStopping:
            if phase == .streaming { context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil) }
            context.close(promise: nil)
        case ChannelEvent.inputClosed:
            // A client may close its side once it has sent the request; one that does so earlier will not send any.
            if phase == .receiving || phase == .draining { context.close(promise: nil) }
        default: context.fireUserInboundEventTriggered(event)
        }
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
        let isChange = head.method == .POST
        setDeadline(TimeAmount(isChange ? limits.change : limits.response), context: context) {
            let late = "The daemon did not answer in time." + (isChange ? " It may still do what it was told." : "")
            self.write(.problem(.unavailable(late)), context: context)
        }
        service.answer(head, content: content, from: context.channel) { answer in
            switch answer {
            case .response(let response, let lease): self.write(response, lease, context: context)
            case .events(let stream): self.begin(stream, context: context)
            }
        }
        content = []
    }

    private func refuse(_ status: Int, _ title: String, _ detail: String, context: ChannelHandlerContext) {
        guard phase == .receiving else { return }
        phase = .answering
        write(.problem(Problem(status: status, title: title, detail: detail)), context: context)
    }

    /// Writes the only answer of this connection; a second one, such as a route's after its deadline, is ignored.
    private func write(
        _ response: ControlResponse, _ lease: ControlService.Lease? = nil, context: ChannelHandlerContext
    ) {
        guard phase == .answering, context.channel.isActive else { return }
        phase = .writing
        self.lease = lease
        setDeadline(TimeAmount(limits.reading), context: context) { context.close(promise: nil) }
        var headers = headers(of: response.contentType, response.headers)
        headers.add(name: "Content-Length", value: String(response.content.readableBytes))
        let status = HTTPResponseStatus(statusCode: response.status)
        context.write(
            wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: status, headers: headers))), promise: nil)
        if head?.method != .HEAD {
            context.write(wrapOutboundOut(.body(.byteBuffer(response.content))), promise: nil)
        }
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenSuccess { self.drain(context: context) }
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: written)
    }

    private func headers(of contentType: String, _ further: [(String, String)]) -> HTTPHeaders {
        var headers: HTTPHeaders = [
            "Content-Type": contentType, "Cache-Control": "no-store", "Connection": "close",
            "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        ]
        for (name, value) in further { headers.replaceOrAdd(name: name, value: value) }
        return headers
    }

    /// Closes this side only and lets the client close the other: closing with its bytes unread would look to it like a reset
    /// and could cost it the answer.
    private func drain(context: ChannelHandlerContext) {
        phase = .draining
        lease = nil
        setDeadline(Self.drainTime, context: context) { context.close(promise: nil) }
        context.close(mode: .output, promise: nil)
    }

    private func setDeadline(_ delay: TimeAmount, context: ChannelHandlerContext, _ expired: @escaping () -> Void) {
        deadline?.cancel()
        deadline = context.eventLoop.assumeIsolated().scheduleTask(in: delay, expired)
    }

    // MARK: Events

    private func begin(_ stream: EventStream, context: ChannelHandlerContext) {
        guard phase == .answering, context.channel.isActive else { return stream.end() }
        phase = .streaming
        self.stream = stream
        deadline?.cancel()
        deadline = nil
        // In the version of the request: the encoder sends chunks only to clients that know them.
        let version = head?.version == .http1_0 ? HTTPVersion.http1_0 : .http1_1
        let headers = headers(of: EventStream.contentType, [])
        context.write(
            wrapOutboundOut(.head(HTTPResponseHead(version: version, status: .ok, headers: headers))), promise: nil)
        context.flush()
        stream.start { [weak self] in self?.tell(context: context) }
        giveSignOfLife(context: context)
    }

    /// Writes what there is, as long as the client reads.
    private func tell(context: ChannelHandlerContext) {
        guard let stream, context.channel.isActive else { return }
        guard context.channel.isWritable else {
            // It has not yet read what it was told. What happens meanwhile waits in the stream.
            guard deadline == nil else { return }
            return setDeadline(TimeAmount(limits.reading), context: context) { context.close(promise: nil) }
        }
        deadline?.cancel()
        deadline = nil
        let events = stream.take()
        guard !events.isEmpty else { return }
        var lines = context.channel.allocator.buffer(capacity: 256 * events.count)
        for event in events { lines.writeImmutableBuffer(ControlResponse.json(event).content) }
        context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(lines))), promise: nil)
        if !context.channel.isWritable { tell(context: context) }
    }

    /// An empty line now and then tells both ends that the other is still there.
    private func giveSignOfLife(context: ChannelHandlerContext) {
        signOfLife = context.eventLoop.assumeIsolated().scheduleTask(in: TimeAmount(limits.signOfLife)) {
            guard self.phase == .streaming, context.channel.isActive else { return }
            if context.channel.isWritable {
                context.writeAndFlush(self.wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: "\n")))), promise: nil)
            }
            self.giveSignOfLife(context: context)
        }
    }
}
