// What a route answers with: a status, a media type and bytes. Errors are problem documents (RFC 9457), so that a program
// finds the reason in a field and a person reads it in a sentence. An answer must never hold a key or a secret.

internal import FoundationEssentials

/// A complete answer.
public struct ControlResponse: Sendable {
    /// The HTTP status code, 200 to 599.
    public let status: Int
    /// The media type of `body`.
    public let contentType: String
    /// The content, whole.
    public let body: [UInt8]
    /// Further header fields.
    var headers: [(String, String)] = []

    /// An answer of raw content.
    public init(status: Int = 200, contentType: String, body: [UInt8]) {
        self.status = status
        self.contentType = contentType
        self.body = body
    }

    /// Plain text; a line end is the caller's.
    public static func text(_ text: String, status: Int = 200) -> ControlResponse {
        ControlResponse(status: status, contentType: "text/plain; charset=utf-8", body: Array(text.utf8))
    }

    /// A value as JSON with its keys sorted, ending in a newline. A value that JSON cannot express (a number that is not
    /// finite) makes the answer a line of text with status 500.
    public static func json(_ value: some Encodable, status: Int = 200) -> ControlResponse {
        encoded(value, status: status, contentType: "application/json")
            ?? .text("The answer could not be written as JSON.\n", status: 500)
    }

    /// A problem document with the problem's status.
    public static func problem(_ problem: Problem) -> ControlResponse {
        encoded(problem, status: problem.status, contentType: "application/problem+json")
            ?? .text(problem.title + "\n", status: problem.status)
    }

    private static func encoded(_ value: some Encodable, status: Int, contentType: String) -> ControlResponse? {
        guard let data = try? JSONEncoder.control.encode(value) else { return nil }
        return ControlResponse(status: status, contentType: contentType, body: Array(data) + [UInt8(ascii: "\n")])
    }
}

/// A problem document, RFC 9457 §3. Its `type` is always `about:blank`: the status and title say what kind it is.
public struct Problem: Codable, Sendable, Equatable {
    /// The HTTP status code.
    public let status: Int
    /// What kind of problem, the same for every occurrence.
    public let title: String
    /// What is wrong this time and what to do about it.
    public let detail: String
    /// The path that was asked for, where it helps.
    public let instance: String?

    /// Makes a problem document.
    public init(status: Int, title: String, detail: String, instance: String? = nil) {
        self.status = status
        self.title = title
        self.detail = detail
        self.instance = instance
    }
}
