// The command line of culvert-bench.

import ArgumentParser
import FoundationEssentials
import Glibc
import LinuxIO

@main
struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "culvert-bench",
        abstract: "Measures what a culvert tunnel costs, beside other ways to carry the same datagrams.",
        subcommands: [
            MeasureCommand.self, WakeupCommand.self, CrowdCommand.self, ControlCommand.self, RequestsCommand.self,
            RelayCommand.self,
        ],
        defaultSubcommand: MeasureCommand.self)
}

struct MeasureCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "measure",
        abstract: "Measures all contenders in one run on this machine, over loopback.",
        discussion: """
            direct: straight from the sender to the sink. relay: a pair of plaintext relays on culvert's own I/O \
            engine, the limit for a tunnel. culvert: a pair of daemons. baseline: a pair of another build. socat: a pair of \
            socat with its DTLS addresses. The contenders take turns; each number is the median of the repetitions. CPU time is that of \
            both processes of a pair with all their threads and children.
            """)

    @Option(
        parsing: .upToNextOption,
        help: "What to measure: direct, relay, culvert, baseline, socat; by default everything that there is.")
    var contenders: [ContenderKind] = []

    @Option(parsing: .upToNextOption, help: "Bytes of a datagram.")
    var sizes: [Int] = [64, 200, 1200]

    @Option(help: "How often everything is measured.")
    var repetitions: Int = 3

    @Option(help: "Seconds for each trial of a rate.")
    var seconds: Double = 3

    @Option(help: "Datagrams per second that all contenders are sent, rather than each at its highest rate.")
    var rate: Double?

    @Flag(help: "A rough answer soon: trials of half a second.")
    var quick = false

    @Option(help: ArgumentHelp("The daemon to measure; by default the one beside this program.", valueName: "path"))
    var culvert: String?

    @Option(help: ArgumentHelp("Another daemon to compare it with, in the same run.", valueName: "path"))
    var baseline: String?

    @Option(help: ArgumentHelp("Writes the results there as JSON too.", valueName: "path"))
    var json: String?

    func validate() throws {
        guard sizes.allSatisfy({ (Probe.byteCount...1400).contains($0) }) else {
            throw ValidationError("sizes are from \(Probe.byteCount) to 1400 bytes")
        }
        guard (1...100).contains(repetitions), (0.1...60).contains(seconds) else {
            throw ValidationError("there are 1 to 100 repetitions of 0.1 to 60 seconds")
        }
        guard (1000...10_000_000).contains(rate ?? 1000) else {
            throw ValidationError("a rate is from 1000 to 10000000 datagrams per second")
        }
        guard baseline != nil || !contenders.contains(.baseline) else {
            throw ValidationError("--baseline names the daemon to compare with")
        }
    }

    func run() throws {
        let all = ContenderKind.allCases.filter { $0 != .baseline || baseline != nil }
        let benchmark = try Benchmark(
            contenders: contenders.isEmpty ? all : contenders, sizes: sizes, repetitions: repetitions,
            seconds: quick ? 0.5 : seconds, rate: rate, culvert: culvert, baseline: baseline)
        let report = try benchmark.run()
        say(report.text())
        if let json, !FileManager.default.createFile(atPath: json, contents: Data(try report.json().utf8)) {
            throw BenchError("cannot write \(json)")
        }
        // socat is measured where it is installed; whatever else was asked for has to be there.
        if report.absent.keys.contains(where: { $0 != ContenderKind.socat.rawValue }) { throw ExitCode.failure }
    }
}

/// Prints a line that is there at once for whoever reads it through a pipe.
func say(_ line: String) {
    print(line)
    fflush(nil)
}
