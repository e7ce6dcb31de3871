// The command line: one subcommand a file.

import ArgumentParser
import Daemon

/// `culvert`.
@main
struct Culvert: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "culvert",
        abstract: "Carries plaintext UDP ports over DTLS to a remote peer.", version: CulvertVersion.text,
        subcommands: [
            RunCommand.self, CheckCommand.self, ConfigCommand.self, StatusCommand.self, TunnelsCommand.self,
            AssociationsCommand.self, FlowsCommand.self, PingCommand.self, CloseCommand.self, RekeyCommand.self,
            ReloadCommand.self, DrainCommand.self, LogLevelCommand.self, EventsCommand.self, MetricsCommand.self,
            KeysCommand.self,
        ])
}
