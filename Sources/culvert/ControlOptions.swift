// What the commands that talk to the daemon have in common: which socket, and what to say when nobody answers there.

import ArgumentParser
import Configuration
import Control
import LinuxIO

/// `--socket PATH`.
struct ControlOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The daemon's control socket. (default: $CULVERT_SOCKET, or \(DaemonSettings().controlSocket.value))",
            valueName: "path"))
    var socket: String?

    /// What sysexits.h calls EX_UNAVAILABLE.
    static let unreachable = ExitCode(69)

    /// A client for the socket, whose calls may take `timeout`.
    func client(timeout: Duration = .seconds(10)) -> ControlClient {
        let path = socket ?? Environment.value("CULVERT_SOCKET") ?? DaemonSettings().controlSocket.value
        return ControlClient(path: path, timeout: timeout)
    }

    /// Asks the daemon. If it cannot be asked or refuses, says why and what to do about it on standard error.
    func ask<Value>(
        _ question: (ControlClient) throws(ControlClientError) -> Value
    ) throws(ExitCode) -> Value {
        do { return try question(client()) } catch {
            printError("culvert: \(Self.explanation(of: error))")
            throw Self.exitCode(for: error)
        }
    }

    /// Prints what a resource is, as the daemon has written it.
    func printJSON(_ target: String) throws(ExitCode) {
        try Answer.print(bytes: ask { client throws(ControlClientError) in try client.json(target) })
    }

    /// Prints a list whole.
    func printJSON(list path: String, of tunnel: String?) throws(ExitCode) {
        try Answer.print(bytes: ask { client throws(ControlClientError) in try client.json(list: path, of: tunnel) })
    }

    /// 69 without a daemon, 1 with one that refuses.
    static func exitCode(for error: ControlClientError) -> ExitCode {
        error.isUnreachable ? unreachable : ExitCode(1)
    }

    /// What is wrong and what to do, on a line or two.
    static func explanation(of error: ControlClientError) -> String {
        switch error {
        case .unreachable(let path, let reason):
            """
            the daemon does not answer at \(path): \(reason)
              start it:       systemctl start culvert
              another path:   --socket PATH, as control_socket in its config says
            """
        case .notPermitted(let path):
            """
            you may not open the control socket \(path)
              try sudo\(FileGroup.name(of: path).map { ", or join the group '\($0)'" } ?? ", or join the daemon's group")
            """
        case .timedOut, .badResponse: "\(error)"
        case .refused(let problem):
            problem.detail
                + (problem.errors ?? []).map {
                    "\n  \($0.location.map { "\($0): " } ?? "")\($0.severity): \($0.message)"
                }
                .joined()
        }
    }
}

/// `--json`.
struct JSONOption: ParsableArguments {
    @Flag(help: "Print the control API's JSON.")
    var json = false
}

/// `--tunnel NAME`.
struct TunnelOption: ParsableArguments {
    @Option(help: ArgumentHelp("Only what concerns this tunnel.", valueName: "name"))
    var tunnel: String?
}

/// Where answers are printed. If the reader has gone away, such as `head`, the command ends.
enum Answer {
    /// Prints a line at once, so that the reader of a pipe sees it.
    static func print(_ line: String) throws(ExitCode) {
        guard LineFile.standardOutput.write(line) else { throw ExitCode.success }
    }

    /// Prints lines in the style of standard output.
    static func print(_ lines: [StyledLine]) throws(ExitCode) {
        let style = TextStyle.forOutput()
        try print(lines.map { $0.text(style) }.joined(separator: "\n"))
    }

    /// Prints a value as the control API writes it.
    static func print(json value: some Encodable) throws(ExitCode) {
        try print(bytes: ControlResponse.json(value).body)
    }

    /// Prints bytes as they are.
    static func print(bytes: [UInt8]) throws(ExitCode) {
        guard LineFile.standardOutput.write(bytes: bytes) else { throw ExitCode.success }
    }
}
