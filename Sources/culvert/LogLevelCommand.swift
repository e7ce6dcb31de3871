// `culvert log-level`: from which severity on lines are logged, changed while the daemon runs.

import ArgumentParser
import Control

/// Changes the log level.
struct LogLevelCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "log-level", abstract: "Set from which severity on lines are logged, until the daemon restarts.",
        discussion: "With --tunnel it holds for that tunnel only, and 'default' gives it the daemon's level again.")

    @Argument(help: ArgumentHelp("One of \(LogLevelSetting.levels.joined(separator: ", "))."))
    var level: String

    @Option(help: ArgumentHelp("The tunnel whose lines it concerns.", valueName: "name"))
    var tunnel: String?

    @OptionGroup var output: JSONOption
    @OptionGroup var control: ControlOptions

    func validate() throws {
        guard !LogLevelSetting.levels.contains(level), level != LogLevelSetting.inherited || tunnel == nil else {
            return
        }
        let levels = LogLevelSetting.levels.joined(separator: ", ")
        throw ValidationError("The level is one of \(levels); for a tunnel also \(LogLevelSetting.inherited).")
    }

    func run() throws {
        let setting = LogLevelSetting(level: level, tunnel: tunnel)
        let result = try control.ask { client throws(ControlClientError) in try client.setLogLevel(setting) }
        if output.json { return try Answer.print(json: result) }
        try Answer.print("\(result.tunnel.map { "tunnel '\($0)'" } ?? "daemon"): log level \(result.level)")
    }
}
