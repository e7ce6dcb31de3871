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

    @OptionGroup var output: JSONOption
    @OptionGroup var control: ControlOptions

    /// Between the two looks that tell whether drops are rising.
    private static let pause = 0.25

    func run() throws {
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
