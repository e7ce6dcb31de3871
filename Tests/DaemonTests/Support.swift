// A log in a file of its own.

import Control
import Foundation
import LinuxIO
import Synchronization
import TestSupport

@testable import Daemon

/// What a log has written.
final class LogFile {
    let path: String
    private let directory: TemporaryDirectory

    private init() throws {
        directory = try TemporaryDirectory()
        path = directory("log")
    }

    /// A log, and the file that it writes to. The journal's form finds no journal unless it is named.
    static func make(
        _ form: LogForm, _ level: LogLevel = .info, journalPath: String = "/nowhere/at/all"
    ) throws -> (DaemonLog, LogFile) {
        let file = try LogFile()
        let sink = LogSink(form, file: try LineFile(appendingTo: file.path), journalPath: journalPath)
        return (DaemonLog(level: level, sink), file)
    }

    /// Its lines.
    var lines: [String] {
        (try? String(contentsOfFile: path, encoding: .utf8))?.split(separator: "\n").map(String.init) ?? []
    }

    /// The lines of the text form without their times.
    var messages: [String] { lines.map { $0.split(separator: " ", maxSplits: 1).last.map(String.init) ?? "" } }
}

/// What has come from a hub.
final class Followed: Sendable {
    private final class Taken: Sendable {
        let events = Mutex<[ControlEvent]>([])
    }

    private let taken: Taken
    private let subscription: ControlSubscription

    init(_ hub: EventHub, after id: UInt64? = nil) {
        let taken = Taken()
        self.taken = taken
        subscription = hub.subscribe(after: id) { event in taken.events.withLock { $0.append(event) } }
    }

    var events: [ControlEvent] { taken.events.withLock { $0 } }
    var messages: [String] { events.map(\.message) }

    func cancel() { subscription.cancel() }
}
