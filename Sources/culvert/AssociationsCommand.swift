// `culvert associations`: the associations as a table.

import ArgumentParser
import Control
import FoundationEssentials

/// Lists the associations.
struct AssociationsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "associations", abstract: "List the associations: who is connected, round-trip times, path MTU.",
        discussion: """
            On a terminal, columns that do not fit are left out; in a pipe all are there. IN is from the peer, OUT is to it.
            """)

    @OptionGroup var filter: TunnelOption
    @OptionGroup var output: JSONOption
    @OptionGroup var control: ControlOptions

    func run() throws {
        try filter.check(control)
        if output.json { return try control.printJSON(list: "/v1/associations", of: filter.tunnel) }
        let list = try control.ask { client throws(ControlClientError) in try client.associations(of: filter.tunnel) }
        try Answer.print(StatusTables.associations(list, now: Date()).lines(.forOutput()))
    }
}
