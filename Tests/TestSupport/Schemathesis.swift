// Holds a control socket to docs/openapi.json by way of schemathesis, which makes up requests, right ones and wrong ones, and
// judges the answers. It knows no Unix sockets, so socat carries its connections there.

import Foundation

/// A run of schemathesis against a control socket.
public enum Schemathesis {
    /// The description.
    public static let description = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("docs/openapi.json").path

    private static let program = Tools.path("schemathesis", "schemathesis")

    /// Whether it can run here.
    public static var isInstalled: Bool { access(program, X_OK) == 0 && Program.isInstalled("socat") }

    /// Tries every route but those at `excluded`; the event stream, which has no end, is never tried. Answers the exit status,
    /// which is 0 if all was as described, and the report.
    public static func check(
        _ socket: String, excluded: [String] = [], examples: Int = 30
    ) async throws -> (status: Int32, said: String) {
        let directory = try TemporaryDirectory()
        // That the peer did not answer is an answer, and no error of the server.
        _ = try directory.write(
            "[checks.not_a_server_error]\nexpected-statuses = [\"2xx\", \"4xx\", 504]\n", "schemathesis.toml")
        let relay = try Program([
            "socat", "-d", "-d", "TCP-LISTEN:0,bind=127.0.0.1,backlog=128,fork", "UNIX-CONNECT:\(socket)",
        ])
        defer { relay.end() }
        let port: Substring = try await eventually("the port of \(relay)") {
            relay.lines(with: "listening on").first?.split(separator: ":").last
        }
        let excluding = (excluded + ["/v1/events"]).flatMap { ["--exclude-path", $0] }
        return try await Program.run(
            [
                "env", "-C", directory.path, program, "run", description, "--url", "http://127.0.0.1:\(port)",
                "--checks", "all", "--max-examples", "\(examples)", "--generation-deterministic", "--request-timeout",
                "10", "--no-color",
            ] + excluding, within: .seconds(120))
    }
}
