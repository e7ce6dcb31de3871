// The events that one client still has to be told. They are offered from any thread and taken on the event loop; a client that
// reads more slowly than things happen loses the newest ones and is told how many, so that memory stays bounded and nobody
// ever waits for a client.

internal import FoundationEssentials
internal import NIOCore
internal import Synchronization

/// A bounded queue of events from the daemon to a client.
final class EventStream: Sendable {
    static let contentType = "application/x-ndjson"

    private struct State {
        var events: [ControlEvent] = []
        var lost: UInt64 = 0
        var lastID: UInt64 = 0
        var isWaking = false
        var wake: NIOLoopBound<() -> Void>?
    }

    private let limit: Int
    private let eventLoop: any EventLoop
    private let state = Mutex(State())
    private let loopSide: NIOLoopBoundBox<LoopSide>

    private struct LoopSide {
        var subscription: ControlSubscription?
        var ended: (() -> Void)?
    }

    /// An empty stream for at most `limit` events; `ended` is called when it ends. On the event loop only.
    init(limit: Int, eventLoop: any EventLoop, ended: @escaping () -> Void) {
        self.limit = max(1, limit)
        self.eventLoop = eventLoop
        loopSide = NIOLoopBoundBox(LoopSide(ended: ended), eventLoop: eventLoop)
    }

    /// The subscription that brings the events. On the event loop only.
    var subscription: ControlSubscription? {
        get { loopSide.value.subscription }
        set { loopSide.value.subscription = newValue }
    }

    /// Has `wake` called on the event loop whenever there is something to take after there was nothing. On the event loop only.
    func start(_ wake: @escaping () -> Void) {
        let bound = NIOLoopBound(wake, eventLoop: eventLoop)
        state.withLock { $0.wake = bound }
        wake()
    }

    /// Adds an event, from any thread.
    func offer(_ event: ControlEvent) {
        let wake: NIOLoopBound<() -> Void>? = state.withLock { state in
            // Once something is lost, everything is lost until the client has been told, so that the gap is in one
            // place.
            if state.lost > 0 || state.events.count >= limit {
                state.lost += 1
                state.lastID = event.id
            } else {
                state.events.append(event)
            }
            guard let wake = state.wake, !state.isWaking else { return nil }
            state.isWaking = true
            return wake
        }
        guard let wake else { return }
        eventLoop.execute { wake.value() }
    }

    /// Takes everything that is there. On the event loop only.
    func take() -> [ControlEvent] {
        state.withLock { state in
            state.isWaking = false
            var events = state.events
            state.events = []
            if state.lost > 0 {
                let count = state.lost
                var event = ControlEvent(
                    id: state.lastID, time: Date(), type: .lost, level: "warning",
                    message: "\(count) event\(count == 1 ? "" : "s") left out, because this reader is too slow")
                event.fields = ["count": "\(count)"]
                events.append(event)
                state.lost = 0
            }
            return events
        }
    }

    /// Ends it: nothing is told any more. On the event loop only.
    func end() {
        state.withLock { state in
            state.wake = nil
            state.events = []
        }
        let side = loopSide.value
        loopSide.value = LoopSide()
        side.subscription?.cancel()
        side.ended?()
    }
}
