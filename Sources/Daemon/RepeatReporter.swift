// Tells in time how often lines were withheld. The count is told when its window is over, not with the next line: that
// may never come, and the count is there to show what would otherwise go unseen.

import DTLS
import LinuxIO
import Synchronization

/// A thread that waits for a log's deadlines, and does not wake while nothing is withheld.
final class RepeatReporter {
    private let log: DaemonLog
    private let stopping: Stopping
    private var thread: NativeThread?

    /// Says when to stop.
    private final class Stopping: Sendable {
        let flag = Atomic<Bool>(false)
    }

    /// Starts it; if no thread can be had, the counts come with the next lines.
    init(_ log: DaemonLog) {
        self.log = log
        let stopping = Stopping()
        self.stopping = stopping
        guard let alarm = log.alarm else { return }
        thread = try? NativeThread.start(name: "log") {
            guard let poller = try? Poller(capacity: 1), (try? poller.add(alarm.descriptor, token: 0)) != nil else {
                return
            }
            while !stopping.flag.load(ordering: .acquiring) {
                let now = MonotonicClock.now
                let deadline = log.tellRepeated(now: Instant(nanoseconds: now))
                // Deadlines that are close to each other are dealt with together.
                let wait = deadline.map { max($0.nanoseconds - now, 1_000_000_000) }
                guard (try? poller.wait(nanoseconds: wait) { _ in }) != nil else { return }
                alarm.drain()
            }
        }
    }

    /// Tells what is still withheld and ends the thread.
    func stop() {
        stopping.flag.store(true, ordering: .releasing)
        log.alarm?.signal()
        thread.take()?.join()
        _ = log.tellRepeated(now: Instant(nanoseconds: MonotonicClock.now), all: true)
    }
}
