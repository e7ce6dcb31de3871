// Spans of time as the configuration writes them: one whole number and one unit.

extension Duration {
    /// Reads `250ms`, `15s`, `5m`, `24h` or `7d`; nil for anything else, and for more than 36500 days.
    init?(settingText text: String) {
        let digits = text.utf8.prefix { (48...57).contains($0) }
        guard (1...18).contains(digits.count), let number = Int64(String(decoding: digits, as: UTF8.self)),
            let unit = Self.units.first(where: { $0.name == text.dropFirst(digits.count) })
        else { return nil }
        let (milliseconds, overflow) = number.multipliedReportingOverflow(by: unit.milliseconds)
        guard !overflow, milliseconds <= 36_500 * 86_400_000 else { return nil }
        self = .milliseconds(milliseconds)
    }

    /// The shortest form with one unit that `init(settingText:)` reads back; parts below a millisecond are cut off.
    var settingText: String {
        let (seconds, attoseconds) = components
        let milliseconds = seconds * 1000 + attoseconds / 1_000_000_000_000_000
        let unit = Self.units.last { milliseconds % $0.milliseconds == 0 && milliseconds >= $0.milliseconds }
        return "\(milliseconds / (unit?.milliseconds ?? 1))\(unit?.name ?? "ms")"
    }

    private static let units: [(name: String, milliseconds: Int64)] = [
        ("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000),
    ]
}
