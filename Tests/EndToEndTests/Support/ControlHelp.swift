// What tests of the control API share: a client for a daemon's socket, its events, and its page over TCP.

import Control
import Foundation
import Synchronization
import Testing
import TestSupport

extension Daemon {
    /// The commands' way to the daemon.
    var client: ControlClient { ControlClient(path: control.path) }

    /// POST `target`: the status and the JSON object that came.
    func post(_ target: String, json: String? = nil) throws -> (status: Int, body: [String: Any]) {
        let response = try client.post(target, json: json.map { Array($0.utf8) })
        let body = try JSONSerialization.jsonObject(with: Data(response.body)) as? [String: Any]
        return (response.status, body ?? [:])
    }

    /// The one tunnel's name to whom it is established: the first association's id.
    func firstID() throws -> String { try #require(try client.associations().first?.id, "\(log)") }
}

/// All events of a daemon from now on, read by a thread of its own until the daemon ends.
final class EventRecord: Sendable {
    private final class Events: Sendable {
        let list = Mutex<[ControlEvent]>([])
        let isAbandoned = Mutex(false)
    }

    private let events = Events()

    init(_ daemon: Daemon, tunnel: String? = nil) {
        let client = daemon.client
        let events = events
        Thread {
            // What the daemon still remembers comes first, so that nothing falls between the start and the first look.
            try? client.events(of: tunnel, after: 0) { event in
                events.list.withLock { $0.append(event) }
                return !events.isAbandoned.withLock { $0 }
            }
        }.start()
    }

    deinit { events.isAbandoned.withLock { $0 = true } }

    /// What has come so far.
    var all: [ControlEvent] { events.list.withLock { $0 } }

    /// Waits for an event that `condition` holds for.
    @discardableResult
    func expect(
        _ type: ControlEvent.Kind, within time: Duration = .seconds(20), file: StaticString = #fileID,
        line: UInt = #line, where condition: (ControlEvent) -> Bool = { _ in true }
    ) async throws -> ControlEvent {
        try await eventually(
            "\(type.rawValue) among \(all.map { "\($0.type.rawValue): \($0.message)" })", within: time, file: file,
            line: line
        ) { all.first { $0.type == type && condition($0) } }
    }
}
