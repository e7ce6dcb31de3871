// `culvert-bench control`: what a transfer notices of those who ask the daemons meanwhile.

import ArgumentParser
import LinuxIO

struct ControlCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "control",
        abstract: "Measures what a transfer notices of requests to the control socket.",
        discussion: """
            Finds the highest rate of a pair of daemons and sends at half of it, in turns: undisturbed, with requests to a \
            daemon that carries nothing, and with requests to the sending one, each a connection of its own, as a script's is. \
            The first two differ by what the machine is short of, the last two by what the data path notices. Who asks gives \
            way to everything else (nice 19). Beside the transfer another flow's round trips are timed, one each millisecond.
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
        let bystander = try workspace.startBystander()
        let signals = try SignalSource([.interrupt, .terminate])
        var quiet = Turns()
        var beside = Turns()
        var asked = Turns()
        for _ in 0..<repetitions {
            guard signals.next() == nil, bystander.isRunning else { throw BenchError("interrupted") }
            quiet.add(try transfer.run(rate: rate, seconds: seconds, timed: true))
            try whileAsking("bystander", workspace) {
                beside.add(try transfer.run(rate: rate, seconds: seconds, timed: true))
            }
            try whileAsking("culvert-client", workspace) {
                asked.add(try transfer.run(rate: rate, seconds: seconds, timed: true))
            }
        }
        say(quiet.text("undisturbed"))
        say(beside.text("\(fixed(requests, digits: 0)) requests/s to another daemon"))
        say(asked.text("\(fixed(requests, digits: 0)) requests/s to the sending daemon"))
    }

    /// Does something while a daemon is being asked, and throws where a request had no answer.
    private func whileAsking(_ role: String, _ workspace: Workspace, _ body: () throws -> Void) throws {
        let begin = MonotonicClock.now
        let load = try workspace.startRequests(to: role, rate: requests)
        try body()
        let (answered, failed) = try workspace.endRequests(load)
        let expected = requests * Double(MonotonicClock.now - begin) / 1e9
        guard failed == 0, Double(answered) > expected / 2 else {
            throw BenchError("\(answered) requests were answered and \(failed) were not, of about \(Int(expected))")
        }
    }
}

/// What the turns of one kind have shown.
private struct Turns {
    var loss = Samples()
    var median = Samples()
    var high = Samples()
    var cpu = Samples()

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
