// Requests to a control socket at a steady rate, a connection for each, as scripts make them.

import Control
import LinuxIO
import Synchronization

/// Asks until it is stopped.
final class ControlLoad {
    private final class Shared: Sendable {
        let isStopping = Atomic<Bool>(false)
        let answered = Atomic<Int>(0)
        let failed = Atomic<Int>(0)
    }

    private static let threadCount = 4
    private static let targets = ["/v1/status", "/v1/tunnels", "/v1/associations", "/v1/flows", "/v1/metrics"]

    private let shared = Shared()
    private var threads: [ControlThread] = []

    /// Holds a thread that is joined once.
    private final class ControlThread {
        private var thread: NativeThread?
        init(_ thread: consuming NativeThread) { self.thread = consume thread }
        func join() { thread.take()?.join() }
    }

    /// Begins to ask the daemon behind `socket`, `rate` times per second.
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
            threads.append(ControlThread(thread))
        }
    }

    /// Ends it; answers how many requests had an answer and how many had none.
    func stop() -> (answered: Int, failed: Int) {
        shared.isStopping.store(true, ordering: .releasing)
        for thread in threads { thread.join() }
        return (shared.answered.load(ordering: .acquiring), shared.failed.load(ordering: .acquiring))
    }
}
