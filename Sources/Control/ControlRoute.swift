// What the control server serves: a table of paths, each with the methods it knows and the function that answers.
// Finding the route, and the answers for everything that is not in the table (404, 405 with Allow), live here; reading
// HTTP from a socket does not. Paths are compared byte for byte after the query is cut off: nothing is decoded, nothing
// is normalized, so there is no second spelling of a path that a check could miss.

/// The methods that a route may have. HEAD is answered wherever GET is.
public enum ControlMethod: String, Sendable, Hashable, CaseIterable {
    /// Reads and changes nothing.
    case get = "GET"
    /// Changes something in the daemon.
    case post = "POST"
}

/// A request that was read whole and found a route.
public struct ControlRequest: Sendable, Equatable {
    /// GET also stands for HEAD.
    public let method: ControlMethod
    /// The path, beginning with a slash, without the query, as the client sent it.
    public let path: String
    /// What followed the question mark, as the client sent it; empty without one.
    public let query: String

    /// Makes a request, as tests of a route do.
    public init(method: ControlMethod, path: String, query: String = "") {
        self.method = method
        self.path = path
        self.query = query
    }
}

/// One path and method, and the function that answers.
public struct ControlRoute: Sendable {
    let method: ControlMethod
    let path: String
    let respond: @Sendable (ControlRequest, ControlReply) -> Void

    /// A route for exactly `path`. `respond` runs on the control plane's one thread and must not block it: it asks whoever
    /// knows and returns; the reply may be given later, from any thread. When that takes longer than
    /// `ControlLimits.response`, the client is told so.
    public init(
        _ method: ControlMethod, _ path: String,
        respond: @escaping @Sendable (ControlRequest, ControlReply) -> Void
    ) {
        self.method = method
        self.path = path
        self.respond = respond
    }
}

/// Where a route's answer goes. The first answer counts, later ones are ignored, and so is one that comes too late.
public struct ControlReply: Sendable {
    let deliver: @Sendable (@escaping @Sendable () -> ControlResponse) -> Void

    /// Answers with what `response` makes. It is called on the control plane's thread, so that the work of writing JSON is
    /// not done by the thread that knew the values.
    public func callAsFunction(_ response: @escaping @Sendable () -> ControlResponse) {
        deliver(response)
    }
}

/// The table of routes.
struct ControlRouter: Sendable {
    private let routes: [String: [ControlMethod: ControlRoute]]

    init(_ list: [ControlRoute]) {
        var routes: [String: [ControlMethod: ControlRoute]] = [:]
        for route in list { routes[route.path, default: [:]][route.method] = route }
        self.routes = routes
    }

    enum Match {
        case found(ControlRoute, ControlRequest)
        case refused(ControlResponse)
    }

    /// Finds who answers a request line's method and target.
    func match(method: String, target: String) -> Match {
        let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let path = parts.first.map(String.init) ?? ""
        guard path.utf8.first == UInt8(ascii: "/") else {
            return .refused(.problem(Problem(status: 400, title: "Bad Request", detail: "The target must be a path.")))
        }
        guard let methods = routes[path] else {
            return .refused(
                .problem(Problem(status: 404, title: "Not Found", detail: "There is no such resource.", instance: path))
            )
        }
        guard let known = ControlMethod(rawValue: method == "HEAD" ? "GET" : method), let route = methods[known] else {
            let allowed = methods.keys.flatMap { $0 == .get ? ["GET", "HEAD"] : [$0.rawValue] }.sorted()
            var response = ControlResponse.problem(
                Problem(
                    status: 405, title: "Method Not Allowed",
                    detail: "This resource answers \(allowed.joined(separator: ", ")).", instance: path))
            response.headers.append(("Allow", allowed.joined(separator: ", ")))
            return .refused(response)
        }
        let query = parts.count > 1 ? String(parts[1]) : ""
        return .found(route, ControlRequest(method: known, path: path, query: query))
    }
}
