// All workers of the daemon: started together, asked together, stopped together.

import LinuxIO
import Logging
import OpenSSL
import Synchronization

/// The running workers.
final class WorkerPool {
    /// How a worker says that it has started, or why not.
    private final class Start: Sendable {
        let result = Mutex<Result<Void, WorkerFailure>?>(nil)
        let done: Wakeup

        init() throws(SystemError) { done = try Wakeup() }
    }

    /// How to talk to them.
    let workers: Workers
    private var threads: [OpaqueThread] = []

    /// A joinable thread in an array.
    private final class OpaqueThread {
        private var thread: NativeThread?

        init(_ thread: consuming NativeThread) { self.thread = consume thread }

        func join() { thread.take()?.join() }
    }

    /// Makes a worker carry datagrams until it is told to stop.
    typealias Run = @Sendable (Worker) throws(SystemError) -> Void

    /// Starts `count` workers and waits until each has opened its sockets.
    ///
    /// Without one of its workers a daemon serves only some of its senders, so it must not go on: `failed` is called
    /// for each worker that ends by itself, on its thread. Until ``stop()`` such a worker still answers messages, with
    /// refusals.
    init(
        count: Int, plans: [GroupPlan], log: DaemonLog, run: @escaping Run,
        failed: @escaping @Sendable (WorkerFailure) -> Void
    ) throws(WorkerFailure) {
        let resolver = Resolver()
        var mailboxes: [Mailbox<WorkerMessage>] = []
        let secret: CookieSecret
        do {
            secret = try CookieSecret()
            for _ in 0..<count { mailboxes.append(try Mailbox()) }
            workers = try Workers(mailboxes)
        } catch {
            throw WorkerFailure(description: "\(error)")
        }
        for number in 0..<count {
            do throws(WorkerFailure) {
                try startWorker(number, log: log, run: run, failed: failed) { [workers] () throws(WorkerFailure) in
                    try Worker(
                        number: number, plans: plans, workers: workers.mailboxes, secret: secret, resolver: resolver,
                        log: log)
                }
            } catch {
                stop()
                throw error
            }
        }
        workers.begin()
    }

    /// Has every worker say goodbye to its peers, and waits until all have ended.
    func stop() {
        for mailbox in workers.mailboxes { mailbox.post(.stop) }
        for thread in threads { thread.join() }
        threads = []
    }

    private func startWorker(
        _ number: Int, log: DaemonLog, run: @escaping Run, failed: @escaping @Sendable (WorkerFailure) -> Void,
        make: @escaping @Sendable () throws(WorkerFailure) -> Worker
    ) throws(WorkerFailure) {
        let mailbox = workers.mailboxes[number]
        do {
            let start = try Start()
            let thread = try NativeThread.start(name: "worker-\(number)") {
                let worker: Worker
                do throws(WorkerFailure) {
                    worker = try make()
                } catch {
                    start.result.withLock { $0 = .failure(error) }
                    start.done.signal()
                    return
                }
                start.result.withLock { $0 = .success(()) }
                start.done.signal()
                do throws(SystemError) {
                    try run(worker)
                } catch {
                    let failure = WorkerFailure(description: "worker \(number) cannot go on: \(error)")
                    log.write(.critical, "\(failure); the daemon ends")
                    failed(failure)
                    mailbox.refuseAll(because: failure)
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

extension Mailbox<WorkerMessage> {
    /// Answers everything with a refusal until told to stop: nobody must wait for ever for a worker that has ended.
    fileprivate func refuseAll(because failure: WorkerFailure) {
        while true {
            wakeup.wait()
            for message in takeAll() {
                switch message {
                case .stop: return
                case .report(_, let give): give([])
                case .act(_, group: _, serial: _, let give): give(.refused(failure.description))
                case .add(_, group: _, let give): give(failure)
                case .remove(group: _, let give): give()
                case .addresses, .update, .drain, .begin, .findOut, .found: break
                }
            }
        }
    }
}
