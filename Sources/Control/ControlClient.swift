// Asks a running daemon over its control socket, as the commands and the tests do. One request per connection; every call
// blocks until the answer is there or the time is over. Not for the daemon's own threads.

internal import FoundationEssentials
internal import Glibc
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix

/// A client for the control socket at one path.
public struct ControlClient: Sendable {
    /// The socket's path.
    public let path: String
    /// How long a call that only asks may take; longer than the daemon takes to give up.
    public let timeout: Duration
    /// How long a call that changes something may take; longer than the daemon takes to give up.
    public let changeTimeout: Duration

    /// The most bytes of a response.
    static let longestResponse = 64 * 1024 * 1024
    /// Separate from the server's, so that reading events slowly slows down nobody else.
    private static let loops = MultiThreadedEventLoopGroup(numberOfThreads: 1)

    /// A client for the daemon whose control socket is `path`. Nothing is opened yet.
    public init(path: String, timeout: Duration = .seconds(10), changeTimeout: Duration = .seconds(65)) {
        self.path = path
        self.timeout = timeout
        self.changeTimeout = changeTimeout
    }

    // MARK: Requests as they are

    /// GET `target`, a path with an optional query. Any status is an answer, problem documents included.
    public func get(_ target: String) throws(ControlClientError) -> ControlResponse {
        try exchange(.GET, target, content: nil)
    }

    /// POST `json`, or nothing, to `target`. Any status is an answer, problem documents included.
    public func post(_ target: String, json: [UInt8]? = nil) throws(ControlClientError) -> ControlResponse {
        try exchange(.POST, target, content: json)
    }

    /// GET `target` and give its content line by line, without empty lines, until `each` says false or the daemon ends. `each` is
    /// called on a thread of the client's; while it blocks, nothing is read. After `silence` without a byte the daemon is
    /// taken for dead.
    public func lines(
        of target: String, silence: Duration = .seconds(45), each: @escaping @Sendable (String) -> Bool
    ) throws(ControlClientError) {
        let head = HTTPRequestHead(version: .http1_1, method: .GET, uri: target, headers: ["Host": "culvert"])
        let patience = TimeAmount(silence)
        try converse(head, content: nil, as: Void.self) { [path] channel, done in
            let pipeline = channel.pipeline.syncOperations
            try pipeline.addHandler(LineReader(path: path, patience: patience, done: done, each: each))
        }
    }

    /// The JSON that GET `target` gives, as the daemon has written it.
    public func json(_ target: String) throws(ControlClientError) -> [UInt8] { try success(get(target)).body }

    /// The JSON of a list, all pages together, each element as the daemon has written it; of one tunnel or of all.
    public func json(list path: String, of tunnel: String? = nil) throws(ControlClientError) -> [UInt8] {
        struct End: Decodable {
            var next: String?
            var total: Int
        }
        var joined: [UInt8] = []
        var after: String?
        while true {
            let parameters = ["tunnel": tunnel, "after": after, "limit": "\(PageQuery.highestLimit)"]
            let response = try success(get(target(path, parameters)))
            let end = try value(End.self, response)
            if joined.isEmpty, end.next == nil { return response.body }
            guard let items = jsonItems(of: response.body) else {
                throw .badResponse(path: self.path, reason: "a list without items")
            }
            joined += (joined.isEmpty ? Array("{\"items\":[".utf8) : items.isEmpty ? [] : [UInt8(ascii: ",")]) + items
            guard let next = end.next else { return joined + "],\"total\":\(end.total)}\n".utf8 }
            after = next
        }
    }

    // MARK: What the daemon knows

    /// The daemon as a whole.
    public func status() throws(ControlClientError) -> DaemonStatus { try value(of: get("/v1/status")) }

    /// All tunnels in the config's order, or the one named.
    public func tunnels(named tunnel: String? = nil) throws(ControlClientError) -> [TunnelStatus] {
        try all("/v1/tunnels", of: tunnel)
    }

    /// The associations that the daemon has now, or those of one tunnel.
    public func associations(of tunnel: String? = nil) throws(ControlClientError) -> [AssociationStatus] {
        try all("/v1/associations", of: tunnel)
    }

    /// A page of the associations, for whoever can do without the others.
    public func associations(_ query: PageQuery) throws(ControlClientError) -> Page<AssociationStatus> {
        try page("/v1/associations", query)
    }

    /// The flows that the daemon has now, or those of one tunnel.
    public func flows(of tunnel: String? = nil) throws(ControlClientError) -> [FlowStatus] {
        try all("/v1/flows", of: tunnel)
    }

    /// One association.
    public func association(_ id: String) throws(ControlClientError) -> AssociationStatus {
        try value(of: get("/v1/associations/\(percentEncoded(id))"))
    }

    /// The configuration in force, as the bytes of a JSON object.
    public func configuration() throws(ControlClientError) -> [UInt8] { try success(get("/v1/config")).body }

    /// Metrics in Prometheus' text format, those of single associations only if asked for.
    public func metrics(associations: Bool = false) throws(ControlClientError) -> String {
        String(decoding: try success(get("/v1/metrics\(associations ? "?associations=1" : "")")).body, as: UTF8.self)
    }

    /// Whether the daemon takes what comes: nil, or the daemon's words for what is missing.
    public func whatIsMissing() throws(ControlClientError) -> String? {
        let response = try get("/readyz")
        switch response.status {
        case 200: return nil
        case 503: return try value(Problem.self, response).detail
        default: throw .badResponse(path: path, reason: "status \(response.status)")
        }
    }

    /// Gives events, of one tunnel or of all, until `each` says false or the daemon ends; first those after `after`
    /// that the daemon remembers. Otherwise like `lines`.
    public func events(
        of tunnel: String? = nil, after: UInt64? = nil, each: @escaping @Sendable (ControlEvent) -> Bool
    ) throws(ControlClientError) {
        try eventLines(of: tunnel, after: after) { _, event in event.map(each) ?? true }
    }

    /// As `events`, each with the line of JSON that it came in; without it where this version cannot read the line.
    public func eventLines(
        of tunnel: String? = nil, after: UInt64? = nil,
        each: @escaping @Sendable (String, ControlEvent?) -> Bool
    ) throws(ControlClientError) {
        try lines(of: target("/v1/events", ["tunnel": tunnel, "after": after.map { "\($0)" }])) { line in
            each(line, try? JSONDecoder.control.decode(ControlEvent.self, from: Data(line.utf8)))
        }
    }

    // MARK: What the daemon does

    /// Ends an association in an orderly way.
    public func close(association id: String) throws(ControlClientError) {
        _ = try success(post("/v1/associations/\(percentEncoded(id))/close"))
    }

    /// Sends a heartbeat and waits for its answer.
    public func ping(association id: String) throws(ControlClientError) -> PingResult {
        try value(of: post("/v1/associations/\(percentEncoded(id))/ping"))
    }

    /// Begins to replace an association's keys.
    public func rekey(association id: String) throws(ControlClientError) {
        _ = try success(post("/v1/associations/\(percentEncoded(id))/rekey"))
    }

    /// Has the configuration read again. One with mistakes is `refused` with the problem's `errors`.
    public func reload() throws(ControlClientError) -> ReloadResult { try value(of: post("/v1/reload")) }

    /// Makes the daemon accept nothing new.
    public func drain() throws(ControlClientError) -> DrainResult { try value(of: post("/v1/drain")) }

    /// Sets from which severity on lines are logged.
    public func setLogLevel(_ setting: LogLevelSetting) throws(ControlClientError) -> LogLevelSetting {
        try value(of: post("/v1/log-level", json: ControlResponse.json(setting).body))
    }

    // MARK: Below that

    private func success(_ response: ControlResponse) throws(ControlClientError) -> ControlResponse {
        guard !(200..<300 ~= response.status) else { return response }
        guard let problem = try? JSONDecoder.control.decode(Problem.self, from: Data(response.body)) else {
            throw .badResponse(path: path, reason: "status \(response.status)")
        }
        throw .refused(problem)
    }

    private func value<Value: Decodable>(of response: ControlResponse) throws(ControlClientError) -> Value {
        try value(Value.self, success(response))
    }

    private func value<Value: Decodable>(
        _ type: Value.Type, _ response: ControlResponse
    ) throws(ControlClientError) -> Value {
        do { return try JSONDecoder.control.decode(type, from: Data(response.body)) } catch {
            throw .badResponse(path: path, reason: "\(error)")
        }
    }

    private func all<Element: Decodable>(
        _ list: String, of tunnel: String?
    ) throws(ControlClientError) -> [Element] {
        var elements: [Element] = []
        var query = PageQuery(tunnel: tunnel, limit: PageQuery.highestLimit)
        repeat {
            let page: Page<Element> = try page(list, query)
            elements += page.items
            query.after = page.next
        } while query.after != nil
        return elements
    }

    private func page<Element: Decodable>(
        _ list: String, _ query: PageQuery
    ) throws(ControlClientError) -> Page<Element> {
        let parameters = ["tunnel": query.tunnel, "after": query.after, "limit": "\(query.limit)"]
        return try value(of: get(target(list, parameters)))
    }

    private func target(_ path: String, _ query: [String: String?]) -> String {
        let parts = query.compactMap { name, value in value.map { "\(name)=\(percentEncoded($0))" } }
        return parts.isEmpty ? path : "\(path)?\(parts.sorted().joined(separator: "&"))"
    }

    private func exchange(
        _ method: HTTPMethod, _ target: String, content: [UInt8]?
    ) throws(ControlClientError) -> ControlResponse {
        var headers: HTTPHeaders = ["Host": "culvert", "Connection": "close"]
        if method == .POST { headers.add(name: "Content-Length", value: "\(content?.count ?? 0)") }
        if content != nil { headers.add(name: "Content-Type", value: "application/json") }
        let head = HTTPRequestHead(version: .http1_1, method: method, uri: target, headers: headers)
        let limit = method == .POST ? changeTimeout : timeout
        return try converse(head, content: content, as: ControlResponse.self, within: limit) { [path] channel, done in
            let pipeline = channel.pipeline.syncOperations
            try pipeline.addHandler(NIOHTTPClientResponseAggregator(maxContentLength: Self.longestResponse))
            try pipeline.addHandler(ResponseReader(path: path, done: done))
        }
    }

    /// Connects, lets `add` put the reader of the answer into the pipeline, sends the request and waits.
    private func converse<Value: Sendable>(
        _ head: HTTPRequestHead, content: [UInt8]?, as type: Value.Type, within limit: Duration? = nil,
        add: @escaping @Sendable (any Channel, EventLoopPromise<Value>) throws -> Void
    ) throws(ControlClientError) -> Value {
        let eventLoop = Self.loops.next()
        let done = eventLoop.makePromise(of: Value.self)
        let overdue = limit.map { limit in
            eventLoop.scheduleTask(in: TimeAmount(limit)) { [path] in
                done.fail(ControlClientError.timedOut(path: path))
            }
        }
        let connecting = connect(on: eventLoop, until: .now() + TimeAmount(timeout)) { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHTTPClientHandlers()
                try channel.pipeline.syncOperations.addHandler(RequestWriter(head, content))
                try add(channel, done)
            }
        }
        connecting.whenFailure { error in done.fail(self.failure(error)) }
        defer {
            overdue?.cancel()
            connecting.whenSuccess { $0.close(promise: nil) }
        }
        do { return try done.futureResult.wait() } catch let error as ControlClientError {
            throw error
        } catch {
            throw .badResponse(path: path, reason: reason(error))
        }
    }

    /// A Unix socket whose backlog is full refuses at once, where TCP would wait: so it is tried again.
    private func connect(
        on eventLoop: any EventLoop, until deadline: NIODeadline,
        _ initialize: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
    ) -> EventLoopFuture<any Channel> {
        ClientBootstrap(group: eventLoop).channelInitializer(initialize).connect(unixDomainSocketPath: path)
            .flatMapError { error in
                guard (error as? IOError)?.errnoCode == EAGAIN, .now() < deadline else {
                    return eventLoop.makeFailedFuture(error)
                }
                return eventLoop.scheduleTask(in: .milliseconds(20)) {}.futureResult
                    .flatMap { connect(on: eventLoop, until: deadline, initialize) }
            }
    }

    private func failure(_ error: any Error) -> ControlClientError {
        switch (error as? IOError)?.errnoCode {
        case EACCES, EPERM: .notPermitted(path: path)
        case EAGAIN: .timedOut(path: path)
        default: .unreachable(path: path, reason: reason(error))
        }
    }
}

/// What is between the brackets of a page's `items`; nil unless they are its first member, as the daemon writes it.
func jsonItems(of page: [UInt8]) -> ArraySlice<UInt8>? {
    let beginning = Array("{\"items\":[".utf8)
    guard page.starts(with: beginning) else { return nil }
    var depth = 0
    var isString = false
    var isEscaped = false
    for index in page.indices.dropFirst(beginning.count) {
        let byte = page[index]
        if isString {
            if byte == UInt8(ascii: "\""), !isEscaped { isString = false }
            isEscaped = byte == UInt8(ascii: "\\") && !isEscaped
            continue
        }
        switch byte {
        case UInt8(ascii: "\""): isString = true
        case UInt8(ascii: "["), UInt8(ascii: "{"): depth += 1
        case UInt8(ascii: "]") where depth == 0: return page[beginning.count..<index]
        case UInt8(ascii: "]"), UInt8(ascii: "}"): depth -= 1
        default: break
        }
    }
    return nil
}

/// What `text` is in a path or a query (RFC 3986 §2.3).
private func percentEncoded(_ text: String) -> String {
    text.utf8.reduce(into: "") { result, byte in
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
            UInt8(ascii: "~"):
            result.unicodeScalars.append(Unicode.Scalar(byte))
        default: result += (byte < 16 ? "%0" : "%") + String(byte, radix: 16, uppercase: true)
        }
    }
}

/// Sends one request as soon as the connection is there.
private final class RequestWriter: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    private let head: HTTPRequestHead
    private let content: [UInt8]?

    init(_ head: HTTPRequestHead, _ content: [UInt8]?) {
        self.head = head
        self.content = content
    }

    func channelActive(context: ChannelHandlerContext) {
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        if let content {
            context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: content)))), promise: nil)
        }
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        context.fireChannelActive()
    }
}

/// Keeps its promise with the response, or with the reason why there is none.
private final class ResponseReader: ChannelInboundHandler {
    typealias InboundIn = NIOHTTPClientResponseFull

    private let path: String
    private let done: EventLoopPromise<ControlResponse>

    init(path: String, done: EventLoopPromise<ControlResponse>) {
        self.path = path
        self.done = done
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let response = unwrapInboundIn(data)
        done.succeed(
            ControlResponse(
                status: Int(response.head.status.code),
                contentType: response.head.headers.first(name: "Content-Type") ?? "",
                content: response.body ?? ByteBuffer()))
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        done.fail(ControlClientError.badResponse(path: path, reason: reason(error)))
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        done.fail(ControlClientError.badResponse(path: path, reason: "the connection was closed"))
    }
}

/// Cuts a response into lines; keeps its promise when no more are wanted or there.
private final class LineReader: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart

    /// The most bytes of a line, or of a problem.
    private static let longest = 1024 * 1024

    private let path: String
    private let patience: TimeAmount
    private let done: EventLoopPromise<Void>
    private let each: @Sendable (String) -> Bool
    private var status = HTTPResponseStatus.ok
    private var rest = ByteBuffer()
    private var overdue: Scheduled<Void>?

    init(
        path: String, patience: TimeAmount, done: EventLoopPromise<Void>, each: @escaping @Sendable (String) -> Bool
    ) {
        self.path = path
        self.patience = patience
        self.done = done
        self.each = each
    }

    func channelActive(context: ChannelHandlerContext) { hope(context) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        hope(context)
        switch unwrapInboundIn(data) {
        case .head(let head): status = head.status
        case .body(var part):
            rest.writeBuffer(&part)
            if status == .ok { tell(context) }
            if rest.readableBytes > Self.longest {
                end(context, .badResponse(path: path, reason: "a line is too long"))
            }
        case .end:
            guard status != .ok else { return end(context, nil) }
            let problem = try? JSONDecoder.control.decode(Problem.self, from: Data(rest.readableBytesView))
            end(context, problem.map { .refused($0) } ?? .badResponse(path: path, reason: "status \(status.code)"))
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        end(context, .badResponse(path: path, reason: reason(error)))
    }

    /// A daemon that was ended by force ends its answer without a word.
    func channelInactive(context: ChannelHandlerContext) {
        end(context, .unreachable(path: path, reason: "the connection was closed"))
    }

    private func tell(_ context: ChannelHandlerContext) {
        while let end = rest.readableBytesView.firstIndex(of: UInt8(ascii: "\n")) {
            let line = rest.readString(length: end - rest.readerIndex) ?? ""
            rest.moveReaderIndex(forwardBy: 1)
            if !line.isEmpty, !each(line) { return self.end(context, nil) }
        }
        rest.discardReadBytes()
    }

    private func end(_ context: ChannelHandlerContext, _ error: ControlClientError?) {
        overdue?.cancel()
        if let error { done.fail(error) } else { done.succeed(()) }
        context.close(promise: nil)
    }

    private func hope(_ context: ChannelHandlerContext) {
        overdue?.cancel()
        overdue = context.eventLoop.assumeIsolated().scheduleTask(in: patience) {
            self.end(context, .timedOut(path: self.path))
        }
    }
}
