// Why a request was not fulfilled, as a problem document (RFC 9457), so that a program finds the reason in a field and a
// person reads it in a sentence.

/// A problem document, RFC 9457 §3. Its `type` is always `about:blank`: the status and title say what kind it is.
public struct Problem: Error, Codable, Sendable, Equatable {
    /// The HTTP status code.
    public let status: Int
    /// What kind of problem, the same for every occurrence.
    public let title: String
    /// What is wrong this time and what to do about it.
    public let detail: String
    /// The path that was asked for, where it helps.
    public let instance: String?
    /// What is wrong with the configuration, where a reload has found that.
    public var errors: [ConfigurationDiagnostic]?
    /// The methods that are allowed, for 405.
    private var allowed: [String] = []

    /// Makes a problem document.
    public init(
        status: Int, title: String, detail: String, instance: String? = nil, errors: [ConfigurationDiagnostic]? = nil
    ) {
        self.status = status
        self.title = title
        self.detail = detail
        self.instance = instance
        self.errors = errors
    }

    private enum CodingKeys: String, CodingKey {
        case status, title, detail, instance, errors
    }
}

extension Problem {
    /// 400, for the reason given in one sentence.
    static func badRequest(_ detail: String) -> Problem { Problem(status: 400, title: "Bad Request", detail: detail) }

    /// 405.
    static func notAllowed(_ allowed: [String], _ path: String) -> Problem {
        var problem = Problem(
            status: 405, title: "Method Not Allowed",
            detail: "This resource answers \(allowed.joined(separator: ", ")).", instance: path)
        problem.allowed = allowed
        return problem
    }

    /// 503, for the reason given in one sentence.
    static func unavailable(_ detail: String) -> Problem {
        Problem(status: 503, title: "Service Unavailable", detail: detail)
    }

    /// The header fields that go with the status.
    var headers: [(String, String)] {
        switch status {
        case 405: [("Allow", allowed.joined(separator: ", "))]
        case 503: [("Retry-After", "1")]
        default: []
        }
    }
}
