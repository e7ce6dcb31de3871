// The settings of a path as text: `drop=20%`, `delay=30ms`, `rate=10Mbit`. One list of names serves the plain options
// and `--up` / `--down`. Parsers and the list stand side by side; nothing here traps on any text.

import Impairment

/// A setting that could not be understood.
struct SettingError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}

extension Impairment {
    /// The names that `set` knows.
    static let settingNames = [
        "drop", "burst", "delay", "jitter", "duplicate", "reorder", "reorder-delay", "corrupt", "corrupt-bits", "rate",
        "queue", "mtu",
    ]

    /// Changes one setting.
    mutating func set(_ name: String, to text: String) throws(SettingError) {
        switch name {
        case "drop": drop = try probability(text, of: name)
        case "burst": bursts = try burstLoss(text)
        case "delay": delay = try duration(text, of: name)
        case "jitter": jitter = try duration(text, of: name)
        case "duplicate": duplicate = try probability(text, of: name)
        case "reorder": reorder = try probability(text, of: name)
        case "reorder-delay": reorderDelay = try duration(text, of: name)
        case "corrupt": corrupt = try probability(text, of: name)
        case "corrupt-bits": corruptBits = try scaled(text, of: name, units: ["": 1], example: "3")
        case "rate": rate = try scaled(text, of: name, units: rateUnits, example: "10Mbit")
        case "queue": queueLimit = try scaled(text, of: name, units: sizeUnits, example: "64KiB")
        case "mtu": mtu = try scaled(text, of: name, units: ["": 1], example: "1280")
        default:
            throw SettingError("unknown setting '\(name)'; known are \(Self.settingNames.joined(separator: ", "))")
        }
    }

    /// Changes settings given as `NAME=VALUE[,NAME=VALUE…]`.
    mutating func set(list: String) throws(SettingError) {
        for item in list.split(separator: ",", omittingEmptySubsequences: false) {
            guard let equals = item.firstIndex(of: "=") else {
                throw SettingError("'\(item)' is not of the form NAME=VALUE")
            }
            try set(String(item[..<equals]), to: String(item[item.index(after: equals)...]))
        }
    }
}

/// Reads a duration such as `250us`, `30ms`, `1.5s` or `5m`.
func duration(_ text: String, of name: String) throws(SettingError) -> Duration {
    let units: KeyValuePairs = ["us": 1e-6, "ms": 1e-3, "s": 1, "m": 60]
    for (unit, scale) in units where text.hasSuffix(unit) {
        // A bound of a day keeps all that follows far from the ends of 64-bit nanoseconds.
        guard let value = decimal(text.dropLast(unit.count)), value * scale <= 86400 else { break }
        return .nanoseconds(Int64((value * scale * 1e9).rounded()))
    }
    throw SettingError("'\(text)' is no duration for \(name); write for example 30ms, 250us or 1.5s")
}

private let rateUnits = ["bit": 1, "kbit": 1000, "Mbit": 1_000_000, "Gbit": 1_000_000_000]
private let sizeUnits = ["": 1, "KiB": 1024, "MiB": 1_048_576]

private func probability(_ text: String, of name: String) throws(SettingError) -> Double {
    let percent = text.hasSuffix("%")
    guard let value = decimal(percent ? text.dropLast() : text[...]), value <= (percent ? 100 : 1) else {
        throw SettingError("'\(text)' is no probability for \(name); write for example 20% or 0.2")
    }
    return percent ? value / 100 : value
}

private func burstLoss(_ text: String) throws(SettingError) -> BurstLoss {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
    guard (2...3).contains(parts.count) else {
        throw SettingError("'\(text)' is no burst; write BEGIN:END or BEGIN:END:DROP, for example 2%:20%")
    }
    let begin = try probability(parts[0], of: "burst")
    let end = try probability(parts[1], of: "burst")
    return BurstLoss(begin: begin, end: end, drop: parts.count == 3 ? try probability(parts[2], of: "burst") : 1)
}

/// Reads a positive whole number with a unit.
private func scaled(
    _ text: String, of name: String, units: [String: Int], example: String
) throws(SettingError) -> Int {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    guard let value = Int(digits), value > 0, let unit = units[String(text[digits.endIndex...])],
        case let (result, overflow) = value.multipliedReportingOverflow(by: unit), !overflow
    else {
        throw SettingError("'\(text)' is no value for \(name); write for example \(example)")
    }
    return result
}

/// Reads digits with at most one point: no sign, no exponent, no `nan`.
private func decimal(_ text: Substring) -> Double? {
    guard text.utf8.allSatisfy({ (48...57).contains($0) || $0 == 46 }), let value = Double(text), value.isFinite else {
        return nil
    }
    return value
}
