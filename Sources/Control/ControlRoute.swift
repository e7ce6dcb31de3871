// What the control server serves: a table of paths, each with the methods it knows and the function that answers.
// Finding the route, and the answers for everything that is not in the table (404, 405 with Allow), live here; reading
// HTTP from a socket does not. A path's fixed parts are compared byte for byte: nothing is decoded, nothing is
// normalized, so there is no second spelling of a path that a check could miss. Only what is in the place of `{id}` is
// decoded.

/// The methods that a route may have. HEAD is answered wherever GET is.
enum ControlMethod: String, Sendable, Hashable, CaseIterable {
    /// Reads and changes nothing.
    case get = "GET"
    /// Changes something in the daemon.
    case post = "POST"
}

/// A request that was read whole and found a route.
struct ControlRequest: Sendable, Equatable {
    /// GET also stands for HEAD.
    var method: ControlMethod
    /// What was in the place of `{id}`, decoded; nil if the route has none.
    var id: String?
    /// What followed the question mark, decoded.
    var query: [String: String] = [:]
    /// The content; empty without any.
    var content: [UInt8] = []
}

/// One path and method, and who answers.
struct ControlRoute: Sendable {
    /// How a route answers. It is called on the control plane's one thread and must not block it.
    enum Answer: Sendable {
        /// With one response, now or later.
        case response(@Sendable (ControlRequest, ControlReply) -> Void)
        /// With events, for as long as the client stays.
        case events(
            @Sendable (ControlRequest, _ listener: @escaping @Sendable (ControlEvent) -> Void)
                -> Result<ControlSubscription, Problem>)
    }

    let method: ControlMethod
    /// The path; one part of it may be `{id}`.
    let path: String
    /// The names that the query may have; nil for any.
    let query: Set<String>?
    /// Whether the request has JSON content. If not, it has none.
    let takesJSON: Bool
    let answer: Answer

    init(
        _ method: ControlMethod, _ path: String, query: Set<String>? = [], takesJSON: Bool = false,
        respond: @escaping @Sendable (ControlRequest, ControlReply) -> Void
    ) {
        self.init(method, path, query: query, takesJSON: takesJSON, answer: .response(respond))
    }

    init(
        _ method: ControlMethod, _ path: String, query: Set<String>? = [], takesJSON: Bool = false, answer: Answer
    ) {
        self.method = method
        self.path = path
        self.query = query
        self.takesJSON = takesJSON
        self.answer = answer
    }
}

/// Where a route's response goes. The first counts, later ones are ignored, and so is one that comes too late.
struct ControlReply: Sendable {
    let deliver: @Sendable (@escaping @Sendable () -> ControlResponse) -> Void

    /// Answers with what `response` makes. It is called on the control plane's thread, so that the work of writing JSON is
    /// not done by the thread that knew the values.
    func callAsFunction(_ response: @escaping @Sendable () -> ControlResponse) {
        deliver(response)
    }
}

/// The table of routes.
struct ControlRouter: Sendable {
    /// The parts of a path with `{id}` that are compared.
    private struct Pattern {
        let before: String
        let after: String
        let methods: [ControlMethod: ControlRoute]
    }

    private let exact: [String: [ControlMethod: ControlRoute]]
    private let patterns: [Pattern]

    init(_ list: [ControlRoute]) {
        var table: [String: [ControlMethod: ControlRoute]] = [:]
        for route in list { table[route.path, default: [:]][route.method] = route }
        exact = table.filter { !$0.key.contains("{id}") }
        patterns = table.compactMap { path, methods in
            guard let place = path.firstRange(of: "{id}") else { return nil }
            return Pattern(
                before: String(path[..<place.lowerBound]), after: String(path[place.upperBound...]), methods: methods)
        }
    }

    /// Finds who answers a request line's method and target.
    func match(method: String, target: String) -> Result<(ControlRoute, ControlRequest), Problem> {
        let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let path = parts.first.map(String.init) ?? ""
        guard path.utf8.first == UInt8(ascii: "/") else { return .failure(.badRequest("The target must be a path.")) }
        guard let (methods, rawID) = find(path) else {
            return .failure(
                Problem(status: 404, title: "Not Found", detail: "There is no such resource.", instance: path))
        }
        guard let known = ControlMethod(rawValue: method == "HEAD" ? "GET" : method), let route = methods[known] else {
            let allowed = methods.keys.flatMap { $0 == .get ? ["GET", "HEAD"] : [$0.rawValue] }.sorted()
            return .failure(.notAllowed(allowed, path))
        }
        var request = ControlRequest(method: known)
        if let rawID {
            guard let id = percentDecoded(rawID) else { return .failure(.badRequest("The id is not well encoded.")) }
            request.id = id
        }
        do throws(Problem) { request.query = try query(parts.count > 1 ? parts[1] : "", for: route) } catch {
            return .failure(error)
        }
        return .success((route, request))
    }

    private func find(_ path: String) -> (methods: [ControlMethod: ControlRoute], rawID: Substring?)? {
        if let methods = exact[path] { return (methods, nil) }
        for pattern in patterns where path.hasPrefix(pattern.before) && path.hasSuffix(pattern.after) {
            guard path.utf8.count > pattern.before.utf8.count + pattern.after.utf8.count else { continue }
            let id = path.dropFirst(pattern.before.count).dropLast(pattern.after.count)
            if !id.isEmpty, !id.utf8.contains(UInt8(ascii: "/")) { return (pattern.methods, id) }
        }
        return nil
    }

    private func query(_ text: Substring, for route: ControlRoute) throws(Problem) -> [String: String] {
        guard let known = route.query else { return [:] }
        var values: [String: String] = [:]
        for part in text.split(separator: "&") {
            let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = percentDecoded(pair[0]), let value = percentDecoded(pair.count > 1 ? pair[1] : "") else {
                throw .badRequest("The query is not well encoded.")
            }
            guard known.contains(name) else {
                let list = known.sorted().joined(separator: ", ")
                throw .badRequest(
                    known.isEmpty
                        ? "This resource takes no query."
                        : "There is no query parameter of that name; there is \(list).")
            }
            guard values.updateValue(value, forKey: name) == nil else {
                throw .badRequest("The query parameter \(name) is given twice.")
            }
        }
        return values
    }
}

/// What percent-encoded UTF-8 (RFC 3986 §2.1) stands for; nil if it is malformed.
func percentDecoded(_ text: Substring) -> String? {
    var bytes: [UInt8] = []
    var rest = text.utf8[...]
    while let byte = rest.popFirst() {
        guard byte == UInt8(ascii: "%") else {
            bytes.append(byte)
            continue
        }
        guard let high = rest.popFirst().flatMap(hexadecimalDigit), let low = rest.popFirst().flatMap(hexadecimalDigit)
        else { return nil }
        bytes.append(high << 4 | low)
    }
    return String(validating: bytes, as: UTF8.self)
}

private func hexadecimalDigit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
    default: nil
    }
}
