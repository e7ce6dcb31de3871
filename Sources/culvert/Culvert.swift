// The command line: one subcommand a file.

import ArgumentParser

/// `culvert`.
@main
struct Culvert: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "culvert",
        abstract: "Carries plaintext UDP ports over DTLS to a remote peer.",
        subcommands: [RunCommand.self, CheckCommand.self, KeysCommand.self])
}
