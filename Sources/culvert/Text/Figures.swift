// How figures are written for people: short, with their unit, and always in the same number of columns or nearly so.

import FoundationEssentials

/// Writes figures.
enum Figures {
    /// A count: `812`, `12.3k`, `4.56M`.
    static func count(_ value: UInt64) -> String {
        value < 10_000 ? "\(value)" : scaled(Double(value), 1000, ["", "k", "M", "G", "T", "P", "E"])
    }

    /// Bytes: `812 B`, `12.3 KiB`.
    static func bytes(_ value: UInt64) -> String {
        value < 1024
            ? "\(value) B" : scaled(Double(value), 1024, [" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"])
    }

    /// Events per second, without a unit: `0.3`, `812`, `12.3k`.
    static func rate(_ value: Double) -> String {
        guard value.isFinite, value > 0 else { return "0" }
        if value < 0.05 { return "<0.1" }
        return value < 9.95 ? fixed(value, 1) : count(UInt64(min(value.rounded(), 1e18)))
    }

    /// Bytes per second, without "per second".
    static func byteRate(_ value: Double) -> String {
        guard value.isFinite, value > 0 else { return "0 B" }
        return bytes(UInt64(min(value.rounded(), 1e18)))
    }

    /// Milliseconds: `0.42 ms`, `12.3 ms`, `1.25 s`.
    static func milliseconds(_ value: Double) -> String {
        guard value.isFinite, value >= 0 else { return "?" }
        if value >= 999.5 { return "\(significant(value / 1000)) s" }
        return "\(significant(value)) ms"
    }

    /// A duration in seconds, in its two greatest units: `45 s`, `5 min 3 s`, `3 h 4 min`, `2 d 3 h`.
    static func duration(_ seconds: Double) -> String {
        guard seconds.isFinite else { return "?" }
        let total = Int(min(max(seconds, 0), 1e15))
        switch total {
        case ..<60: return "\(total) s"
        case ..<3600: return total % 60 == 0 ? "\(total / 60) min" : "\(total / 60) min \(total % 60) s"
        case ..<86_400: return total / 60 % 60 == 0 ? "\(total / 3600) h" : "\(total / 3600) h \(total / 60 % 60) min"
        default: return total / 3600 % 24 == 0 ? "\(total / 86_400) d" : "\(total / 86_400) d \(total / 3600 % 24) h"
        }
    }

    /// The day of an instant in UTC: `2026-11-21`.
    static func day(_ date: Date) -> String { date.formatted(.iso8601.year().month().day()) }

    /// An instant in UTC: `2026-11-21 06:04:02Z`.
    static func instant(_ date: Date) -> String {
        date.formatted(.iso8601.year().month().day().dateTimeSeparator(.space).time(includingFractionalSeconds: false))
            + "Z"
    }

    /// `one tunnel`, `2 tunnels`.
    static func number(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }

    private static func scaled(_ value: Double, _ base: Double, _ units: [String]) -> String {
        var value = value
        var unit = 0
        while value >= base * 0.9995, unit < units.count - 1 {
            value /= base
            unit += 1
        }
        return significant(value) + units[unit]
    }

    /// Three digits, or more where there are more before the point.
    private static func significant(_ value: Double) -> String {
        value >= 99.95 ? fixed(value, 0) : value >= 9.995 ? fixed(value, 1) : fixed(value, 2)
    }

    private static func fixed(_ value: Double, _ digits: Int) -> String {
        let factor = [1.0, 10, 100][digits]
        let scaled = UInt64(min((value * factor).rounded(), 1e18))
        guard digits > 0 else { return "\(scaled)" }
        let fraction = "\(scaled % UInt64(factor))"
        return "\(scaled / UInt64(factor))." + String(repeating: "0", count: digits - fraction.count) + fraction
    }
}
