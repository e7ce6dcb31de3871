// The order of the whole measurement: which contender is measured when, and that each gets the same treatment. The
// contenders take turns within a repetition, so that changes in the machine's load hit all of them.

import FoundationEssentials
import LinuxIO

/// One invocation of the measurement.
final class Benchmark {
    private static let unbatchedRate = 20_000.0
    private static let roundTripSize = 200
    /// How long after the last datagram was sent it may still arrive, in nanoseconds.
    private static let grace: Int64 = 20_000_000

    private let sizes: [Int]
    private let repetitions: Int
    private let seconds: Double
    private let rate: Double?
    private let sink: Sink
    private let workspace: Workspace
    private let signals: SignalSource
    private var contenders: [Contender] = []
    private var measurements: [Measurement] = []
    private var absent: [String: String] = [:]
    private var lastRun: UInt64 = 0

    /// Starts the contenders; those that cannot start are left out, and the report says why.
    ///
    /// With `rate` all send at it, in datagrams per second, and no highest rate is searched for.
    init(
        contenders kinds: [ContenderKind], sizes: [Int], repetitions: Int, seconds: Double, rate: Double?,
        culvert: String?, baseline: String?
    ) throws {
        self.sizes = sizes
        self.repetitions = repetitions
        self.seconds = seconds
        self.rate = rate
        signals = try SignalSource([.interrupt, .terminate])
        sink = try Sink()
        workspace = try Workspace(culvert: culvert, baseline: baseline)
        for kind in kinds {
            do {
                contenders.append(try Contender(kind, sink: sink, workspace: workspace))
                measurements += sizes.map { Measurement(contender: kind, datagramSize: $0) }
            } catch {
                absent[kind.rawValue] = "\(error)\(workspace.lastWords(of: kind))"
                say("\(kind.rawValue): cannot be measured: \(error)")
            }
        }
    }

    /// Measures everything.
    func run() throws -> Report {
        for repetition in 1...repetitions {
            for size in sizes {
                for contender in contenders where absent[contender.kind.rawValue] == nil {
                    do {
                        try measure(contender, size: size, repetition: repetition)
                    } catch let error as BenchError where !contender.isRunning {
                        absent[contender.kind.rawValue] = "\(error)\(workspace.lastWords(of: contender.kind))"
                    }
                }
            }
        }
        return Report(
            machine: machineDescription(), trialSeconds: seconds, repetitions: repetitions, measurements: measurements,
            absent: absent)
    }

    private func measure(_ contender: Contender, size: Int, repetition: Int) throws {
        guard
            let index = measurements.firstIndex(where: {
                $0.contender == contender.kind && $0.datagramSize == size
            })
        else { return }
        let trial = try batched(contender, size: size, &measurements[index])
        if contender.kind != .direct {
            measurements[index].cpuBatched.add(trial.cpuPerDatagram)
            let unbatched = try self.trial(contender, size: size, rate: Self.unbatchedRate, seconds: seconds, burst: 1)
            measurements[index].cpuUnbatched.add(unbatched.cpuPerDatagram)
        }
        if size == Self.roundTripSize {
            let (median, high) = try roundTrips(contender, size: size)
            measurements[index].roundTripMedian.add(median)
            measurements[index].roundTrip99.add(high)
        }
        let cost = contender.kind == .direct ? "" : ", \(fixed(trial.cpuPerDatagram, digits: 2)) us CPU each"
        let loss = trial.loss > 0.001 ? ", \(fixed(trial.loss * 100, digits: 1)) % lost" : ""
        say(
            "\(repetition)/\(repetitions) \(contender.kind.rawValue), \(size) bytes: "
                + "\(fixed(trial.offeredRate / 1000, digits: 1)) kpps\(loss)\(cost)")
    }

    /// The trial at the highest rate, which is searched for and noted, or at the rate that was asked for.
    private func batched(_ contender: Contender, size: Int, _ measurement: inout Measurement) throws -> Trial {
        if let rate { return try trial(contender, size: size, rate: rate, seconds: seconds, burst: Sender.burst) }
        let search = RateSearch(fullTrial: seconds, shortTrial: min(seconds, 0.4)) { rate, time in
            try self.trial(contender, size: size, rate: rate, seconds: time, burst: Sender.burst)
        }
        let outcome = try measurement.highestRate.values.last.map { try search.run(near: $0) } ?? search.run()
        measurement.highestRate.add(outcome.rate)
        if outcome.isLowerBound { measurement.rateIsLowerBound = true }
        return outcome.trial
    }

    /// One rate for some time.
    private func trial(_ contender: Contender, size: Int, rate: Double, seconds: Double, burst: Int) throws -> Trial {
        try checkSignals()
        guard contender.isRunning else { throw BenchError("a process has ended") }
        lastRun += 1
        sink.begin(run: lastRun)
        let before = contender.cpuTime
        let (sent, time) = try contender.sender.send(
            run: lastRun, size: size, rate: rate, seconds: seconds, burst: burst)
        // What comes later than this waited in a queue: the rate was more than the contender keeps up with.
        try contender.sender.pause(nanoseconds: Self.grace)
        let received = sink.received
        // Neither its late datagrams nor their CPU time may fall into the next trial.
        var late = received
        for _ in 0..<100 {
            try contender.sender.pause(nanoseconds: 20_000_000)
            if sink.received == late { break }
            late = sink.received
        }
        return Trial(
            sent: sent, received: received, offeredRate: Double(sent) / time, cpuTime: contender.cpuTime - before)
    }

    /// The median and the 99th percentile of many round trips, one each millisecond, in microseconds.
    private func roundTrips(_ contender: Contender, size: Int) throws -> (median: Double, high: Double) {
        try checkSignals()
        lastRun += 1
        var times: [Double] = []
        let begin = MonotonicClock.now
        let end = begin + Int64(seconds * 1e9)
        var sequence: UInt64 = 0
        while MonotonicClock.now < end {
            if let time = try contender.sender.roundTrip(run: lastRun, sequence: sequence, size: size) {
                times.append(Double(time) / 1000)
            }
            sequence += 1
            try contender.sender.pause(nanoseconds: begin + Int64(sequence) * 1_000_000 - MonotonicClock.now)
        }
        guard times.count * 10 >= Int(sequence) * 9 else { throw BenchError("too few echoes came back") }
        times.sort()
        return (times[times.count / 2], times[min(times.count - 1, times.count * 99 / 100)])
    }

    private func checkSignals() throws {
        if signals.next() != nil { throw BenchError("interrupted") }
    }
}

/// The machine that it is measured on.
func machineDescription() -> String {
    func text(_ path: String) -> String { (try? String(contentsOfFile: path, encoding: .utf8)) ?? "" }
    let model = text("/proc/cpuinfo").split(separator: "\n").first { $0.hasPrefix("model name") }
    let name = model?.split(separator: ":").last.map { $0.drop { $0 == " " } } ?? "unknown processor"
    let kernel = text("/proc/sys/kernel/osrelease").split(separator: "\n").first ?? "?"
    return "\(CPUCount.available) x \(name), Linux \(kernel), loopback"
}
