// `culvert events`: what happens, as it happens.

import ArgumentParser
import Control
import Glibc
import LinuxIO
import Synchronization

/// Follows the daemon's events.
struct EventsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "events", abstract: "Follow what happens: established, ended, refused and the like.",
        discussion: "It goes on until it is interrupted; when the daemon ends, the exit code is 69.")

    @OptionGroup var filter: TunnelOption

    @Option(help: ArgumentHelp("Begin with what the daemon remembers after the event of this number.", valueName: "id"))
    var after: UInt64?

    @Flag(help: "Print the control API's JSON, an event a line.")
    var json = false

    @OptionGroup var control: ControlOptions

    func run() throws {
        try filter.check(control)
        try endWithReader()
        let style = TextStyle.forOutput()
        let isRead = Atomic(true)
        try control.ask { client throws(ControlClientError) in
            try client.eventLines(of: filter.tunnel, after: after) { [json] line, event in
                let text = json ? line : event.map { Self.line(for: $0).text(style) }
                if let text, !LineFile.standardOutput.write(text) { isRead.store(false, ordering: .relaxed) }
                return isRead.load(ordering: .relaxed)
            }
        }
        guard isRead.load(ordering: .relaxed) else { return }
        printError("culvert: the daemon has ended")
        throw ControlOptions.unreachable
    }

    /// Ends the program when nobody reads any more, which it would otherwise notice only at the next event.
    private func endWithReader() throws {
        _ = try NativeThread.start(name: "reader") {
            // A file cannot be waited for, and need not be.
            guard let poller = try? Poller(capacity: 1), (try? poller.addForErrors(1, token: 0)) != nil else { return }
            while true {
                guard let count = try? poller.wait(nanoseconds: nil, { _ in }) else { return }
                if count > 0 { Glibc.exit(0) }
            }
        }
    }

    /// An event as a line for people.
    static func line(for event: ControlEvent) -> StyledLine {
        let ink: Ink =
            switch event.level {
            case "warning": .warning
            case "error", "critical": .bad
            default: .plain
            }
        var line = StyledLine(Figures.instant(event.time), .faint)
        line.append("  \(event.level.padded(to: 8))", ink)
        line.append("\(event.type.rawValue.padded(to: 16))  ", ink)
        if !event.tunnels.isEmpty { line.append(event.tunnels.joined(separator: ",") + ": ", .heading) }
        line.append(event.message, ink)
        return line
    }
}
