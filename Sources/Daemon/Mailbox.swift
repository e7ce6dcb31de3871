// How threads talk to a worker: messages in a queue under a lock, and a descriptor that wakes its poller.

import LinuxIO
import Synchronization

/// A queue of messages to one thread.
final class Mailbox<Message: Sendable>: Sendable {
    /// What the receiving thread polls.
    let wakeup: Wakeup
    private let messages = Mutex<[Message]>([])

    init() throws(SystemError) {
        wakeup = try Wakeup()
    }

    /// Adds a message. To be called from any thread.
    func post(_ message: Message) {
        messages.withLock { $0.append(message) }
        wakeup.signal()
    }

    /// Takes all waiting messages, in order. To be called from the receiving thread.
    func takeAll() -> [Message] {
        wakeup.drain()
        return messages.withLock { queue in
            defer { queue = [] }
            return queue
        }
    }
}
