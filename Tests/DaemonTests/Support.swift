// A log in a file of its own, configurations without the files that they name, and workers that do as a test says.

import Configuration
import Control
import Foundation
import LinuxIO
import OpenSSL
import Synchronization
import Testing
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

extension Configuration {
    /// Reads a configuration and plans its groups, with none of the files that it names.
    static func planned(_ text: String) throws -> (Configuration, [GroupPlan]) {
        let source = ConfigurationSource(name: "culvert.toml", text: text)
        let (read, diagnostics) = Configuration.parse(sources: [source])
        let configuration = try #require(read, "\(diagnostics)")
        let context = try HandshakeContext(.client, .init())
        let plans = configuration.groups.map {
            GroupPlan(tunnels: $0.map { TunnelPlan(settings: $0, context: context) })
        }
        return (configuration, plans)
    }
}

/// A worker without sockets: it keeps account of its groups, and refuses those that it is to refuse.
final class AccountingWorker: Sendable {
    private struct State {
        var groups: [Int: [String]] = [:]
        var refused: (String) -> Bool = { _ in false }
        var log: [String] = []
    }

    let mailbox: Mailbox<WorkerMessage>
    private let state = Mutex(State())
    private let ended = DispatchSemaphore(value: 0)

    init() throws {
        mailbox = try Mailbox()
        Thread { [self] in
            while !handleMessages() { mailbox.wakeup.wait() }
            ended.signal()
        }.start()
    }

    /// Ends it and waits for that.
    func stop() {
        mailbox.post(.stop)
        ended.wait()
    }

    /// The tunnels of each group.
    var groups: [Int: [String]] { state.withLock { $0.groups } }
    /// What it was told, in order.
    var log: [String] { state.withLock { $0.log } }

    /// From now on it begins no group whose tunnels' names, with commas between, are `refused`.
    func refuse(_ refused: @escaping @Sendable (String) -> Bool) { state.withLock { $0.refused = refused } }

    /// Answers true when it is to stop.
    private func handleMessages() -> Bool {
        for message in mailbox.takeAll() {
            switch message {
            case .stop: return true
            case .add(let plan, let group, let give):
                let isRefused = state.withLock { state in
                    let isRefused = state.refused(plan.name)
                    state.log.append("\(isRefused ? "refused" : "added") \(plan.name)")
                    if !isRefused { state.groups[group] = plan.tunnels.map(\.name) }
                    return isRefused
                }
                give(isRefused ? WorkerFailure(description: "tunnel '\(plan.name)': too many open files") : nil)
            case .remove(let group, let give):
                state.withLock { state in
                    guard let names = state.groups.removeValue(forKey: group) else { return }
                    state.log.append("removed \(names.joined(separator: ", "))")
                }
                give()
            case .update(let plan, _): state.withLock { $0.log.append("updated \(plan.name)") }
            case .drain: state.withLock { $0.log.append("drains") }
            default: break
            }
        }
        return false
    }
}
