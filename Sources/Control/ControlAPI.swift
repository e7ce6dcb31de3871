// The routes of the control API (docs/openapi.json describes them). It maps paths to what a source knows and does, and
// shapes the answers; it has no state.

internal import FoundationEssentials

/// The control API over one source.
struct ControlAPI: Sendable {
    private let source: any ControlSource

    init(_ source: any ControlSource) { self.source = source }

    /// Everything, for the control socket.
    var routes: [ControlRoute] {
        health + overview + [
            metrics("/v1/metrics"),
            ControlRoute(.get, "/v1/associations/{id}") { [source] request, reply in
                let id = request.id ?? ""
                source.association(id) { found in reply { found.map { .json($0) } ?? .notFound(association: id) } }
            },
            ControlRoute(.get, "/v1/flows", query: Self.pageParameters) { [source] request, reply in
                Self.page(request, reply) { query, give in source.flows(query, give) }
            },
            ControlRoute(.get, "/v1/config") { [source] _, reply in
                source.configuration { bytes in
                    reply { ControlResponse(contentType: "application/json", body: bytes) }
                }
            },
            ControlRoute(
                .get, "/v1/events", query: ["tunnel", "after"],
                answer: .events { [source] request, listener in Self.events(of: source, request, listener) }),
        ] + actions
    }

    /// What may be read over TCP: health, metrics and what the status page shows.
    var readOnlyRoutes: [ControlRoute] {
        health + overview + [metrics("/metrics"), statusPage]
    }

    private var health: [ControlRoute] {
        [
            ControlRoute(.get, "/healthz", query: nil) { _, reply in
                reply { .text("ok\n") }
            },
            ControlRoute(.get, "/readyz", query: nil) { [source] _, reply in
                source.readiness { state in reply { Self.response(to: state) } }
            },
        ]
    }

    private var overview: [ControlRoute] {
        [
            ControlRoute(.get, "/v1/status") { [source] _, reply in
                source.status { status in reply { .json(status) } }
            },
            ControlRoute(.get, "/v1/tunnels", query: Self.pageParameters) { [source] request, reply in
                Self.page(request, reply) { query, give in
                    source.tunnels { list in
                        give(query.page(of: list.filter { query.tunnel == nil || $0.name == query.tunnel }))
                    }
                }
            },
            ControlRoute(.get, "/v1/associations", query: Self.pageParameters) { [source] request, reply in
                Self.page(request, reply) { query, give in source.associations(query, give) }
            },
        ]
    }

    private var statusPage: ControlRoute {
        ControlRoute(.get, "/", query: nil) { _, reply in
            reply {
                var page = ControlResponse(contentType: "text/html; charset=utf-8", body: StatusPage.html.utf8)
                page.headers = [("Content-Security-Policy", StatusPage.contentSecurityPolicy)]
                return page
            }
        }
    }

    private func metrics(_ path: String) -> ControlRoute {
        ControlRoute(.get, path, query: ["associations"]) { [source] request, reply in
            let associations: Bool
            switch request.query["associations"] {
            case nil, "0": associations = false
            case "1": associations = true
            default: return reply { .problem(.badRequest("associations is 0 or 1.")) }
            }
            source.metrics(associations: associations) { text in
                reply {
                    ControlResponse(contentType: MetricsText.contentType, body: text.utf8)
                }
            }
        }
    }

    private var actions: [ControlRoute] {
        [
            ControlRoute(.post, "/v1/associations/{id}/close") { [source] request, reply in
                let id = request.id ?? ""
                source.close(association: id) { outcome in reply { .outcome(outcome, association: id) } }
            },
            ControlRoute(.post, "/v1/associations/{id}/ping") { [source] request, reply in
                let id = request.id ?? ""
                source.ping(association: id) { outcome in reply { .outcome(outcome, association: id) } }
            },
            ControlRoute(.post, "/v1/associations/{id}/rekey") { [source] request, reply in
                let id = request.id ?? ""
                source.rekey(association: id) { outcome in reply { .outcome(outcome, status: 202, association: id) } }
            },
            ControlRoute(.post, "/v1/reload") { [source] _, reply in
                source.reload { outcome in reply { Self.response(to: outcome) } }
            },
            ControlRoute(.post, "/v1/drain") { [source] _, reply in
                source.drain { outcome in reply { .outcome(outcome, status: 202) } }
            },
            ControlRoute(.post, "/v1/log-level", takesJSON: true) { [source] request, reply in
                let setting: LogLevelSetting
                do throws(Problem) { setting = try LogLevelSetting(json: request.content) } catch {
                    return reply { .problem(error) }
                }
                source.setLogLevel(setting) { outcome in reply { .outcome(outcome) } }
            },
        ]
    }

    private static let pageParameters: Set<String> = ["tunnel", "after", "limit"]

    /// Reads which page is wanted, asks for it, and answers with it.
    private static func page<Element: Encodable & Sendable>(
        _ request: ControlRequest, _ reply: ControlReply,
        ask: (PageQuery, @escaping @Sendable (Page<Element>) -> Void) -> Void
    ) {
        var query = PageQuery(tunnel: request.query["tunnel"], after: request.query["after"])
        if let text = request.query["limit"] {
            guard let limit = decimal(text).flatMap(Int.init(exactly:)), 1...PageQuery.highestLimit ~= limit else {
                return reply { .problem(.badRequest("limit is a number from 1 to \(PageQuery.highestLimit).")) }
            }
            query.limit = limit
        }
        ask(query) { page in reply { .json(page) } }
    }

    private static func events(
        of source: any ControlSource, _ request: ControlRequest,
        _ listener: @escaping @Sendable (ControlEvent) -> Void
    ) -> Result<ControlSubscription, Problem> {
        var after: UInt64?
        if let text = request.query["after"] {
            guard let number = decimal(text) else { return .failure(.badRequest("after is the id of an event.")) }
            after = number
        }
        guard let tunnel = request.query["tunnel"] else { return .success(source.subscribe(after: after, listener)) }
        return .success(
            source.subscribe(after: after) { event in
                if event.tunnel == tunnel || event.tunnels.contains(tunnel) { listener(event) }
            })
    }

    /// Digits only, without sign.
    private static func decimal(_ text: String) -> UInt64? {
        text.utf8.allSatisfy { 0x30...0x39 ~= $0 } ? UInt64(text) : nil
    }

    private static func response(to readiness: Readiness) -> ControlResponse {
        switch readiness {
        case .ready: .text("ready\n")
        case .waiting(let reasons):
            .problem(Problem(status: 503, title: "Not Ready", detail: reasons.joined(separator: "; ")))
        }
    }

    private static func response(to reload: ControlOutcome<ReloadResult>) -> ControlResponse {
        guard case .done(let result) = reload, !result.errors.isEmpty else { return .outcome(reload) }
        guard !result.applied.isEmpty else {
            return .problem(
                Problem(
                    status: 422, title: "Invalid Configuration",
                    detail: "The configuration cannot be put in force; nothing was changed.", errors: result.errors))
        }
        let consequences = result.applied.map { ConfigurationDiagnostic(severity: "warning", message: $0) }
        return .problem(
            Problem(
                status: 500, title: "Reload Failed",
                detail: "The configuration cannot be put in force, and tunnels had ended before this was known.",
                errors: result.errors + consequences))
    }
}

extension PageQuery {
    /// The tunnels on the page, in the config's order, beginning after the one named.
    fileprivate func page(of tunnels: [TunnelStatus]) -> Page<TunnelStatus> {
        let rest = after.map { after in tunnels.drop { $0.name != after }.dropFirst() } ?? tunnels[...]
        let items = Array(rest.prefix(limit))
        return Page(items: items, next: rest.count > limit ? items.last?.name : nil, total: tunnels.count)
    }
}

extension LogLevelSetting {
    /// Reads what a client has sent. An unknown member is an error: with `tunnel` mistyped, the level of the whole
    /// daemon would be set.
    fileprivate init(json: [UInt8]) throws(Problem) {
        guard let members = try? JSONDecoder.control.decode([String: String].self, from: Data(json)) else {
            throw .badRequest("The content must be a JSON object of strings, such as {\"level\": \"debug\"}.")
        }
        guard let level = members["level"],
            Self.levels.contains(level) || (level == Self.inherited && members["tunnel"] != nil)
        else {
            throw .badRequest(
                "level is one of \(Self.levels.joined(separator: ", ")); for a tunnel also \(Self.inherited).")
        }
        guard members.keys.allSatisfy({ $0 == "level" || $0 == "tunnel" }) else {
            throw .badRequest("The content has the members level and, where it concerns one tunnel, tunnel.")
        }
        self.init(level: level, tunnel: members["tunnel"])
    }
}

extension ControlResponse {
    fileprivate static func notFound(association id: String) -> ControlResponse {
        .problem(Problem(status: 404, title: "Not Found", detail: "There is no association \(id)."))
    }

    fileprivate static func outcome(
        _ outcome: ControlOutcome<some Encodable>, status: Int = 200, association: String? = nil
    ) -> ControlResponse {
        switch outcome {
        case .done(let value): .json(value, status: status)
        case .notFound:
            association.map { notFound(association: $0) }
                ?? .problem(Problem(status: 404, title: "Not Found", detail: "There is no tunnel of that name."))
        case .refused(let reason): .problem(Problem(status: 409, title: "Conflict", detail: reason))
        case .noAnswer(let reason): .problem(Problem(status: 504, title: "No Answer", detail: reason))
        }
    }
}
