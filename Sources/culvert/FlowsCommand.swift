// `culvert flows`: the flows as a table.

import ArgumentParser
import Control

/// Lists the flows.
struct FlowsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "flows", abstract: "List the flows: one for each sender through a tunnel.",
        discussion: """
            On a terminal, columns that do not fit are left out; in a pipe all are there. IN is from the peer, OUT is to it.
            """)

    @OptionGroup var filter: TunnelOption
    @OptionGroup var output: JSONOption
    @OptionGroup var control: ControlOptions

    func run() throws {
        try filter.check(control)
        if output.json { return try control.printJSON(list: "/v1/flows", of: filter.tunnel) }
        let list = try control.ask { client throws(ControlClientError) in try client.flows(of: filter.tunnel) }
        try Answer.print(StatusTables.flows(list).lines(.forOutput()))
    }
}
