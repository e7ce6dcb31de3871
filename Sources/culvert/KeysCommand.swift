// `culvert keys`: makes what the config needs, with safe defaults and modes. The subcommands only read
// their arguments and say what was done; the work is in the OpenSSL target. Nothing here prints a key
// unless it is asked to in so many words.

import ArgumentParser

/// The group of commands that make and look at keys.
struct KeysCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keys",
        abstract: "Make and look at keys, certificates and revocation lists.",
        discussion: """
            With an authority of your own:   culvert keys ca; culvert keys issue --name HOST on the same machine
            Without one, by pins:            culvert keys self-signed --name HOST on each machine
            Without certificates:            culvert keys psk --identity NAME

            Private keys are made with mode 0600 and existing files are never overwritten without --force.
            """,
        subcommands: [
            KeysAuthorityCommand.self, KeysIssueCommand.self, KeysSelfSignedCommand.self, KeysPSKCommand.self,
            KeysFingerprintCommand.self, KeysRevokeCommand.self,
        ])
}
