// `culvert drain`: makes the daemon accept nothing new.

import ArgumentParser
import Control

/// Begins the daemon's end.
struct DrainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drain", abstract: "Take on nothing new from now on; what is there goes on.")

    @OptionGroup var output: JSONOption
    @OptionGroup var control: ControlOptions

    func run() throws {
        let result = try control.ask { client throws(ControlClientError) in try client.drain() }
        if output.json { return try Answer.print(json: result) }
        try Answer.print(
            result.draining
                ? "draining: nothing new is taken on; \(Figures.number(result.flows, "flow")) left" : "not draining")
    }
}
