// `culvert rekey`: new keys for an association.

import ArgumentParser
import Control

/// Begins a new handshake beside an association.
struct RekeyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rekey", abstract: "Begin to replace an association's keys; nothing is lost meanwhile.",
        discussion: "An event, and 'rekeys' of the association, tell when it is done.")

    @Argument(help: "The association's id, as 'culvert associations' shows it.")
    var id: String

    @OptionGroup var output: JSONOption
    @OptionGroup var control: ControlOptions

    func run() throws {
        try control.ask { client throws(ControlClientError) in try client.rekey(association: id) }
        if output.json {
            try Answer.print(json: AssociationAction(id: id))
        } else {
            try Answer.print("\(id): rekeying has begun")
        }
    }
}
