// What `culvert status` says. The first lines answer for each tunnel: is it encrypted, with what, to whom; before them
// comes only what has to be seen at once, after them what the daemon is.

import Control
import FoundationEssentials

/// The daemon as a whole, as text.
struct StatusReport {
    /// What the daemon says of itself and its tunnels in one line each.
    var status: DaemonStatus
    /// What it says of its tunnels at length.
    var tunnels: [TunnelStatus] = []
    /// By tunnel, what was dropped between two looks, and how many seconds there were between them.
    var drops: [String: [String: UInt64]] = [:]
    var seconds: Double = 1
    /// The moment of the look.
    var now: Date

    /// The whole report.
    func lines(_ style: TextStyle) -> [StyledLine] {
        let known = Dictionary(tunnels.map { ($0.name, $0) }) { first, _ in first }
        let warnings = status.tunnels.map { summary in
            TunnelWarnings(summary, known[summary.name], drops: drops[summary.name] ?? [:], in: seconds, now: now).list
        }
        var lines = verdict(warnings, style)
        let nameWidth = status.tunnels.reduce(0) { max($0, style.printable($1.name).columns) }
        let stateWidth = status.tunnels.reduce(0) { max($0, $1.state.rawValue.columns) }
        let facts = status.tunnels.map { Self.facts(of: $0) }
        let paths = status.tunnels.map { Self.path(of: $0, style) }
        let pathWidth = paths.reduce(0) { max($0, $1.columns) }
        for (index, summary) in status.tunnels.enumerated() {
            let state = summary.state == .down ? "DOWN" : summary.state.rawValue
            var head = StyledLine(style.printable(summary.name).padded(to: nameWidth), .heading)
            head.append("  ")
            head.append(state.padded(to: stateWidth), summary.state.ink)
            head.append("  ")
            lines += Self.lines(
                head, path: paths[index], pathWidth: pathWidth, facts: facts[index], indent: nameWidth + 2, style)
            for warning in warnings[index] {
                let mark = StyledLine(String(repeating: " ", count: nameWidth + 2) + "! ", warning.ink)
                lines += StyledLine.words(
                    warning.text, warning.ink, after: mark, indent: nameWidth + 4, style)
            }
        }
        if status.tunnels.isEmpty { lines.append(StyledLine("There are no tunnels.")) }
        lines += [StyledLine()] + daemon(style)
        return style.columns.map { limit in lines.map { $0.beginning(of: limit) } } ?? lines
    }

    /// `udp 127.0.0.1:5514 → dtls collector.example.net:6514`.
    static func path(of summary: DaemonStatus.Summary, _ style: TextStyle) -> String {
        let ends = [summary.listen, summary.forward].map { $0.replacing("://", with: " ", maxReplacements: 1) }
        return style.printable(ends[0]) + " \(style.arrow) " + style.printable(ends[1])
    }

    /// Is it encrypted, with what, to whom.
    static func facts(of summary: DaemonStatus.Summary) -> [StyledLine.Span] {
        guard summary.peers > 0 || !summary.protocols.isEmpty else {
            let (text, ink): (String, Ink) =
                switch (summary.state, summary.role) {
                case (.up, _): ("no association is established now", .warning)
                case (.connecting, _): ("not established yet: nothing passes until the handshake is done", .warning)
                case (.idle, .client): ("idle: the first datagram begins an association", .plain)
                case (.idle, .server):
                    (
                        summary.lastFailure.map { "idle: the last client was not served: \($0)" }
                            ?? "idle: no client has called", .plain
                    )
                // The warning below says why.
                case (.down, _): ("", .bad)
                }
            return text.isEmpty ? [] : [.init(text: text, ink: ink)]
        }
        var facts = [StyledLine.Span(text: "encrypted: \(summary.protocols.joined(separator: " and "))", ink: .good)]
        facts += summary.ciphers.map { .init(text: $0, ink: .plain) }
        facts += peers(of: summary)
        if summary.mode == .shared { facts.append(.init(text: "shared", ink: .plain)) }
        return facts
    }

    /// Whom it leads to. A peer may have several associations: where the list of peers is whole, they are as many as it names.
    private static func peers(of summary: DaemonStatus.Summary) -> [StyledLine.Span] {
        var identities = summary.peerIdentities
        guard !identities.isEmpty else { return [.init(text: Figures.number(summary.peers, "peer"), ink: .plain)] }
        let isWhole = identities.count < DaemonStatus.Summary.longestIdentityList
        let count = isWhole ? identities.count : summary.peers
        let more = count - identities.count
        let first = identities.removeFirst()
        var spans = [StyledLine.Span(text: "\(count == 1 ? "peer" : "\(count) peers") \(first)", ink: .plain)]
        spans += identities.map { .init(text: $0, ink: .plain) }
        if more > 0 { spans.append(.init(text: "\(more) more", ink: .faint)) }
        return spans
    }

    /// One line where it fits, otherwise what is encrypted stands below the path.
    private static func lines(
        _ head: StyledLine, path: String, pathWidth: Int, facts: [StyledLine.Span], indent: Int, _ style: TextStyle
    ) -> [StyledLine] {
        var line = head
        line.append(facts.isEmpty ? path : path.padded(to: pathWidth) + "  ")
        var unlimited = style
        unlimited.columns = nil
        for part in StyledLine.flow(facts, separator: ", ", indent: 0, unlimited) { line.append(part) }
        guard let limit = style.columns, line.columns > limit else { return [line] }
        var first = head
        first.append(path.shortened(to: max(limit - head.columns, 8), mark: style.ellipsis))
        guard !facts.isEmpty else { return [first] }
        let blanks = StyledLine(String(repeating: " ", count: indent))
        return [first] + StyledLine.flow(facts, after: blanks, separator: ", ", indent: indent, style)
    }

    /// What has to be seen at once; nothing if all is well.
    private func verdict(_ warnings: [[TunnelWarnings.Warning]], _ style: TextStyle) -> [StyledLine] {
        let names = zip(status.tunnels, warnings).filter { !$0.1.isEmpty }.map(\.0.name)
        var lines: [StyledLine] = []
        if !names.isEmpty {
            let isBad = warnings.joined().contains { $0.ink == .bad }
            let words =
                "ATTENTION: \(names.count) of \(Figures.number(status.tunnels.count, "tunnel")): \(names.joined(separator: ", "))"
            lines += StyledLine.words(words, isBad ? .bad : .warning, indent: 0, style)
        }
        if status.draining {
            lines.append(StyledLine("DRAINING: nothing new is taken on; the daemon ends with its last flow.", .warning))
        }
        return lines
    }

    /// The daemon itself.
    private func daemon(_ style: TextStyle) -> [StyledLine] {
        var facts = [
            "culvert \(status.version)", "pid \(status.processID)", "up \(Figures.duration(status.uptimeSeconds))",
            Figures.number(status.associations, "association"), Figures.number(status.flows, "flow"),
            Figures.number(status.workers, "worker"),
        ]
        if let bytes = status.memoryBytes { facts.append(Figures.bytes(bytes)) }
        facts += [status.openSSL, "log level \(status.logLevel)"]
        if let path = status.configuration { facts.append(path) }
        return StyledLine.flow(facts.map { .init(text: $0, ink: .faint) }, separator: ", ", indent: 4, style)
    }
}
