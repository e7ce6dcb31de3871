// `culvert-bench wakeup`: what it costs a daemon to be woken, with few and with many tunnels that have nothing to do.

import ArgumentParser
import FoundationEssentials
import LinuxIO

struct WakeupCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "wakeup",
        abstract: "Measures what tunnels that have nothing to do cost those that have.",
        discussion: """
            One datagram at a time goes through a pair of daemons and back, so that each wakes the daemons up for itself. What \
            counts is the CPU time for each round trip: of a client with one tunnel and with many (dedicated mode), and of a \
            server with one service and with many on the same address (shared mode). All pairs run at once and take turns.
            """)

    @Option(help: "How many tunnels, and services, many are.")
    var tunnels: Int = 1000

    @Option(help: "How many turns each pair has.")
    var repetitions: Int = 5

    @Option(help: "Seconds of each turn.")
    var seconds: Double = 2

    @Option(help: ArgumentHelp("The daemon to measure; by default the one beside this program.", valueName: "path"))
    var culvert: String?

    @Option(help: ArgumentHelp("Another daemon to compare it with, in the same run.", valueName: "path"))
    var baseline: String?

    @Option(help: ArgumentHelp("Writes the results there as JSON too.", valueName: "path"))
    var json: String?

    func validate() throws {
        guard (2...DaemonPair.maximumTunnels).contains(tunnels), (1...100).contains(repetitions),
            (0.1...60).contains(seconds)
        else { throw ValidationError("a number is out of range") }
    }

    func run() throws {
        let sink = try Sink()
        let workspace = try Workspace(culvert: culvert, baseline: baseline)
        let signals = try SignalSource([.interrupt, .terminate])
        var report = WakeupReport(
            machine: machineDescription(), turnSeconds: seconds, repetitions: repetitions, measurements: [])
        var pairs: [RunningPair] = []
        for (end, count) in [(DaemonEnd.client, 1), (.client, tunnels), (.server, 1), (.server, tunnels)] {
            for contender in baseline == nil ? [ContenderKind.culvert] : [.culvert, .baseline] {
                let pair = try DaemonPair(
                    name: "\(contender.rawValue)-\(end.rawValue)-\(count)", program: workspace.program(of: contender),
                    sharing: end == .client ? "never" : "always", tunnels: end == .client ? count : 1,
                    services: end == .server ? count : 1)
                pairs.append(try RunningPair(pair, sink: sink, workspace: workspace))
                report.measurements.append(WakeupMeasurement(contender: contender, end: end, tunnels: count))
            }
        }
        for repetition in 1...repetitions {
            for (index, pair) in pairs.enumerated() {
                guard signals.next() == nil else { throw BenchError("interrupted") }
                let process = report.measurements[index].end == .client ? pair.client : pair.server
                let run = UInt64(repetition * pairs.count + index)
                report.measurements[index].cpu.add(try roundTrips(pair.sender, run: run, cpuTimeOf: process))
            }
            say("\(repetition)/\(repetitions)")
        }
        say(report.text())
        if let json, !FileManager.default.createFile(atPath: json, contents: Data(try report.json().utf8)) {
            throw BenchError("cannot write \(json)")
        }
    }

    /// Sends a datagram each millisecond, and the next one not before the last one's echo has come.
    /// - Returns: microseconds of CPU time that a process took for each.
    private func roundTrips(_ sender: Sender, run: UInt64, cpuTimeOf process: ChildProcess) throws -> Double {
        guard process.isRunning else { throw BenchError("a process has ended") }
        let before = cpuTime(of: [process.pid])
        let begin = MonotonicClock.now
        let end = begin + Int64(seconds * 1e9)
        var (sequence, answered) = (UInt64(0), 0)
        while MonotonicClock.now < end {
            if try sender.roundTrip(run: run, sequence: sequence, size: Self.size) != nil { answered += 1 }
            sequence += 1
            try sender.pause(nanoseconds: begin + Int64(sequence) * 1_000_000 - MonotonicClock.now)
        }
        guard answered * 10 >= Int(sequence) * 9 else { throw BenchError("too few echoes came back") }
        return Double(cpuTime(of: [process.pid]) - before) / Double(answered) / 1000
    }

    private static let size = 200
}
