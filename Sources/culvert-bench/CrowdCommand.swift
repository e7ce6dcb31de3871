// `culvert-bench crowd`: what a server with very many associations costs, and how soon it answers who asks about them.

import ArgumentParser
import Control
import FoundationEssentials
import LinuxIO

struct CrowdCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "crowd",
        abstract: "Measures a server with very many associations: handshakes, memory, answers.",
        discussion: """
            Starts a daemon, has that many peers establish an association each, and asks the daemon about them. The peers \
            run in this program and take their share of the machine.
            """)

    @Option(help: "How many peers there are.")
    var associations: Int = 50_000

    @Option(help: "How often each question is asked; the median counts.")
    var repetitions: Int = 21

    @Option(help: ArgumentHelp("The daemon to measure; by default the one beside this program.", valueName: "path"))
    var culvert: String?

    func validate() throws {
        guard (1...Crowd.maximumCount).contains(associations), (1...1000).contains(repetitions) else {
            throw ValidationError("there are 1 to \(Crowd.maximumCount) associations and 1 to 1000 repetitions")
        }
    }

    func run() throws {
        let workspace = try Workspace(culvert: culvert)
        let (daemon, server) = try workspace.startCrowdedCulvert()
        let socket = workspace.controlSocket(of: "server")
        let control = ControlClient(path: socket)
        let poller = try Poller()
        let signals = try SignalSource([.interrupt, .terminate])
        let before = try control.status()
        let crowd = try Crowd(associations, of: server, context: workspace.peerContext())
        let begin = MonotonicClock.now
        while crowd.counts.established < associations {
            try crowd.check()
            guard signals.next() == nil else { throw BenchError("interrupted") }
            guard daemon.isRunning, MonotonicClock.now - begin < 600_000_000_000 else {
                throw BenchError("only \(crowd.counts) of the associations came about")
            }
            try poller.wait(nanoseconds: 10_000_000) { _ in }
        }
        let seconds = Double(MonotonicClock.now - begin) / 1e9
        let after = try control.status()
        let memory = Int(after.memoryBytes ?? 0) - Int(before.memoryBytes ?? 0)
        say(
            """
            \(associations) associations in \(fixed(seconds, digits: 1)) s: \
            \(fixed(Double(associations) / seconds, digits: 0)) handshakes/s, both ends on this machine
            the server has grown by \(memory >> 20) MiB: \(memory / associations) bytes for each
            """)
        let program = try workspace.culvertProgram()
        try measure(signals, "culvert status", poller) {
            try workspace.runToEnd([program, "status", "--socket", socket], log: "status.log")
        }
        try measure(signals, "GET /v1/status", poller) { _ = try control.status() }
        try measure(signals, "GET /v1/associations, 100 of them", poller) {
            guard try control.associations(PageQuery(limit: 100)).items.count == min(100, associations) else {
                throw BenchError("the daemon does not list its associations")
            }
        }
        let total = try control.associations(PageQuery(limit: 1)).total
        guard total == associations, crowd.counts.ended == 0 else {
            throw BenchError("of \(associations) associations \(total) are left")
        }
        try measure(signals, "all of them, page by page", poller) {
            guard try control.associations().count == associations else { throw BenchError("some are not listed") }
        }
    }

    /// Says how long `question` takes: median and extremes.
    private func measure(
        _ signals: SignalSource, _ name: String, _ poller: Poller, _ question: () throws -> Void
    ) throws {
        var times = Samples()
        for _ in 0..<repetitions {
            guard signals.next() == nil else { throw BenchError("interrupted") }
            let begin = MonotonicClock.now
            try question()
            times.add(Double(MonotonicClock.now - begin) / 1e6)
            try poller.wait(nanoseconds: 20_000_000) { _ in }
        }
        say("\(name): \(times.text(digits: 1)) ms")
    }
}
