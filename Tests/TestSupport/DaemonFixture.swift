// The built daemon in a directory of its own.

import Foundation

/// The line of a tunnel's config that sets `sharing`; nothing where the default is wanted.
public func sharingLine(_ sharing: String?) -> String { sharing.map { "sharing = \"\($0)\"\n" } ?? "" }

/// `culvert run`, ready, and ended when the object is let go.
public final class DaemonFixture: Sendable {
    /// The daemon's process.
    public let program: Program
    /// Where its config and its control socket are; a relative path in the config starts here.
    public let directory: TemporaryDirectory
    /// Its control socket.
    public let control: ControlSocket

    /// Writes a config of a `[daemon]` section, with whatever `settings` adds to it, and `config`; starts the daemon and
    /// waits until it says that it is ready. Unless `sharing` says otherwise, each tunnel has the default.
    public init(
        _ config: String, settings: String = "", sharing: String? = nil,
        in directory: TemporaryDirectory? = nil,
        environment: [String: String] = [:], file: StaticString = #fileID, line: UInt = #line
    ) async throws {
        let directory = try directory ?? TemporaryDirectory()
        let socket = directory("control.sock")
        let path = try directory.write(
            """
            [daemon]
            control_socket = "\(socket)"
            log_format = "text"
            \(settings)

            \(config.replacingOccurrences(of: "[[tunnel]]\n", with: "[[tunnel]]\n" + sharingLine(sharing)))
            """, "culvert.toml")
        let program = try Program([Program.built("culvert"), "run", "--config", path], environment: environment)
        let control = ControlSocket(path: socket)
        try await eventually("a daemon that is ready: \(program)", within: .seconds(30), file: file, line: line) {
            guard program.isRunning else { throw Unusable("the daemon did not start: \(program)") }
            return control.isReady
        }
        self.program = program
        self.directory = directory
        self.control = control
    }

    /// Its log so far.
    public var log: String { program.said }

    /// Its associations now.
    public func associations() throws -> [AssociationReport] { try control.associations() }

    /// Waits until its associations are as `condition` wants them, and returns them.
    @discardableResult
    public func associations(
        _ what: String, within limit: Duration = .seconds(20), file: StaticString = #fileID, line: UInt = #line,
        until condition: ([AssociationReport]) -> Bool
    ) async throws -> [AssociationReport] {
        var last: [AssociationReport] = []
        return try await eventually(
            "\(what); it has \(last), and log:\n\(log.suffix(3000))", within: limit, every: .milliseconds(20),
            file: file,
            line: line
        ) {
            last = try associations()
            return condition(last) ? last : nil
        }
    }

    /// Waits for a line of its log that contains all of `words`, and returns it.
    @discardableResult
    public func line(
        with words: String..., within limit: Duration = .seconds(20), file: StaticString = #fileID, line: UInt = #line
    ) async throws -> String {
        try await eventually(
            "a line with \(words) in the log:\n\(log.suffix(3000))", within: limit, file: file, line: line
        ) {
            log.split(whereSeparator: \.isNewline).map(String.init).first { candidate in
                words.allSatisfy { candidate.contains($0) }
            }
        }
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// - Returns: the exit status.
    @discardableResult
    public func stop(file: StaticString = #fileID, line: UInt = #line) async throws -> Int32 {
        program.signal(SIGTERM)
        return try await program.expectExit(file: file, line: line)
    }
}
