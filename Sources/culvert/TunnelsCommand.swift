// `culvert tunnels`: the tunnels as a table.

import ArgumentParser
import Control

/// Lists the tunnels.
struct TunnelsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tunnels", abstract: "List the tunnels: state, peers, what they carried and dropped.")

    @OptionGroup var filter: TunnelOption
    @OptionGroup var output: JSONOption
    @OptionGroup var control: ControlOptions

    func run() throws {
        try filter.check(control)
        if output.json { return try control.printJSON(list: "/v1/tunnels", of: filter.tunnel) }
        let list = try control.ask { client throws(ControlClientError) in try client.tunnels(named: filter.tunnel) }
        try Answer.print(StatusTables.tunnels(list).lines(.forOutput()))
    }
}

extension TunnelOption {
    /// If there is no such tunnel, says so.
    func check(_ control: ControlOptions) throws(ExitCode) {
        guard let tunnel else { return }
        let names = try control.ask { client throws(ControlClientError) in try client.tunnels().map(\.name) }
        guard !names.contains(tunnel) else { return }
        printError("culvert: there is no tunnel '\(tunnel)'; there is \(names.joined(separator: ", "))")
        throw ExitCode(1)
    }
}
