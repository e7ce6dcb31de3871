// `culvert close`: ends an association.

import ArgumentParser
import Control

/// Ends an association.
struct CloseCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "close", abstract: "End an association in an orderly way; the next datagram begins a new one.")

    @Argument(help: "The association's id, as 'culvert associations' shows it.")
    var id: String

    @OptionGroup var output: JSONOption
    @OptionGroup var control: ControlOptions

    func run() throws {
        try control.ask { client throws(ControlClientError) in try client.close(association: id) }
        if output.json { try Answer.print(json: AssociationAction(id: id)) } else { try Answer.print("\(id): closed") }
    }
}
