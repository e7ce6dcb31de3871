// The events of all threads, in one order, for those who follow them. Whoever tells an event never waits for a
// follower: a listener only puts events into its own queue, which it bounds itself.

import Control
import FoundationEssentials
import Synchronization

/// Hands events to all who follow them, and remembers the latest.
final class EventHub: Sendable {
    /// Takes an event, on whatever thread tells it and with the hub's lock held: it must only put the event into a queue,
    /// never wait and never call the hub.
    typealias Listener = @Sendable (ControlEvent) -> Void

    private struct State {
        var lastEvent: UInt64 = 0
        var recent: [ControlEvent] = []
        var lastListener = 0
        var listeners: [Int: Listener] = [:]
    }

    private let state = Mutex(State())

    /// Makes a hub that nobody follows.
    init() {}

    /// How many events are remembered.
    static let capacity = 256

    /// Numbers an event and hands it to everybody.
    func publish(_ event: DaemonEvent) {
        state.withLock { state in
            state.lastEvent += 1
            let numbered = ControlEvent(event, id: state.lastEvent, time: Date())
            if state.recent.count == Self.capacity { state.recent.removeFirst() }
            state.recent.append(numbered)
            for listener in state.listeners.values { listener(numbered) }
        }
    }

    /// Follows the events: first the remembered ones after the event `id` (0 for all of them, nil for none), then every
    /// new one, until the subscription is cancelled. None is missing between the two, and none comes after that.
    func subscribe(after id: UInt64? = nil, _ listener: @escaping Listener) -> ControlSubscription {
        let number = state.withLock { state in
            if let id {
                for event in state.recent where event.id > id { listener(event) }
            }
            state.lastListener += 1
            state.listeners[state.lastListener] = listener
            return state.lastListener
        }
        return ControlSubscription { [weak self] in
            // Let go outside the lock: what the listener owns may itself have a lock.
            _ = self?.state.withLock { $0.listeners.removeValue(forKey: number) }
        }
    }
}
