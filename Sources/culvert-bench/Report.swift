// What was measured, as a readable table and as JSON. Every number is a median of the repetitions with its range beside
// it; ratios against the plaintext relay pair and against socat follow, since only those carry over to other machines.

import FoundationEssentials

/// The repetitions of one number.
struct Samples: Encodable {
    private(set) var values: [Double] = []

    /// The middle value; the lower of the two middle ones for an even count; nil without values.
    var median: Double? { values.isEmpty ? nil : values.sorted()[(values.count - 1) / 2] }

    /// Adds a repetition; what is not a number, as the cost of datagrams that never arrived, is left out.
    mutating func add(_ value: Double) {
        if value.isFinite { values.append(value) }
    }

    /// How many times `base` each repetition is. The two were measured in turns: where none is missing, each repetition
    /// is compared with its neighbour, so that changes in the machine's load hit both; otherwise the medians are.
    func ratio(to base: Samples) -> Samples {
        var ratios = Samples()
        if values.count == base.values.count {
            for (value, other) in zip(values, base.values) { ratios.add(value / other) }
        } else if let median, let other = base.median {
            ratios.add(median / other)
        }
        return ratios
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encodeIfPresent(median, forKey: .median)
        try container.encode(values, forKey: .values)
    }

    private enum CodingKeys: CodingKey {
        case median
        case values
    }

    /// `MEDIAN [LOWEST..HIGHEST]`, divided by `unit`.
    func text(unit: Double = 1, digits: Int) -> String {
        guard let median, let lowest = values.min(), let highest = values.max() else { return "-" }
        let middle = fixed(median / unit, digits: digits)
        guard values.count > 1 else { return middle }
        return "\(middle) [\(fixed(lowest / unit, digits: digits))..\(fixed(highest / unit, digits: digits))]"
    }
}

/// All that is known about one way to carry datagrams of one size.
struct Measurement: Encodable {
    let contender: ContenderKind
    let datagramSize: Int
    /// Highest rate with loss below 0.1 %, datagrams per second.
    var highestRate = Samples()
    /// Whether some search ended before a rate failed, so that the true rate may be higher.
    var rateIsLowerBound = false
    /// CPU time of all the contender's processes at that rate, or at the one that was asked for, microseconds per datagram.
    var cpuBatched = Samples()
    /// The same at 20,000 datagrams per second, sent one at a time.
    var cpuUnbatched = Samples()
    /// Round trip through the contender and back, microseconds.
    var roundTripMedian = Samples()
    var roundTrip99 = Samples()
}

/// The results of one invocation.
struct Report: Encodable {
    var machine: String
    var trialSeconds: Double
    var repetitions: Int
    var measurements: [Measurement]
    var ratios: [Ratio]
    /// Contenders that could not take part, and why.
    var absent: [String: String]

    /// Puts together what was measured.
    init(
        machine: String, trialSeconds: Double, repetitions: Int, measurements: [Measurement], absent: [String: String]
    ) {
        self.machine = machine
        self.trialSeconds = trialSeconds
        self.repetitions = repetitions
        self.measurements = measurements
        self.absent = absent
        ratios = []
        for base in [ContenderKind.relay, .baseline, .socat] {
            for entry in measurements where ![base, .direct, .relay].contains(entry.contender) {
                if base == .baseline, entry.contender != .culvert { continue }
                let other = measurements.first { $0.contender == base && $0.datagramSize == entry.datagramSize }
                if let other { ratios.append(Ratio(entry, to: other)) }
            }
        }
    }

    /// The whole report as one JSON object.
    func json() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        return String(decoding: try encoder.encode(self), as: UTF8.self)
    }

    /// The report as text for people.
    func text() -> String {
        var lines = ["", "\(machine); \(repetitions) x \(fixed(trialSeconds, digits: 1)) s, median [range]", ""]
        for table in [rateTable(), roundTripTable(), ratioTable()] where table.count > 1 { lines += table + [""] }
        for (contender, reason) in absent.sorted(by: { $0.key < $1.key }) {
            lines.append("\(contender): not measured: \(reason)")
        }
        return lines.joined(separator: "\n")
    }

    private func rateTable() -> [String] {
        var rows = [["", "bytes", "highest rate, kpps", "CPU us/datagram", "CPU us/datagram at 20 kpps unbatched"]]
        for entry in measurements {
            let rate = entry.highestRate.text(unit: 1000, digits: 1)
            rows.append([
                entry.contender.rawValue, String(entry.datagramSize), entry.rateIsLowerBound ? rate + " or more" : rate,
                entry.contender == .direct ? "-" : entry.cpuBatched.text(digits: 2),
                entry.contender == .direct ? "-" : entry.cpuUnbatched.text(digits: 2),
            ])
        }
        return table(rows)
    }

    private func roundTripTable() -> [String] {
        var rows = [["", "bytes", "round trip p50, us", "p99", "added p50", "added p99"]]
        let measured = measurements.filter { $0.roundTripMedian.median != nil }
        let direct = measured.first { $0.contender == .direct }
        for entry in measured {
            rows.append([
                entry.contender.rawValue, String(entry.datagramSize), entry.roundTripMedian.text(digits: 0),
                entry.roundTrip99.text(digits: 0),
                difference(entry.roundTripMedian, direct?.roundTripMedian),
                difference(entry.roundTrip99, direct?.roundTrip99),
            ])
        }
        return table(rows)
    }

    private func ratioTable() -> [String] {
        var rows = [["times", "bytes", "rate", "CPU", "aim", "CPU unbatched", "round trip p50"]]
        for ratio in ratios {
            rows.append([
                "\(ratio.contender.rawValue) : \(ratio.base.rawValue)", String(ratio.datagramSize),
                ratio.highestRate.text(digits: 2), ratio.cpuBatched.text(digits: 2),
                ratio.cpuAim.map { fixed($0, digits: 1) } ?? "", ratio.cpuUnbatched.text(digits: 2),
                ratio.roundTripMedian.text(digits: 2),
            ])
        }
        return table(rows)
    }

    private func difference(_ samples: Samples, _ base: Samples?) -> String {
        guard let value = samples.median, let base = base?.median else { return "-" }
        return fixed(value - base, digits: 0)
    }
}

/// A number with a fixed count of digits after the point.
func fixed(_ value: Double, digits: Int) -> String {
    guard value.isFinite, abs(value) < 1e12 else { return "-" }
    let scale = (0..<max(digits, 0)).reduce(1) { scale, _ in scale * 10 }
    let scaled = Int((abs(value) * Double(scale)).rounded())
    let sign = value < 0 && scaled > 0 ? "-" : ""
    guard digits > 0 else { return "\(sign)\(scaled)" }
    let fraction = String(scaled % scale)
    return "\(sign)\(scaled / scale).\(String(repeating: "0", count: digits - fraction.count))\(fraction)"
}

/// Lines with their columns aligned: the first to the left, the others to the right.
func table(_ rows: [[String]]) -> [String] {
    let columns = rows.map(\.count).max() ?? 0
    let widths = (0..<columns).map { column in rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0 }
    return rows.map { row in
        row.enumerated().map { column, cell in
            let padding = String(repeating: " ", count: widths[column] - cell.count)
            return column == 0 ? cell + padding : padding + cell
        }.joined(separator: "  ")
    }
}
