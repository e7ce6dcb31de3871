// `culvert-bench control`: what a transfer notices of those who ask the daemons meanwhile.

import ArgumentParser
import Control

struct ControlCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "control",
        abstract: "Measures what a transfer notices of requests to the control socket.",
        discussion: """
            Finds the highest rate of a pair of daemons and sends at half of it, in turns with and without requests to the \
            sending daemon's control socket: each a connection of its own, as a script's is. Beside the transfer another \
            flow's round trips are timed, one each millisecond.
            """)

    @Option(help: "Requests per second.")
    var requests: Double = 1000

    @Option(help: "Bytes of a datagram.")
    var size: Int = 200

    @Option(help: "Seconds of each turn.")
    var seconds: Double = 5

    @Option(help: "How many turns there are of each kind.")
    var repetitions: Int = 7

    @Option(help: ArgumentHelp("The daemon to measure; by default the one beside this program.", valueName: "path"))
    var culvert: String?

    func validate() throws {
        guard (Probe.byteCount...1400).contains(size), (0.5...60).contains(seconds), (1...100).contains(repetitions),
            (1...100_000).contains(requests)
        else { throw ValidationError("a number is out of range") }
    }

    func run() throws {
        let sink = try Sink()
        let workspace = try Workspace(culvert: culvert)
        let contender = try Contender(.culvert, sink: sink, workspace: workspace)
        let transfer = Transfer(contender, sink, size: size)
        let highest = try RateSearch(fullTrial: 2, shortTrial: 0.4) { rate, seconds in
            try transfer.run(rate: rate, seconds: seconds, timed: false).trial
        }.run().rate
        let rate = highest / 2
        say("highest rate \(fixed(highest / 1000, digits: 1)) kpps of \(size) bytes; sending at half of it")
        var quiet = Turns()
        var asked = Turns()
        for _ in 0..<repetitions {
            quiet.add(try transfer.run(rate: rate, seconds: seconds, timed: true))
            let load = try ControlLoad(socket: workspace.controlSocket(of: "client"), rate: requests)
            asked.add(try transfer.run(rate: rate, seconds: seconds, timed: true))
            let (answered, failed) = load.stop()
            guard failed == 0 else { throw BenchError("\(failed) of \(answered + failed) requests had no answer") }
            asked.requests.add(Double(answered) / seconds)
        }
        say(quiet.text("without requests"))
        say(asked.text("with \(asked.requests.text(digits: 0)) requests/s"))
    }
}

/// What the turns of one kind have shown.
private struct Turns {
    var loss = Samples()
    var median = Samples()
    var high = Samples()
    var cpu = Samples()
    var requests = Samples()

    mutating func add(_ result: Transfer.Result) {
        loss.add(result.trial.loss * 100)
        cpu.add(result.trial.cpuPerDatagram)
        let times = result.roundTrips.sorted()
        guard !times.isEmpty else { return }
        median.add(times[times.count / 2])
        high.add(times[times.count * 99 / 100])
    }

    func text(_ name: String) -> String {
        """
        \(name): loss \(loss.text(digits: 4)) %, round trip p50 \(median.text(digits: 0)) us, \
        p99 \(high.text(digits: 0)) us, CPU \(cpu.text(digits: 2)) us for each datagram
        """
    }
}
