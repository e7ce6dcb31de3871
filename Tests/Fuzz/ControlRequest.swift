// Fuzzes the control server with the bytes of a client, through the handlers of a connection and every route: it answers
// once, with a whole HTTP response, the same however the bytes are cut, and changes nothing for whom it does not know. What
// a client would change that it does know goes to the routes directly.

import FoundationEssentials
import NIOCore
import NIOEmbedded
import NIOHTTP1

@testable import Control

/// A daemon that knows three associations and does everything at once.
private struct Source: ControlSource {
    static let associations = ["a-0-0-1", "a-0-0-2", "b-1-0-1"].map {
        AssociationStatus(id: $0, tunnel: "a", role: .client, state: .established, peerAddress: "192.0.2.1:6514")
    }
    static let tunnel = TunnelStatus(name: "a", role: .client, listen: "udp://[::1]:1", forward: "dtls://h:2")
    static let event = ControlEvent(
        id: 1, time: Date(timeIntervalSince1970: 0), type: .ready, level: "info", message: "ready")

    func readiness(_ give: @escaping @Sendable (Readiness) -> Void) { give(.waiting(["it drains"])) }
    func status(_ give: @escaping @Sendable (DaemonStatus) -> Void) {
        give(
            DaemonStatus(
                version: "1", processID: 1, startedAt: Date(timeIntervalSince1970: 0), uptimeSeconds: 1, workers: 1,
                openSSL: "3", logLevel: "info"))
    }
    func tunnels(_ give: @escaping @Sendable ([TunnelStatus]) -> Void) { give([Self.tunnel]) }
    func associations(_ query: PageQuery, _ give: @escaping @Sendable (Page<AssociationStatus>) -> Void) {
        let page = query.page(of: Self.associations, id: \.id, make: { $0 })
        precondition(page.items.count <= query.limit && page.items.allSatisfy { $0.id > query.after ?? "" })
        give(page)
    }
    func association(_ id: String, _ give: @escaping @Sendable (AssociationStatus?) -> Void) {
        give(Self.associations.first { $0.id == id })
    }
    func flows(_ query: PageQuery, _ give: @escaping @Sendable (Page<FlowStatus>) -> Void) {
        give(Page(items: [], total: 0))
    }
    func configuration(_ give: @escaping @Sendable ([UInt8]) -> Void) { give(Array("{}\n".utf8)) }
    func metrics(associations: Bool, _ give: @escaping @Sendable (String) -> Void) { give("up \(associations)\n") }
    func subscribe(after: UInt64?, _ listener: @escaping @Sendable (ControlEvent) -> Void) -> ControlSubscription {
        if after != nil { listener(Self.event) }
        return ControlSubscription {}
    }

    func close(association id: String, _ give: @escaping @Sendable (ControlOutcome<AssociationAction>) -> Void) {
        give(Self.associations.contains { $0.id == id } ? .done(AssociationAction(id: id)) : .notFound)
    }
    func ping(association id: String, _ give: @escaping @Sendable (ControlOutcome<PingResult>) -> Void) {
        give(.noAnswer(id))
    }
    func rekey(association id: String, _ give: @escaping @Sendable (ControlOutcome<AssociationAction>) -> Void) {
        give(.refused(id))
    }
    func reload(_ give: @escaping @Sendable (ControlOutcome<ReloadResult>) -> Void) { give(.done(ReloadResult())) }
    func drain(_ give: @escaping @Sendable (ControlOutcome<DrainResult>) -> Void) {
        give(.done(DrainResult(draining: true, flows: 0)))
    }
    func setLogLevel(
        _ setting: LogLevelSetting, _ give: @escaping @Sendable (ControlOutcome<LogLevelSetting>) -> Void
    ) {
        give(.done(setting))
    }
}

/// What a client reads that sends `bytes`, cut into pieces of so many, and waits.
private func answer(to bytes: UnsafeBufferPointer<UInt8>, pieces size: Int, admission: Admission) -> [UInt8] {
    let loop = EmbeddedEventLoop()
    let channel = EmbeddedChannel(loop: loop)
    let routes = ControlAPI(Source())
    var limits = ControlLimits()
    limits.requestBytes = 4096
    let service = ControlService(
        routes: admission.isLocal ? routes.routes : routes.readOnlyRoutes, admission: admission, limits: limits,
        eventLoop: loop)
    do {
        try ControlServer.serve(channel, by: service)
        try channel.connect(to: SocketAddress(unixDomainSocketPath: "/x")).wait()
        var rest = bytes[...]
        while !rest.isEmpty, channel.isActive {
            try channel.writeInbound(ByteBuffer(bytes: rest.prefix(size)))
            rest = rest.dropFirst(size)
            loop.run()
        }
        // A request that is not whole is waited for, a stream of events goes on, an answer is read.
        loop.advanceTime(by: .seconds(6))
        var said: [UInt8] = []
        while let buffer = try channel.readOutbound(as: ByteBuffer.self) { said += buffer.readableBytesView }
        loop.advanceTime(by: .seconds(60))
        if channel.isActive { try channel.close().wait() }
        loop.run()
        return said
    } catch {
        preconditionFailure("\(error)")
    }
}

extension Admission {
    fileprivate var isLocal: Bool { if case .localPeers = self { true } else { false } }
}

/// Whether it is one HTTP response with all of its content.
private func check(_ said: [UInt8]) {
    let text = String(decoding: said, as: UTF8.self)
    guard let end = text.firstRange(of: "\r\n\r\n") else { preconditionFailure("no header: \(text)") }
    let lines = text[..<end.lowerBound].split(separator: "\r\n")
    precondition(lines[0].hasPrefix("HTTP/1."), text)
    let status = Int(lines[0].split(separator: " ")[1]) ?? 0
    precondition((200..<600).contains(status) && status != 500, text)
    let fields = lines.dropFirst().map { $0.lowercased() }
    let content = text[end.upperBound...].utf8.count
    let isStream = fields.contains { $0.hasPrefix("content-type: application/x-ndjson") }
    for field in fields where field.hasPrefix("content-length: ") && content > 0 {
        precondition(field == "content-length: \(content)", text)
    }
    precondition(isStream || fields.contains { $0.hasPrefix("content-length: ") }, text)
    precondition(fields.contains("cache-control: no-store") && fields.contains("x-content-type-options: nosniff"), text)
    if status >= 400 { precondition(fields.contains("content-type: application/problem+json"), text) }
}

/// Asks the routes that change something: the target in the first line, the content in the rest.
private func change(_ bytes: UnsafeBufferPointer<UInt8>) {
    let parts = bytes.split(separator: UInt8(ascii: "\n"), maxSplits: 1, omittingEmptySubsequences: false)
    let target = String(decoding: parts[0], as: UTF8.self)
    guard
        case .success((let route, var request)) = ControlRouter(ControlAPI(Source()).routes)
            .match(method: "POST", target: target)
    else { return }
    if parts.count > 1 { request.content = Array(parts[1]) }
    guard case .response(let respond) = route.answer else { preconditionFailure("no events by POST") }
    let answers = Answers()
    respond(request, ControlReply { response in answers.list.append(response()) })
    precondition(answers.list.count == 1 && answers.list[0].status != 500)
}

/// What one route has answered; the source answers on the thread that asks.
private final class Answers: @unchecked Sendable {
    var list: [ControlResponse] = []
}

/// One input; 0 says that it was looked at.
@c(LLVMFuzzerTestOneInput)
public func fuzzControlRequest(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = UnsafeBufferPointer(start: start, count: count)
    for admission in [Admission.localPeers(.ownProcess), .readers(host: "localhost")] {
        let whole = answer(to: bytes, pieces: max(count, 1), admission: admission)
        check(whole)
        precondition(answer(to: bytes, pieces: 7, admission: admission) == whole)
    }
    change(bytes)
    return 0
}
