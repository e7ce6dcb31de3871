// How the control plane talks to the workers: by messages to all of them, or to the one that is concerned.

import LinuxIO
import Synchronization

/// The workers, as other threads know them.
struct Workers: Sendable {
    /// One for each worker, by its number.
    let mailboxes: [Mailbox<WorkerMessage>]
    /// Their answers to the thread that waits. It is made at the start, because a lack of descriptors must not keep
    /// groups from ending.
    private let answers: Mailbox<WorkerFailure?>

    init(_ mailboxes: [Mailbox<WorkerMessage>]) throws(SystemError) {
        self.mailboxes = mailboxes
        answers = try Mailbox()
    }

    /// How many workers there are.
    var count: Int { mailboxes.count }

    /// Asks every worker for what a status shows; `give` gets all of it, from a worker's thread.
    func report(_ request: ReportRequest, _ give: @escaping @Sendable ([GroupReport]) -> Void) {
        let collected = Collection(expected: mailboxes.count, give: give)
        for mailbox in mailboxes { mailbox.post(.report(request) { collected.add($0) }) }
    }

    /// Has a command carried out on an association.
    func act(_ act: AssociationAct, _ position: ReportPosition, _ give: @escaping @Sendable (ActOutcome) -> Void) {
        guard mailboxes.indices.contains(position.worker) else { return give(.notFound) }
        mailboxes[position.worker].post(.act(act, group: position.group, serial: position.serial, give))
    }

    /// Gives every worker a group; blocks until all have opened its sockets. If one cannot, none keeps the group. To be
    /// called from one thread only, like ``remove(_:)``.
    func add(_ plan: GroupPlan, as group: Int) throws(WorkerFailure) {
        let failures = gather { mailbox, done in mailbox.post(.add(plan, group: group) { done($0) }) }
        guard let failure = failures.compactMap({ $0 }).first else { return begin() }
        remove(group)
        throw failure
    }

    /// Lets every worker begin with the groups whose sockets all of them have opened.
    func begin() {
        for mailbox in mailboxes { mailbox.post(.begin) }
    }

    /// Has every worker end a group, and waits for that.
    func remove(_ group: Int) {
        _ = gather { mailbox, done in mailbox.post(.remove(group: group) { done(nil) }) }
    }

    /// Gives every worker a group's changed settings.
    func update(_ plan: GroupPlan, group: Int) {
        for mailbox in mailboxes { mailbox.post(.update(plan, group: group)) }
    }

    /// Makes every worker accept nothing new.
    func drain() {
        for mailbox in mailboxes { mailbox.post(.drain) }
    }

    /// Asks every worker and waits for all answers.
    private func gather(
        _ ask: (Mailbox<WorkerMessage>, @escaping @Sendable (WorkerFailure?) -> Void) -> Void
    ) -> [WorkerFailure?] {
        for mailbox in mailboxes { ask(mailbox) { [answers] in answers.post($0) } }
        var given: [WorkerFailure?] = []
        while given.count < mailboxes.count {
            answers.wakeup.wait()
            given += answers.takeAll()
        }
        return given
    }

    /// Gathers the workers' reports.
    private final class Collection: Sendable {
        private let state: Mutex<(missing: Int, reports: [GroupReport])>
        private let give: @Sendable ([GroupReport]) -> Void

        init(expected: Int, give: @escaping @Sendable ([GroupReport]) -> Void) {
            state = Mutex((expected, []))
            self.give = give
        }

        func add(_ reports: [GroupReport]) {
            let complete: [GroupReport]? = state.withLock { state in
                state.missing -= 1
                state.reports += reports
                return state.missing == 0 ? state.reports : nil
            }
            if let complete { give(complete) }
        }
    }
}
