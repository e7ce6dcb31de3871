// `culvert config`: what a config amounts to.

import ArgumentParser
import Configuration
import FoundationEssentials

/// Prints what would be in force with a config, defaults included.
struct ConfigCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config",
        abstract: "Print the config that is in force with a file, defaults included, as TOML.",
        discussion: """
            Keys and passwords are never in it: a config names the files that hold them. What a running daemon uses is \
            told by GET /v1/config. Files are named by their absolute paths.
            """)

    @Flag(name: .long, help: "Print every setting with its value, whether the file names it or not.")
    var effective = false

    @OptionGroup var options: ConfigOption

    func validate() throws {
        guard effective else { throw ValidationError("say what to print: --effective") }
    }

    func run() throws {
        let (configuration, diagnostics) = ConfigurationLoader.load(path: options.config)
        for diagnostic in diagnostics { printError("\(diagnostic)") }
        guard let configuration else { throw ExitCode(1) }
        let directory = FileManager.default.currentDirectoryPath
        print(configuration.effective.absolute(in: directory).toml, terminator: "")
    }
}
