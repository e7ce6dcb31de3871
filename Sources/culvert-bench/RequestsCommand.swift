// `culvert-bench requests`: asks a daemon over its control socket at a steady rate, a connection for each request, as scripts do.

import ArgumentParser
import Control
import LinuxIO
import Synchronization

struct RequestsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "requests",
        abstract: "Asks a daemon over its control socket at a steady rate.",
        discussion: "Ends on SIGINT or SIGTERM, and says how many requests were answered and how many were not.")

    @Option(help: ArgumentHelp("The daemon's control socket.", valueName: "path"))
    var socket: String

    @Option(help: "Requests per second.")
    var rate: Double = 1000

    func validate() throws {
        guard (1...100_000).contains(rate) else { throw ValidationError("the rate is from 1 to 100000") }
    }

    func run() throws {
        let signals = try SignalSource([.interrupt, .terminate])
        let poller = try Poller()
        try poller.add(signals.descriptor, token: 0)
        let requests = try Requests(socket: socket, rate: rate)
        while signals.next() == nil { try poller.wait(nanoseconds: nil) { _ in } }
        let (answered, failed) = requests.stop()
        say("\(answered) answered, \(failed) failed")
    }
}

/// Asks until it is stopped, on a few threads, because each of them waits for its answers.
private final class Requests {
    private final class Shared: Sendable {
        let isStopping = Atomic<Bool>(false)
        let answered = Atomic<Int>(0)
        let failed = Atomic<Int>(0)
    }

    /// A thread that is joined once.
    private final class Asking {
        private var thread: NativeThread?
        init(_ thread: consuming NativeThread) { self.thread = consume thread }
        func join() { thread.take()?.join() }
    }

    private static let threadCount = 4
    private static let targets = ["/v1/status", "/v1/tunnels", "/v1/associations", "/v1/flows", "/v1/metrics"]

    private let shared = Shared()
    private var threads: [Asking] = []

    init(socket: String, rate: Double) throws {
        let shared = shared
        let interval = Double(Self.threadCount) * 1e9 / rate
        for number in 0..<Self.threadCount {
            let thread = try NativeThread.start(name: "asking") {
                guard let poller = try? Poller(capacity: 1) else { return }
                let control = ControlClient(path: socket)
                let begin = MonotonicClock.now
                var count = 0
                while !shared.isStopping.load(ordering: .acquiring) {
                    let response = try? control.get(Self.targets[(number + count) % Self.targets.count])
                    if response?.status == 200 {
                        shared.answered.add(1, ordering: .relaxed)
                    } else {
                        shared.failed.add(1, ordering: .relaxed)
                    }
                    count += 1
                    let due = begin + Int64(Double(count) * interval)
                    while case let left = due - MonotonicClock.now, left > 0 {
                        guard (try? poller.wait(nanoseconds: left, { _ in })) != nil else { return }
                    }
                }
            }
            threads.append(Asking(thread))
        }
    }

    func stop() -> (answered: Int, failed: Int) {
        shared.isStopping.store(true, ordering: .releasing)
        for thread in threads { thread.join() }
        return (shared.answered.load(ordering: .acquiring), shared.failed.load(ordering: .acquiring))
    }
}
