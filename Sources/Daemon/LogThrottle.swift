// Keeps a line that would be said over and over to once a minute, and counts the rest.

import DTLS

/// Decides which of many equal lines are written.
struct LogThrottle {
    private struct Entry {
        var saidAt: Instant
        var withheld = 0
    }

    private var entries: [String: Entry] = [:]

    /// The line to write now, if it is time for one: `text`, with how often it was withheld since the last.
    /// `subject` is what makes lines equal.
    mutating func admit(_ subject: String, _ text: @autoclosure () -> String, now: Instant) -> String? {
        if var entry = entries[subject], now - entry.saidAt < LogThrottle.interval {
            entry.withheld += 1
            entries[subject] = entry
            return nil
        }
        let withheld = entries[subject]?.withheld ?? 0
        if entries.count >= LogThrottle.capacity {
            entries = entries.filter { now - $0.value.saidAt < LogThrottle.interval }
        }
        // With too many different lines at once, none is remembered rather than all of memory used.
        if entries.count < LogThrottle.capacity { entries[subject] = Entry(saidAt: now) }
        return withheld > 0 ? "\(text()) (and \(withheld) more like this in the last minute)" : text()
    }

    private static var interval: Duration { .seconds(60) }
    private static var capacity: Int { 1024 }
}
