// All workers of the daemon: started together, asked together, stopped together.

import LinuxIO
import Logging
import Synchronization

/// The running workers.
final class WorkerPool {
    /// A worker's way of saying that it has started, or why not.
    private final class Start: Sendable {
        let result = Mutex<Result<Void, WorkerFailure>?>(nil)
        let done: Wakeup

        init() throws(SystemError) { done = try Wakeup() }
    }

    private let mailboxes: [Mailbox<WorkerMessage>]
    private var threads: [OpaqueThread] = []

    /// A joinable thread in an array.
    private final class OpaqueThread {
        private var thread: NativeThread?

        init(_ thread: consuming NativeThread) { self.thread = consume thread }

        func join() { thread.take()?.join() }
    }

    /// Starts `count` workers and waits until each has opened its sockets.
    init(count: Int, plans: [TunnelPlan], log: DaemonLog) throws(WorkerFailure) {
        let resolver = Resolver()
        var mailboxes: [Mailbox<WorkerMessage>] = []
        do {
            for _ in 0..<count { mailboxes.append(try Mailbox()) }
        } catch {
            throw WorkerFailure(description: "\(error)")
        }
        self.mailboxes = mailboxes
        for number in 0..<count {
            do throws(WorkerFailure) {
                try startWorker(number, count: count, plans: plans, resolver: resolver, log: log)
            } catch {
                stop()
                throw error
            }
        }
    }

    /// Asks every worker for its associations; `give` gets all of them, from a worker's thread.
    func report(_ give: @escaping @Sendable ([WorkerReport]) -> Void) {
        let collected = Collection(expected: mailboxes.count, give: give)
        for mailbox in mailboxes { mailbox.post(.report { collected.add($0) }) }
    }

    /// Has every worker say goodbye to its peers, and waits until all have ended.
    func stop() {
        for mailbox in mailboxes { mailbox.post(.stop) }
        for thread in threads { thread.join() }
        threads = []
    }

    private func startWorker(
        _ number: Int, count: Int, plans: [TunnelPlan], resolver: Resolver, log: DaemonLog
    ) throws(WorkerFailure) {
        let mailbox = mailboxes[number]
        do {
            let start = try Start()
            let thread = try NativeThread.start(name: "worker-\(number)") {
                let worker: Worker
                do throws(WorkerFailure) {
                    worker = try Worker(
                        number: number, plans: plans, isAlone: count == 1, mailbox: mailbox, resolver: resolver,
                        log: log)
                } catch {
                    start.result.withLock { $0 = .failure(error) }
                    start.done.signal()
                    return
                }
                start.result.withLock { $0 = .success(()) }
                start.done.signal()
                do {
                    try worker.run()
                } catch {
                    log.write(.critical, "worker \(number) ended: \(error)")
                }
            }
            threads.append(OpaqueThread(thread))
            let poller = try Poller(capacity: 1)
            try poller.add(start.done.descriptor, token: 0)
            while start.result.withLock({ $0 == nil }) { try poller.wait(nanoseconds: nil) { _ in } }
            if case .failure(let failure) = start.result.withLock({ $0 }) { throw failure }
        } catch let failure as WorkerFailure {
            throw failure
        } catch {
            throw WorkerFailure(description: "\(error)")
        }
    }

    /// Gathers the workers' reports.
    private final class Collection: Sendable {
        private let state: Mutex<(missing: Int, reports: [WorkerReport])>
        private let give: @Sendable ([WorkerReport]) -> Void

        init(expected: Int, give: @escaping @Sendable ([WorkerReport]) -> Void) {
            state = Mutex((expected, []))
            self.give = give
        }

        func add(_ reports: [WorkerReport]) {
            let complete: [WorkerReport]? = state.withLock { state in
                state.missing -= 1
                state.reports += reports
                return state.missing == 0 ? state.reports : nil
            }
            if let complete { give(complete) }
        }
    }
}
