// `culvert status`: is it encrypted, with what, to whom.

import ArgumentParser
import Control
import FoundationEssentials
import LinuxIO

/// Shows what is up.
struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show what is up, encrypted with what, and to whom.",
        discussion: """
            The exit code says whether the daemon could be asked, not how it fares; scripts ask for that with --json, or GET
            /readyz on the control socket.
            """)

    @Flag(help: "Show a live screen, with rates and round-trip times; q ends it.")
    var watch = false

    @OptionGroup var output: JSONOption
    @OptionGroup var control: ControlOptions

    /// The time between the two looks that show whether drops are rising.
    private static let pause = 0.25

    func validate() throws {
        guard watch else { return }
        if output.json {
            throw ValidationError("--watch and --json do not go together; 'culvert events --json' follows.")
        }
        guard Terminal.isTerminal(0), Terminal.isTerminal(1), Environment.value("TERM") ?? "dumb" != "dumb" else {
            throw ValidationError("--watch needs a terminal that can move its cursor; TERM says which it is.")
        }
    }

    func run() throws {
        if watch {
            let client = control.client(timeout: .seconds(3))
            let session = try WatchSession(client)
            let first = try control.ask { _ throws(ControlClientError) in try WatchSession.look(client).get() }
            return try session.run(first, .forOutput())
        }
        if output.json { return try control.printJSON("/v1/status") }
        let report = try control.ask { client throws(ControlClientError) in
            var report = StatusReport(status: try client.status(), tunnels: try client.tunnels(), now: Date())
            // Whether something is being dropped at this moment takes a second look; without any drops there is no need to.
            if report.tunnels.contains(where: { !$0.dropped.isEmpty }) {
                try report.lookAgain(client, after: Self.pause)
            }
            return report
        }
        try Answer.print(report.lines(.forOutput()))
    }
}

extension StatusReport {
    /// Finds out what is dropped within `seconds`.
    fileprivate mutating func lookAgain(_ client: ControlClient, after seconds: Double) throws(ControlClientError) {
        let begin = MonotonicClock.now
        Pause.seconds(seconds)
        let later = try client.tunnels()
        self.seconds = Double(MonotonicClock.now - begin) / 1e9
        let before = Dictionary(tunnels.map { ($0.name, $0.dropped) }) { first, _ in first }
        for tunnel in later {
            drops[tunnel.name] = TunnelWarnings.growth(of: tunnel.dropped, since: before[tunnel.name] ?? tunnel.dropped)
        }
    }
}
