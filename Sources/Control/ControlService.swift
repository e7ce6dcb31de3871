// What all connections of a control server share: the routes, who may use them, and how much all clients together may take
// up. Equal questions that come while one of them is being answered wait for the next answer and share it, so that a thousand
// clients at once cost the daemon two looks at its associations, and memory for two answers. Runs on the event loop only.

internal import NIOCore
internal import NIOHTTP1

/// Answers requests.
final class ControlService {
    /// What comes back for a request.
    enum Answer {
        /// A whole response. The lease is kept until it was sent.
        case response(ControlResponse, Lease?)
        /// Events; the stream is asked for them.
        case events(EventStream)
    }

    /// Counts the bytes of an answer for as long as somebody sends it.
    final class Lease {
        private let service: ControlService
        private let bytes: Int

        fileprivate init(_ service: ControlService, bytes: Int) {
            self.service = service
            self.bytes = bytes
            service.unsentBytes += bytes
        }

        deinit { service.unsentBytes -= bytes }
    }

    /// A question that is being asked, and who waits for its answer or for the next.
    private struct Asking {
        let number: UInt64
        let overdue: NIODeadline
        var waiting: [(Answer) -> Void]
        var late: [(Answer) -> Void] = []
        let route: ControlRoute
        let request: ControlRequest
    }

    let limits: ControlLimits
    private let router: ControlRouter
    private let admission: Admission
    private let eventLoop: any EventLoop
    private var unsentBytes = 0
    private var streams = 0
    private var askings: [String: Asking] = [:]
    private var questions: UInt64 = 0

    init(routes: [ControlRoute], admission: Admission, limits: ControlLimits, eventLoop: any EventLoop) {
        router = ControlRouter(routes)
        self.admission = admission
        self.limits = limits
        self.eventLoop = eventLoop
    }

    /// Answers a request; `give` is called once, now or later, unless a source never gives what it was asked for.
    func answer(
        _ head: HTTPRequestHead, content: [UInt8], from channel: any Channel, _ give: @escaping (Answer) -> Void
    ) {
        if let problem = admission.problem(with: head) { return give(.response(.problem(problem), nil)) }
        let route: ControlRoute
        var request: ControlRequest
        switch router.match(method: head.method.rawValue, target: head.uri) {
        case .failure(let problem): return give(.response(.problem(problem), nil))
        case .success(let match): (route, request) = match
        }
        if let problem = problem(with: head, content: content, for: route) {
            return give(.response(.problem(problem), nil))
        }
        request.content = content
        guard route.method == .post else { return answer(route, request, head, give) }
        // Only now: what would be refused anyway needs no rights.
        admission.mayChange(channel).assumeIsolated().whenComplete { allowed in
            switch allowed {
            case .success(true): self.answer(route, request, head, give)
            case .success(false), .failure: give(.response(.problem(Admission.forbidden), nil))
            }
        }
    }

    private func problem(with head: HTTPRequestHead, content: [UInt8], for route: ControlRoute) -> Problem? {
        if head.headers.contains(name: "Expect") {
            return Problem(status: 417, title: "Expectation Failed", detail: "Send the content without Expect.")
        }
        guard route.method == .post else { return nil }
        guard route.takesJSON else {
            return content.isEmpty ? nil : .badRequest("This resource takes no content.")
        }
        let type = head.headers.first(name: "Content-Type")?.split(separator: ";").first?
            .trimming(while: { $0 == " " || $0 == "\t" }).lowercased()
        guard type == "application/json" else {
            return Problem(
                status: 415, title: "Unsupported Media Type", detail: "The content must be of type application/json.")
        }
        return nil
    }

    private func answer(
        _ route: ControlRoute, _ request: ControlRequest, _ head: HTTPRequestHead, _ give: @escaping (Answer) -> Void
    ) {
        switch route.answer {
        case .response(let respond) where route.method == .get: share(route, request, head.uri, respond, give)
        case .response(let respond): ask(respond, request) { give(self.leased($0)) }
        case .events where head.method == .HEAD:
            give(.response(ControlResponse(contentType: EventStream.contentType, body: []), nil))
        case .events(let subscribe): give(stream(subscribe, request))
        }
    }

    // MARK: Responses

    private func share(
        _ route: ControlRoute, _ request: ControlRequest, _ target: String,
        _ respond: @escaping @Sendable (ControlRequest, ControlReply) -> Void, _ give: @escaping (Answer) -> Void
    ) {
        if let running = askings[target], .now() < running.overdue {
            askings[target]?.late.append(give)
            return
        }
        // Where a source never answered, each connection has answered when its deadline came.
        begin(route, request, target, respond, [give])
    }

    private func begin(
        _ route: ControlRoute, _ request: ControlRequest, _ target: String,
        _ respond: @escaping @Sendable (ControlRequest, ControlReply) -> Void, _ waiting: [(Answer) -> Void]
    ) {
        questions += 1
        let number = questions
        askings[target] = Asking(
            number: number, overdue: .now() + TimeAmount(limits.response), waiting: waiting, route: route,
            request: request)
        ask(respond, request) { response in
            guard let asking = self.askings[target], asking.number == number else { return }
            self.askings[target] = nil
            if !asking.late.isEmpty { self.begin(route, request, target, respond, asking.late) }
            let answer = self.leased(response)
            for give in asking.waiting { give(answer) }
        }
    }

    /// Asks a route, on this loop, and hands its response over on this loop.
    private func ask(
        _ respond: @Sendable (ControlRequest, ControlReply) -> Void, _ request: ControlRequest,
        _ receive: @escaping (ControlResponse) -> Void
    ) {
        guard unsentBytes < limits.unsentBytes else {
            return receive(.problem(.unavailable("Too much is waiting to be read by slow clients.")))
        }
        var receiver: ((ControlResponse) -> Void)? = receive
        let bound = NIOLoopBound(
            { (response: ControlResponse) in
                receiver?(response)
                receiver = nil
            }, eventLoop: eventLoop)
        respond(
            request, ControlReply { [eventLoop] make in eventLoop.execute { bound.value(make()) } })
    }

    private func leased(_ response: ControlResponse) -> Answer {
        .response(response, Lease(self, bytes: response.content.readableBytes))
    }

    // MARK: Events

    private func stream(
        _ subscribe: (ControlRequest, @escaping @Sendable (ControlEvent) -> Void) -> Result<
            ControlSubscription, Problem
        >, _ request: ControlRequest
    ) -> Answer {
        guard streams < limits.streams else {
            return .response(.problem(.unavailable("There are \(streams) readers of events already.")), nil)
        }
        let stream = EventStream(limit: limits.streamEvents, eventLoop: eventLoop) { self.streams -= 1 }
        streams += 1
        switch subscribe(request, { event in stream.offer(event) }) {
        case .success(let subscription): stream.subscription = subscription
        case .failure(let problem):
            stream.end()
            return .response(.problem(problem), nil)
        }
        return .events(stream)
    }
}

extension Substring {
    /// Without what satisfies `predicate` at either end.
    fileprivate func trimming(while predicate: (Character) -> Bool) -> Substring {
        var rest = drop(while: predicate)
        while let last = rest.last, predicate(last) { rest.removeLast() }
        return rest
    }
}
