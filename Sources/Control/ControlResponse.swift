// What a route answers with: a status, a media type and bytes. An answer must never hold a key or a secret.

internal import FoundationEssentials
internal import NIOCore

/// A complete answer.
public struct ControlResponse: Sendable {
    /// The HTTP status code, 200 to 599.
    public let status: Int
    /// The media type of `body`.
    public let contentType: String
    /// The content, in memory that is shared by all who send or read this answer.
    let content: ByteBuffer
    /// Further header fields.
    var headers: [(String, String)] = []

    /// The content, whole.
    public var body: [UInt8] { Array(content.readableBytesView) }

    /// An answer of raw content.
    public init(status: Int = 200, contentType: String, body: some Sequence<UInt8>) {
        self.init(status: status, contentType: contentType, content: ByteBuffer(bytes: body))
    }

    init(status: Int, contentType: String, content: ByteBuffer) {
        self.status = status
        self.contentType = contentType
        self.content = content
    }

    /// Plain text; a line end is the caller's.
    public static func text(_ text: String, status: Int = 200) -> ControlResponse {
        ControlResponse(status: status, contentType: "text/plain; charset=utf-8", body: text.utf8)
    }

    /// A value as JSON with its keys sorted, ending in a newline. A value that JSON cannot express (a number that is not
    /// finite) makes the answer a problem document with status 500.
    public static func json(_ value: some Encodable, status: Int = 200) -> ControlResponse {
        encoded(value, status: status, contentType: "application/json")
            ?? .problem(
                Problem(
                    status: 500, title: "Internal Server Error", detail: "The answer could not be written as JSON."))
    }

    /// A problem document with the problem's status.
    public static func problem(_ problem: Problem) -> ControlResponse {
        var response =
            encoded(problem, status: problem.status, contentType: "application/problem+json")
            ?? .text(problem.title + "\n", status: problem.status)
        response.headers = problem.headers
        return response
    }

    private static func encoded(_ value: some Encodable, status: Int, contentType: String) -> ControlResponse? {
        guard let data = try? JSONEncoder.control.encode(value) else { return nil }
        var content = ByteBufferAllocator().buffer(capacity: data.count + 1)
        content.writeBytes(data)
        content.writeInteger(UInt8(ascii: "\n"))
        return ControlResponse(status: status, contentType: contentType, content: content)
    }
}
