// `culvert run`: the daemon, in the foreground.

import ArgumentParser
import Configuration
import Daemon

/// Runs the daemon until SIGTERM or SIGINT.
struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Run the daemon in the foreground, as systemd wants it.")

    @OptionGroup var options: ConfigOption

    func run() throws {
        let (configuration, diagnostics) = ConfigurationCheck.load(path: options.config)
        for diagnostic in diagnostics { printError("\(diagnostic)") }
        guard let configuration else { throw ExitCode(1) }
        do {
            try Supervisor(configuration, path: options.config).run()
        } catch {
            printError("culvert: \(error)")
            throw ExitCode(1)
        }
    }
}
