// `culvert reload`: makes the daemon read its config again.

import ArgumentParser
import Control

/// Reads the config again.
struct ReloadCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reload", abstract: "Read the config again; exit 1 with every error, and it stays as it was then.")

    @OptionGroup var output: JSONOption
    @OptionGroup var control: ControlOptions

    func run() throws {
        let result = try control.ask { client throws(ControlClientError) in try client.reload() }
        if output.json { return try Answer.print(json: result) }
        try Answer.print(Self.lines(for: result))
    }

    /// What has changed, what has not and what a restart would.
    static func lines(for result: ReloadResult) -> [StyledLine] {
        var lines = result.applied.map { StyledLine($0) }
        if result.applied.isEmpty {
            lines.append(StyledLine("no setting was changed; keys and certificates were read again"))
        }
        if !result.unchanged.isEmpty {
            let names =
                result.unchanged.count > 8
                ? "\(result.unchanged.count) tunnels" : result.unchanged.joined(separator: ", ")
            lines.append(StyledLine("unchanged: \(names)", .faint))
        }
        lines += result.needsRestart.map { StyledLine($0, .warning) }
        lines += result.warnings.map { warning in
            StyledLine("\(warning.location.map { "\($0): " } ?? "")\(warning.severity): \(warning.message)", .warning)
        }
        return lines
    }
}
