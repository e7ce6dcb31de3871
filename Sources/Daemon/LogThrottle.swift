// Limits what would be said over and over to once in a while, and counts the rest. The first of equal lines is told at
// once; those that follow are counted and told together when a window of time is over, which begins at 10 s and doubles
// while there is more, up to 10 min. A window without another line ends it.
//
// Memory is bounded: a limited number of different lines is remembered for each kind of event, and any more count as
// more of the same kind, so that a flood of strangers floods neither the log nor the memory.

import DTLS

/// Decides which of many equal items are told.
struct LogThrottle<Item: Sendable>: Sendable {
    /// How often an item was withheld.
    struct Repetition: Equatable, Sendable {
        /// How often.
        var count: Int
        /// In which time.
        var duration: Duration
        /// Whether they were only of the same kind, not equal.
        var isOfKind: Bool
    }

    /// What to do with an item.
    enum Answer: Sendable {
        /// Tell it, and with it what was withheld before, itself included.
        case tell(Item, Repetition?)
        /// Do not tell it; whether ``deadline`` is sooner than before.
        case withhold(isDueSooner: Bool)
    }

    fileprivate struct Key: Hashable, Sendable {
        var tunnel: String
        /// Nil for all that is not remembered by itself.
        var subject: String?
    }

    fileprivate struct Entry: Sendable {
        /// The first that was withheld; most lines are said only once and need no memory for more.
        var item: Item?
        let isOfKind: Bool
        var window: Duration
        var since: Instant
        var withheld = 0

        var until: Instant { since + window }

        mutating func takeRepetition(now: Instant, including more: Int = 0) -> Repetition {
            defer {
                window = min(window + window, LogThrottle.longestWindow)
                since = now
                withheld = 0
                item = nil
            }
            return Repetition(count: withheld + more, duration: now - since, isOfKind: isOfKind)
        }
    }

    fileprivate struct Lines: Sendable {
        var entries: [Key: Entry] = [:]
        var prunedAt: Instant?
    }

    private var kinds: [EventKind: Lines] = [:]

    /// When ``takeDue(now:all:)`` has something to tell; nil while nothing is withheld.
    private(set) var deadline: Instant?

    /// Takes an item. `tunnel` and `subject` are what makes items of one kind equal.
    mutating func admit(
        _ kind: EventKind, tunnel: String, subject: String, now: Instant, _ item: () -> Item
    ) -> Answer {
        let key = kinds[kind, default: Lines()].key(tunnel, subject, now: now)
        guard var entry = kinds[kind]?.entries[key], now < entry.until || entry.withheld > 0 else {
            kinds[kind]?.entries[key] = Entry(
                isOfKind: key.subject == nil, window: Self.shortestWindow, since: now)
            return .tell(item(), nil)
        }
        defer { kinds[kind]?.entries[key] = entry }
        guard now < entry.until else { return .tell(item(), entry.takeRepetition(now: now, including: 1)) }
        entry.withheld += 1
        guard entry.withheld == 1 else { return .withhold(isDueSooner: false) }
        entry.item = item()
        guard deadline.map({ entry.until < $0 }) ?? true else {
            return .withhold(isDueSooner: false)
        }
        deadline = entry.until
        return .withhold(isDueSooner: true)
    }

    /// What was withheld and is to be told now, or, with `all`, without waiting any longer; the oldest first.
    mutating func takeDue(now: Instant, all: Bool = false) -> [(Item, Repetition)] {
        var due: [(since: Instant, item: Item, repetition: Repetition)] = []
        deadline = nil
        for kind in kinds.keys {
            guard var lines = kinds.removeValue(forKey: kind) else { continue }
            for (key, var entry) in lines.entries {
                guard let item = entry.item else { continue }
                if all || entry.until <= now {
                    due.append((entry.since, item, entry.takeRepetition(now: now)))
                    lines.entries[key] = entry
                } else {
                    deadline = deadline.map { min($0, entry.until) } ?? entry.until
                }
            }
            kinds[kind] = lines
        }
        return due.sorted { $0.since < $1.since }.map { ($0.item, $0.repetition) }
    }

    /// How many lines are remembered.
    var count: Int { kinds.values.reduce(0) { $0 + $1.entries.count } }

    /// How many different lines of a kind are told by themselves within a window.
    static var capacity: Int { 1024 }
    static var shortestWindow: Duration { .seconds(10) }
    static var longestWindow: Duration { .seconds(600) }
}

extension LogThrottle.Lines {
    /// What a line is counted under: by itself where there is room.
    fileprivate mutating func key(_ tunnel: String, _ subject: String, now: Instant) -> LogThrottle.Key {
        let key = LogThrottle.Key(tunnel: tunnel, subject: subject)
        if entries[key] != nil || entries.count < LogThrottle.capacity { return key }
        // Looking at all of them for each line of a flood would be too much.
        if prunedAt.map({ now - $0 >= .seconds(1) }) ?? true {
            prunedAt = now
            entries = entries.filter { now < $0.value.until || $0.value.withheld > 0 }
        }
        return entries.count < LogThrottle.capacity ? key : LogThrottle.Key(tunnel: tunnel, subject: nil)
    }
}

extension LogThrottle.Repetition: CustomStringConvertible {
    /// `repeated 41 times in 10 s`.
    var description: String {
        let seconds = "in \(max((duration.nanoseconds + 500_000_000) / 1_000_000_000, 1)) s"
        if isOfKind { return "and \(count) more like this \(seconds)" }
        return count == 1 ? "repeated once \(seconds)" : "repeated \(count) times \(seconds)"
    }
}
