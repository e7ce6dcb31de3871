// `culvert ping`: a heartbeat now.

import ArgumentParser
import Control
import LinuxIO

/// Asks peers for a sign of life.
struct PingCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ping", abstract: "Send a heartbeat now: round-trip time, path MTU.",
        discussion: """
            Of a tunnel, every established association is asked, up to \(PingCommand.most) of them. The exit code is 1 if a peer
            did not answer.
            """)

    @Argument(help: "A tunnel's name, or an association's id.")
    var target: String

    @Option(help: "How many heartbeats each peer is sent, one a second.")
    var count = 1

    @OptionGroup var output: JSONOption
    @OptionGroup var control: ControlOptions

    private static let most = 32

    func validate() throws {
        guard (1...1_000_000).contains(count) else { throw ValidationError("--count is a number from 1 to 1000000.") }
    }

    func run() throws {
        let ids = try associations()
        var times: [Double] = []
        var sent = 0
        for round in 0..<count {
            let begin = MonotonicClock.now
            for id in ids {
                sent += 1
                if let time = try ping(id) { times.append(time) }
            }
            if round < count - 1 { Pause.seconds(1 - Double(MonotonicClock.now - begin) / 1e9) }
        }
        if sent > 1, !output.json { try Answer.print(Self.summary(sent: sent, times)) }
        if times.count < sent { throw ExitCode(1) }
    }

    /// The associations that `target` means.
    private func associations() throws -> [String] {
        let found = try control.ask { client throws(ControlClientError) in
            try Self.associations(named: target, client)
        }
        guard let all = found else {
            printError("culvert: there is neither a tunnel nor an association '\(target)'")
            throw ExitCode(1)
        }
        guard !all.isEmpty else {
            printError("culvert: tunnel '\(target)' has no established association")
            throw ExitCode(1)
        }
        if all.count > Self.most {
            printError("culvert: asking \(Self.most) of the \(all.count) associations of tunnel '\(target)'")
        }
        return Array(all.prefix(Self.most))
    }

    /// The association of that id, or the established ones of the tunnel of that name; nil without either.
    private static func associations(
        named target: String, _ client: ControlClient
    ) throws(ControlClientError) -> [String]? {
        do { return [try client.association(target).id] } catch {
            guard case .refused(let problem) = error, problem.status == 404 else { throw error }
        }
        guard try !client.tunnels(named: target).isEmpty else { return nil }
        return try client.associations(of: target).filter { $0.state == .established }.map(\.id)
    }

    /// Pings once and says what came of it; the round-trip time in milliseconds, or nil without an answer.
    private func ping(_ id: String) throws -> Double? {
        do {
            let result = try control.client().ping(association: id)
            if output.json { try Answer.print(json: result) } else { try Answer.print(Self.line(for: result)) }
            return result.roundTripMilliseconds
        } catch let error as ControlClientError {
            guard case .refused(let problem) = error, [404, 409, 504].contains(problem.status) else {
                printError("culvert: \(ControlOptions.explanation(of: error))")
                throw ControlOptions.exitCode(for: error)
            }
            printError("\(id): \(problem.detail)")
            return nil
        }
    }

    /// What is printed about one answer.
    static func line(for result: PingResult) -> String {
        var line = "\(result.id) \(result.peerAddress): \(Figures.milliseconds(result.roundTripMilliseconds))"
        if let path = result.pathMTU {
            line +=
                ", path MTU \(path.out) (\(path.state)), datagrams of up to \(path.maximumDatagram) bytes in one packet"
        }
        return line
    }

    /// What is printed about several together.
    static func summary(sent: Int, _ times: [Double]) -> String {
        var line = "\(Figures.number(sent, "heartbeat")), \(times.count) answered"
        if let least = times.min(), let greatest = times.max() {
            let mean = times.reduce(0, +) / Double(times.count)
            line += "; shortest \(Figures.milliseconds(least)), mean \(Figures.milliseconds(mean)), "
            line += "longest \(Figures.milliseconds(greatest))"
        }
        return line
    }
}
