// Who waits for the answer to a heartbeat request that was sent on command, and the outcome.

/// The answers to pings, by the tickets of those who asked.
struct PingAnswers {
    private var waiting: [PlaceID: [UInt64]] = [:]
    private var answers: [(ticket: UInt64, answer: PingAnswer)] = []

    /// Makes a ticket wait for the answer of a link's association.
    mutating func add(_ ticket: UInt64, at link: PlaceID) { waiting[link, default: []].append(ticket) }

    /// Whether somebody waits for the answer of the link's association.
    func wait(for link: PlaceID) -> Bool { waiting[link] != nil }

    /// Answers everybody who waits for the link's association.
    mutating func answer(_ link: PlaceID, _ answer: PingAnswer) {
        guard !waiting.isEmpty, let tickets = waiting.removeValue(forKey: link) else { return }
        answers += tickets.map { ($0, answer) }
    }

    /// The answers since the last call.
    mutating func takeAll() -> [(ticket: UInt64, answer: PingAnswer)] {
        guard !answers.isEmpty else { return [] }
        defer { answers = [] }
        return answers
    }
}
