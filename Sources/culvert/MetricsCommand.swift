// `culvert metrics`: what Prometheus would read.

import ArgumentParser
import Control

/// Prints the metrics.
struct MetricsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "metrics", abstract: "Print the metrics in Prometheus' text format.")

    @Flag(help: "With those of single associations, of which there may be many.")
    var associations = false

    @OptionGroup var control: ControlOptions

    func run() throws {
        let text = try control.ask { client throws(ControlClientError) in
            try client.metrics(associations: associations)
        }
        try Answer.print(bytes: Array(text.utf8))
    }
}
