// A worker that cannot go on: it ends the daemon, and nobody waits for its answers for ever.

import Configuration
import Control
import Foundation
import Glibc
import LinuxIO
import Synchronization
import Testing
import TestSupport

@testable import Daemon

@Suite struct `A worker that cannot go on` {
    /// What a thread that may block has come to; nil while it runs.
    private final class Outcome<Value: Sendable>: Sendable {
        private let value = Mutex<Value?>(nil)

        init(_ work: @escaping @Sendable () -> Value) {
            Thread { [self] in
                let result = work()
                value.withLock { $0 = result }
            }.start()
        }

        /// Waits for it, though not for ever.
        func get(_ what: String) async throws -> Value {
            try await eventually(what) { value.withLock { $0 } }
        }
    }

    /// Something that one thread after another uses.
    private struct Unshared<Value>: @unchecked Sendable {
        let value: Value

        init(_ value: Value) { self.value = value }
    }

    /// Lets the first worker fail, once `gate` is open, and others carry on until they are told to stop.
    private func failing(after gate: Wakeup? = nil) -> WorkerPool.Run {
        { worker throws(SystemError) in
            guard worker.number == 0 else { return try worker.run() }
            gate?.wait()
            throw SystemError(EBADF, "epoll_wait")
        }
    }

    @Test func `its failure is told, it answers all questions with a refusal, and it can be stopped`() async throws {
        let (log, file) = try LogFile.make(.text)
        let failures = Mutex<[String]>([])
        let told: @Sendable (WorkerFailure) -> Void = { failure in failures.withLock { $0.append("\(failure)") } }
        let pool = try WorkerPool(count: 2, plans: [], log: log, run: failing(), failed: told)
        let words = "worker 0 cannot go on: epoll_wait: Bad file descriptor"
        try await eventually("the failure") { failures.withLock { $0 } == [words] }
        #expect(file.messages == ["critical \(words); the daemon ends"])

        let workers = pool.workers
        let (_, plans) = try Configuration.planned(
            """
            [trust.default]
            ca = "ca.crt"
            [[tunnel]]
            name = "a"
            listen = "udp://127.0.0.1:\(try FreePorts.next())"
            forward = "dtls://192.0.2.1:6514"
            """)
        let plan = try #require(plans.first)
        let addition = Outcome { () -> String? in
            do throws(WorkerFailure) {
                try workers.add(plan, as: 0)
                return nil
            } catch {
                return error.description
            }
        }
        #expect(try await addition.get("a refusal of a group") == words)
        let acted = Mutex<ActOutcome?>(nil)
        let position = ReportPosition(group: 0, worker: 0, serial: 1)
        workers.act(.close, position) { outcome in acted.withLock { $0 = outcome } }
        try await eventually("an answer") {
            acted.withLock { if case .refused(words)? = $0 { true } else { false } }
        }
        let reported = Mutex(false)
        workers.report(.tunnels) { _ in reported.withLock { $0 = true } }
        try await eventually("a report of those that are left") { reported.withLock { $0 } }
        let removal = Outcome { workers.remove(0) }
        try await removal.get("the end of a group")

        let stop = Outcome { [pool = Unshared(pool)] in pool.value.stop() }
        try await stop.get("the end of all workers")
        #expect(failures.withLock { $0.count } == 1)
    }

    @Test(arguments: [false, true]) func `the daemon ends with its reason`(_ isRunning: Bool) async throws {
        let directory = try TemporaryDirectory()
        let key = try directory.write(String(repeating: "c0ffee07", count: 8), "key.psk")
        #expect(chmod(key, 0o600) == 0)
        let (log, file) = try LogFile.make(.text)
        let (configuration, _) = try Configuration.planned(
            """
            [daemon]
            workers = 2
            control_socket = "\(directory("control.sock"))"
            [identity.default]
            psk_identity = "branch-7"
            psk_file = "\(key)"
            [[tunnel]]
            name = "a"
            sharing = "never"
            listen = "udp://127.0.0.1:\(try FreePorts.next())"
            forward = "dtls://192.0.2.1:6514"
            """)
        // Before the daemon is ready, or when it has been for a while.
        let gate = try Wakeup()
        if !isRunning { gate.signal() }
        let run = failing(after: gate)
        let daemon = Outcome { () -> String in
            do throws(Supervisor.Failure) {
                try Supervisor(configuration, path: nil, log: log, runWorker: run).run()
                return "ended well"
            } catch {
                return error.description
            }
        }
        if isRunning {
            try await eventually("a daemon that is ready") { file.messages.contains { $0.contains("ready: ") } }
            gate.signal()
        }
        let words = try await daemon.get("the end of the daemon")
        #expect(words == "worker 0 cannot go on: epoll_wait: Bad file descriptor")
        #expect(file.messages.contains("critical \(words); the daemon ends"))
        #expect(file.messages.last == "notice stopping")
        #expect(!FileManager.default.fileExists(atPath: directory("control.sock")))
    }
}
