// Wall-clock time as whole seconds since 1970-01-01T00:00:00Z, which is how validity periods are kept
// here, and its text form. Only certificates and revocation lists are judged by the wall clock; nothing
// that times a datagram may use it, since it can step.

internal import Glibc

/// The wall clock and the text form of its seconds.
public enum UTCTime {
    /// Seconds in a day.
    public static let day: Int64 = 86_400

    /// The wall clock's time now.
    public static func now() -> Int64 {
        Int64(time(nil))
    }

    /// The ISO 8601 form to the second, as in `2026-03-01T12:00:00Z`.
    public static func text(_ seconds: Int64) -> String {
        let days = seconds.quotientFlooring(day)
        let rest = seconds - days * day
        let (year, month, dayOfMonth) = civil(days)
        func two(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(year)-\(two(month))-\(two(dayOfMonth))T\(two(rest / 3600)):\(two(rest / 60 % 60)):\(two(rest % 60))Z"
    }

    /// Year, month and day of a count of days since 1970, by counting in 400-year eras that begin in March.
    private static func civil(_ days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let shifted = days + 719_468
        let era = shifted.quotientFlooring(146_097)
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (year, month, dayOfYear - (153 * monthFromMarch + 2) / 5 + 1)
    }
}

extension Int64 {
    fileprivate func quotientFlooring(_ divisor: Int64) -> Int64 {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? quotient - 1 : quotient
    }
}
