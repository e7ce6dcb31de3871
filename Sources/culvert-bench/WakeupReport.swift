// What `culvert-bench wakeup` has found, as a table and as JSON: for each number of tunnels, what many cost beside one, and what
// one daemon costs beside the other.

import FoundationEssentials

/// Which end's tunnels have nothing to do, and whose CPU time counts.
enum DaemonEnd: String, Encodable {
    case client
    case server
}

/// All that is known about one end of one daemon with so many tunnels.
struct WakeupMeasurement: Encodable {
    let contender: ContenderKind
    let end: DaemonEnd
    let tunnels: Int
    /// CPU time of the process, microseconds for each round trip.
    var cpu = Samples()
}

/// The results of one invocation.
struct WakeupReport: Encodable {
    var machine: String
    var turnSeconds: Double
    var repetitions: Int
    /// In the order of the table.
    var measurements: [WakeupMeasurement]

    /// The whole report as one JSON object.
    func json() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        return String(decoding: try encoder.encode(self), as: UTF8.self)
    }

    /// The report as text for people.
    func text() -> String {
        var heading = ["CPU us/round trip", "tunnels"]
        for contender in contenders { heading += [contender.rawValue, "beside one"] }
        if contenders.count > 1 { heading.append("culvert : baseline") }
        var rows = [heading]
        for entry in measurements where entry.contender == .culvert {
            var row = [entry.end.rawValue, String(entry.tunnels)]
            for contender in contenders {
                row.append(samples(contender, entry.end, entry.tunnels)?.text(digits: 1) ?? "-")
                row.append(entry.tunnels == 1 ? "" : ratioToOne(contender, entry.end, entry.tunnels).text(digits: 2))
            }
            if contenders.count > 1 {
                let base = samples(.baseline, entry.end, entry.tunnels) ?? Samples()
                row.append(entry.cpu.ratio(to: base).text(digits: 2))
            }
            rows.append(row)
        }
        let title = "\(machine); \(repetitions) x \(fixed(turnSeconds, digits: 1)) s, median [range]"
        return (["", title, ""] + table(rows) + [""]).joined(separator: "\n")
    }

    /// How many times the CPU time with one tunnel it is with so many.
    func ratioToOne(_ contender: ContenderKind, _ end: DaemonEnd, _ tunnels: Int) -> Samples {
        guard let one = samples(contender, end, 1) else { return Samples() }
        return samples(contender, end, tunnels)?.ratio(to: one) ?? Samples()
    }

    private var contenders: [ContenderKind] {
        [.culvert, .baseline].filter { kind in measurements.contains { $0.contender == kind } }
    }

    private func samples(_ contender: ContenderKind, _ end: DaemonEnd, _ tunnels: Int) -> Samples? {
        measurements.first { $0.contender == contender && $0.end == end && $0.tunnels == tunnels }?.cpu
    }
}
