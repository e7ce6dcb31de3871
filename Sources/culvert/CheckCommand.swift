// `culvert check`: everything that is wrong with a config, in one go.

import ArgumentParser
import Configuration
import Daemon

/// Checks the config and the files that it names.
struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Check the config and the files it names; exit 1 with every error.")

    @OptionGroup var options: ConfigOption

    func run() throws {
        let (configuration, diagnostics) = ConfigurationCheck.run(path: options.config)
        for diagnostic in diagnostics { printError("\(diagnostic)") }
        guard let configuration else { throw ExitCode(1) }
        let count = configuration.tunnels.count
        print("\(options.config): good; \(count) tunnel\(count == 1 ? "" : "s")")
    }
}
