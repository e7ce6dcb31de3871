// `datapath-count`: how much memory is taken, how many references are counted and how many accesses are checked for each datagram on
// the data path. It means something for an optimised build only; scripts/count-data-path makes one.

import ArgumentParser
import CCounting
import FoundationEssentials
import Settings
import Tunnel

@main
struct DataPathCount: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "datapath-count",
        abstract: "Counts allocations, references and exclusivity checks for each datagram.",
        discussion: """
            Two cores in memory carry datagrams from local senders to a target, and back: in shared mode, and with an \
            association for each flow. Prints JSON; exits with 1 where a step does more than its limit, per datagram or per \
            wake-up.
            """)

    @Option(help: "Datagrams that go through both cores, half of them each way.")
    var datagrams = 1_000_000

    @Option(help: "Bytes of a datagram.")
    var bytes = 200

    @Option(help: "Local senders, each with a flow of its own.")
    var senders = 8

    @Option(help: "Datagrams between two wake-ups.")
    var batch = 32

    @Option(help: "Most allocations, for each datagram at each end.")
    var allocations = 0.01

    @Option(help: "Most references counted, up and down, for each datagram at each end.")
    var references = 0.1

    @Option(help: "Most dynamic exclusivity checks, for each datagram at each end.")
    var accesses = 0.1

    @Flag(
        help: "Names also where from, as lines of MODE, STEP, KIND, COUNT per datagram and ADDRESS on standard error.")
    var sites = false

    func validate() throws {
        guard (1...100_000_000).contains(datagrams), (1...1400).contains(bytes), (1...1000).contains(senders),
            (1...256).contains(batch)
        else { throw ValidationError("a number is out of range") }
    }

    func run() throws {
        guard culvert_counting_install() else {
            throw CountError(
                "nothing can be counted: not x86-64, a sanitizer, or a Swift runtime that is linked statically")
        }
        try CounterCheck.run()
        var report = CountReport(datagrams: datagrams, bytes: bytes, senders: senders, modes: [:], excesses: [])
        for (mode, sharing) in [("shared", SharingPolicy.always), ("dedicated", .never)] {
            let steps = try DataPathMeasurement(self, mode).run(sharing)
            report.modes[mode] = steps
            for (step, counts) in steps.sorted(by: { $0.key < $1.key }) {
                report.excesses += excesses(counts).map { "\(mode), \(step): \($0)" }
            }
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        print(String(decoding: try encoder.encode(report), as: UTF8.self))
        if !report.excesses.isEmpty { throw ExitCode.failure }
    }

    private func excesses(_ counts: StepCounts) -> [String] {
        [
            ("allocations", counts.allocations, allocations),
            ("references", counts.retains + counts.releases, references),
            ("accesses", counts.accesses, accesses),
        ].filter { $0.1 > $0.2 }.map { name, value, limit in "\(rounded(value)) \(name), \(limit) are allowed" }
    }
}

/// Why nothing was counted.
struct CountError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

/// What is printed.
struct CountReport: Encodable {
    var datagrams: Int
    var bytes: Int
    var senders: Int
    /// By mode and step.
    var modes: [String: [String: StepCounts]]
    /// What is above its limit, in words.
    var excesses: [String]
}

/// What one step does for a datagram.
struct StepCounts: Encodable {
    var allocations: Double
    var objects: Double
    var retains: Double
    var releases: Double
    var accesses: Double
}

/// Four digits after the point: what happens once in ten thousand datagrams does not matter.
func rounded(_ value: Double) -> Double { (value * 10_000).rounded() / 10_000 }
