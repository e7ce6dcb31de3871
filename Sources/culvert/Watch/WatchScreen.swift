// What the live screen of `culvert status --watch` shows: a function from what was last heard from the daemon, and from
// the keys that were pressed, to the lines of a terminal of a given size. It reads no clock and writes nowhere.

import Control
import FoundationEssentials

/// The live screen.
struct WatchScreen {
    /// What the daemon has said at one moment.
    struct Sample: Sendable {
        var status: DaemonStatus
        var tunnels: [TunnelStatus]
        /// The first of them, if there are many.
        var associations: Page<AssociationStatus>
        /// The moment, for dates, and on a clock that is never set, for rates.
        var date: Date
        var seconds: Double
    }

    /// The terminal's size.
    struct Size: Equatable {
        var columns: Int
        var rows: Int
    }

    /// How many associations are looked at.
    static let longestList = 1_000
    /// After how many seconds without an answer the screen says so.
    private static let patience = 3.0
    /// For how many seconds it is said that the daemon has been restarted.
    private static let memory = 60.0

    private var sample: Sample?
    private var tunnelRates = RateHistory()
    private var associationRates = RateHistory()
    /// Why the daemon could not be asked the last time.
    private var outage: String?
    /// When it was seen to be another process than before.
    private var restart: Double?
    private var order = AssociationOrder()
    private var offset = 0

    // MARK: What happens

    /// Takes note of what the daemon says.
    mutating func add(_ new: Sample) {
        if let old = sample,
            old.status.processID != new.status.processID || old.status.startedAt != new.status.startedAt
        {
            tunnelRates.restart()
            associationRates.restart()
            restart = new.seconds
        }
        outage = nil
        sample = new
        tunnelRates.add(Dictionary(new.tunnels.map { ($0.name, $0.counters) }) { first, _ in first }, at: new.seconds)
        associationRates.add(
            Dictionary(new.associations.items.map { ($0.id, $0.counters) }) { first, _ in first }, at: new.seconds)
    }

    /// Takes note that the daemon could not be asked.
    mutating func lose(_ reason: String) { outage = reason }

    /// Does what a key is for.
    ///
    /// - Returns: false if it ends the screen.
    mutating func press(_ key: Key, _ size: Size, _ style: TextStyle) -> Bool {
        let layout = layout(size, warnings: warnings.count)
        let last = max((sample?.associations.items.count ?? 0) - layout.associations, 0)
        switch key {
        case .character("q"), .character("Q"), .interrupt: return false
        case .up, .character("k"): offset -= 1
        case .down, .character("j"): offset += 1
        case .pageUp: offset -= max(layout.associations, 1)
        case .pageDown, .character(" "): offset += max(layout.associations, 1)
        case .home: offset = 0
        case .end: offset = last
        case .character(let character): order.press(character)
        }
        offset = min(max(offset, 0), last)
        return true
    }

    // MARK: What is seen

    /// The screen: as many lines as the terminal has rows, none wider than it.
    func lines(_ size: Size, _ style: TextStyle, at seconds: Double) -> [StyledLine] {
        var style = style
        style.columns = size.columns
        var lines = [title(style, at: seconds)]
        let warnings = warnings
        let layout = layout(size, warnings: warnings.count)
        if let sample {
            lines.append(summary(sample, style))
            for warning in warnings.prefix(layout.warnings) { lines.append(warning) }
            lines.append(StyledLine())
            lines += tunnels(sample, layout.tunnels, style)
            lines += associations(sample, layout.associations, style)
        }
        lines = lines.prefix(max(size.rows - 1, 1)).map { $0.mapped(style.printable).beginning(of: size.columns) }
        while lines.count < size.rows - 1 { lines.append(StyledLine()) }
        if size.rows > 1 { lines.append(order.help(style).beginning(of: size.columns)) }
        return lines
    }

    /// How many rows each part has.
    private struct Layout {
        var warnings = 0
        var tunnels = 0
        var associations = 0
    }

    private func layout(_ size: Size, warnings: Int) -> Layout {
        guard let sample else { return Layout() }
        var layout = Layout(warnings: min(warnings, max(size.rows / 6, 1)))
        // Title, summary, a blank line, the headings of the tables, the line between them, and the keys.
        let room = max(size.rows - 7 - layout.warnings, 0)
        layout.tunnels = min(sample.tunnels.count, max(room / 2, room - sample.associations.items.count))
        layout.associations = room - layout.tunnels
        return layout
    }

    private func title(_ style: TextStyle, at seconds: Double) -> StyledLine {
        guard let sample else { return StyledLine("culvert", .heading) }
        let status = sample.status
        var line = StyledLine("culvert \(style.printable(status.version))", .heading)
        if let outage {
            line.append("  NO ANSWER for \(Figures.duration(seconds - sample.seconds)): \(outage); trying again", .bad)
            return line
        }
        if seconds - sample.seconds >= Self.patience {
            line.append("  no answer for \(Figures.duration(seconds - sample.seconds))", .warning)
            return line
        }
        line.append("  up \(Figures.duration(status.uptimeSeconds))")
        if let restart, seconds - restart < Self.memory { line.append("  restarted", .warning) }
        if status.draining { line.append("  draining", .warning) }
        line.append("  \(Figures.number(status.associations, "association"))")
        line.append("  \(Figures.number(status.flows, "flow"))")
        if let bytes = status.memoryBytes { line.append("  \(Figures.bytes(bytes))") }
        let clock = String(Figures.instant(sample.date).suffix(9))
        if let columns = style.columns, line.columns + clock.columns < columns {
            line.append(String(repeating: " ", count: columns - line.columns - clock.columns))
            line.append(clock, .faint)
        }
        return line
    }

    /// What state the tunnels are in, and what they carry together.
    private func summary(_ sample: Sample, _ style: TextStyle) -> StyledLine {
        var line = StyledLine()
        for state in [TunnelStatus.State.up, .connecting, .idle, .down] {
            let count = sample.tunnels.count { $0.state == state }
            guard count > 0 else { continue }
            if line.columns > 0 { line.append(", ") }
            line.append("\(Figures.number(count, "tunnel")) \(state == .down ? "DOWN" : state.rawValue)", state.ink)
        }
        let rates = tunnelRates.rates.values
        let into = Figures.byteRate(rates.reduce(0) { $0 + $1.bytesIn })
        let out = Figures.byteRate(rates.reduce(0) { $0 + $1.bytesOut })
        line.append("   in \(into)/s, out \(out)/s", .faint)
        return line
    }

    /// What an administrator has to be told, a line each.
    private var warnings: [StyledLine] {
        guard let sample else { return [] }
        let known = Dictionary(sample.tunnels.map { ($0.name, $0) }) { first, _ in first }
        return sample.status.tunnels.flatMap { summary in
            TunnelWarnings(
                summary, known[summary.name], drops: tunnelRates.drops[summary.name] ?? [:], in: tunnelRates.seconds,
                now: sample.date
            ).list.map { StyledLine("! \(summary.name): \($0.text)", $0.ink) }
        }
    }

    private func tunnels(_ sample: Sample, _ rows: Int, _ style: TextStyle) -> [StyledLine] {
        var table = Table([
            .init("NAME", least: 8), .init("STATE"), .init("FROM", rank: 7, least: 22), .init("TO", rank: 7, least: 22),
            .init("PEERS", isNumeric: true, rank: 3), .init("FLOWS", isNumeric: true, rank: 4),
            .init("IN/s", isNumeric: true), .init("OUT/s", isNumeric: true),
            .init("BYTES IN/s", isNumeric: true, rank: 6), .init("BYTES OUT/s", isNumeric: true, rank: 6),
            .init("DROPS/s", isNumeric: true, rank: 1), .init("HISTORY", rank: 2), .init("CIPHER", rank: 8),
        ])
        let ciphers = Dictionary(sample.status.tunnels.map { ($0.name, $0.ciphers) }) { first, _ in first }
        for one in sample.tunnels {
            let rates = tunnelRates.rates[one.name] ?? .init()
            table.add([
                .init(one.name), .init(one.state == .down ? "DOWN" : one.state.rawValue, one.state.ink),
                .init(one.listen), .init(one.forward), .init("\(one.associations["established"] ?? 0)"),
                .init("\(one.flows)"), .init(Figures.rate(rates.datagramsIn)), .init(Figures.rate(rates.datagramsOut)),
                .init(Figures.byteRate(rates.bytesIn)), .init(Figures.byteRate(rates.bytesOut)),
                .init(Figures.rate(rates.dropped), rates.dropped > 0 ? .warning : .plain),
                .init(Sparkline.text(tunnelRates.history(of: one.name), width: 20, style)),
                .init((ciphers[one.name] ?? []).joined(separator: ",")),
            ])
        }
        let lines = table.lines(style)
        guard rows < sample.tunnels.count else { return lines }
        let shown = max(rows - 1, 0)
        return Array(lines.prefix(1 + shown))
            + [StyledLine("\(style.ellipsis) \(sample.tunnels.count - shown) more: culvert tunnels", .faint)]
    }

    private func associations(_ sample: Sample, _ rows: Int, _ style: TextStyle) -> [StyledLine] {
        var table = Table([
            .init("TUNNEL", least: 8), .init("PEER", least: 21), .init("IDENTITY", rank: 2, least: 12),
            .init("RTT", isNumeric: true), .init("MTU", isNumeric: true), .init("IN/s", isNumeric: true),
            .init("OUT/s", isNumeric: true), .init("STATE", rank: 3), .init("DROPPED", isNumeric: true, rank: 4),
            .init("HISTORY", rank: 5), .init("FLOWS", isNumeric: true, rank: 6), .init("ID", rank: 7),
            .init("CIPHER", rank: 8),
        ])
        let list = order.sorted(sample.associations.items) { associationRates.rates[$0.id]?.datagrams ?? 0 }
        for one in list {
            let rates = associationRates.rates[one.id] ?? .init()
            let dropped = one.dropped.total
            table.add([
                .init(one.tunnels.joined(separator: ","), one.state == .established ? .plain : one.state.ink),
                .init(one.peerAddress), .init(one.peerIdentity),
                .init(one.heartbeat?.roundTrip.map { Figures.milliseconds($0.last) }),
                .init(one.pathMTU.map { "\($0.out)" }), .init(Figures.rate(rates.datagramsIn)),
                .init(Figures.rate(rates.datagramsOut)), .init(one.state.rawValue, one.state.ink),
                .init(Figures.count(dropped), dropped > 0 ? .warning : .plain),
                .init(Sparkline.text(associationRates.history(of: one.id), width: 12, style)), .init("\(one.flows)"),
                .init(one.id), .init(one.cipher),
            ])
        }
        let lines = table.lines(style)
        let first = min(offset, max(list.count - rows, 0))
        let shown = lines.dropFirst(1 + first).prefix(rows)
        var heading = StyledLine("associations", .faint)
        heading.append(list.isEmpty ? ": none" : " \(first + 1) to \(first + shown.count) of \(list.count)", .faint)
        if sample.associations.total > list.count {
            heading.append(", the first of \(sample.associations.total)", .warning)
        }
        heading.append(", \(order.words)", .faint)
        return [heading] + lines.prefix(1) + shown
    }
}

extension TunnelStatus {
    fileprivate var counters: RateHistory.Counters {
        .init(
            datagramsIn: datagrams.in, datagramsOut: datagrams.out, bytesIn: bytes.in, bytesOut: bytes.out,
            dropped: dropped)
    }
}

extension AssociationStatus {
    fileprivate var counters: RateHistory.Counters {
        .init(
            datagramsIn: datagrams.in, datagramsOut: datagrams.out, bytesIn: bytes.in, bytesOut: bytes.out,
            dropped: dropped)
    }
}
