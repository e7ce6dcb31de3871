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

    /// The way to talk to them.
    let workers: Workers
    private var threads: [OpaqueThread] = []

    /// A joinable thread in an array.
    private final class OpaqueThread {
        private var thread: NativeThread?

        init(_ thread: consuming NativeThread) { self.thread = consume thread }

        func join() { thread.take()?.join() }
    }

    /// Starts `count` workers and waits until each has opened its sockets.
    init(count: Int, plans: [GroupPlan], log: DaemonLog) throws(WorkerFailure) {
        let resolver = Resolver()
        var mailboxes: [Mailbox<WorkerMessage>] = []
        do {
            for _ in 0..<count { mailboxes.append(try Mailbox()) }
            workers = try Workers(mailboxes)
        } catch {
            throw WorkerFailure(description: "\(error)")
        }
        for number in 0..<count {
            do throws(WorkerFailure) {
                try startWorker(number, count: count, plans: plans, resolver: resolver, log: log)
            } catch {
                stop()
                throw error
            }
        }
    }

    /// Has every worker say goodbye to its peers, and waits until all have ended.
    func stop() {
        for mailbox in workers.mailboxes { mailbox.post(.stop) }
        for thread in threads { thread.join() }
        threads = []
    }

    private func startWorker(
        _ number: Int, count: Int, plans: [GroupPlan], resolver: Resolver, log: DaemonLog
    ) throws(WorkerFailure) {
        let mailbox = workers.mailboxes[number]
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
            while start.result.withLock({ $0 == nil }) { start.done.wait() }
            if case .failure(let failure) = start.result.withLock({ $0 }) { throw failure }
        } catch let failure as WorkerFailure {
            throw failure
        } catch {
            throw WorkerFailure(description: "\(error)")
        }
    }
}
