// A transfer at a steady rate through a contender, and beside it, as another flow, datagrams whose round trips are timed.

import LinuxIO
import Synchronization
import Wire

/// Sends through one contender.
final class Transfer {
    /// What a turn has shown.
    struct Result {
        var trial: Trial
        /// Round trips in microseconds, in the order of their coming.
        var roundTrips: [Double]
    }

    /// How long after the last datagram was sent it may still arrive, in nanoseconds.
    private static let grace: Int64 = 20_000_000

    private let contender: Contender
    private let sink: Sink
    private let size: Int
    private var lastRun: UInt64 = 0

    init(_ contender: Contender, _ sink: Sink, size: Int) {
        self.contender = contender
        self.sink = sink
        self.size = size
    }

    /// Sends at `rate` datagrams per second for some time; with `timed` another flow's round trips are timed meanwhile.
    func run(rate: Double, seconds: Double, timed: Bool) throws -> Result {
        guard contender.isRunning else { throw BenchError("a process has ended") }
        lastRun += 1
        sink.begin(run: lastRun)
        let prober = timed ? try Prober(entry: contender.entry, run: lastRun, size: size) : nil
        let before = contender.cpuTime
        let (sent, time) = try contender.sender.send(
            run: lastRun, size: size, rate: rate, seconds: seconds, burst: Sender.burst)
        try contender.sender.pause(nanoseconds: Self.grace)
        let received = sink.received
        let roundTrips = prober?.stop() ?? []
        let trial = Trial(
            sent: sent, received: received, offeredRate: Double(sent) / time, cpuTime: contender.cpuTime - before)
        // What is late must not fall into the next turn.
        try contender.sender.pause(nanoseconds: 200_000_000)
        return Result(trial: trial, roundTrips: roundTrips)
    }
}

/// Times round trips on a thread of its own, one each millisecond.
private final class Prober {
    private final class Shared: Sendable {
        let isStopping = Atomic<Bool>(false)
        let times = Mutex<[Double]>([])
    }

    private let shared = Shared()
    private var thread: NativeThread?

    init(entry: Endpoint, run: UInt64, size: Int) throws {
        let shared = shared
        thread = try NativeThread.start(name: "prober") {
            guard let sender = try? Sender(to: entry) else { return }
            let begin = MonotonicClock.now
            var sequence: UInt64 = 0
            while !shared.isStopping.load(ordering: .acquiring) {
                let time = try? sender.roundTrip(run: run, sequence: sequence, size: size)
                // The first one may have had to wait for an association.
                if let time, sequence > 0 { shared.times.withLock { $0.append(Double(time) / 1000) } }
                sequence += 1
                let due = begin + Int64(sequence) * 1_000_000
                guard (try? sender.pause(nanoseconds: due - MonotonicClock.now)) != nil else { return }
            }
        }
    }

    /// Ends it and returns the round trips in microseconds.
    func stop() -> [Double] {
        shared.isStopping.store(true, ordering: .releasing)
        thread.take()?.join()
        return shared.times.withLock { $0 }
    }
}
