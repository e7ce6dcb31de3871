// Rates from counters that are looked at again and again, and a history of the rates.

/// The rates of many counters, each under a name.
struct RateHistory {
    /// What was counted so far.
    struct Counters: Equatable {
        /// Datagrams from the peer and to it.
        var datagramsIn: UInt64 = 0
        var datagramsOut: UInt64 = 0
        /// Their payload.
        var bytesIn: UInt64 = 0
        var bytesOut: UInt64 = 0
        /// Datagrams that were dropped, by reason.
        var dropped: [String: UInt64] = [:]
    }

    /// How fast counters grow, each second.
    struct Rates: Equatable {
        var datagramsIn = 0.0
        var datagramsOut = 0.0
        var bytesIn = 0.0
        var bytesOut = 0.0
        var dropped = 0.0

        /// Datagrams of both directions.
        var datagrams: Double { datagramsIn + datagramsOut }
    }

    /// How many moments are remembered.
    static let length = 60

    private var last: [String: Counters] = [:]
    private var lastTime: Double?
    private var histories: [String: [Double?]] = [:]
    /// Rates between the last two looks; none for what was seen only once.
    private(set) var rates: [String: Rates] = [:]
    /// By which reasons' counts have grown between the last two looks.
    private(set) var drops: [String: [String: UInt64]] = [:]
    /// How many seconds there were between the last two looks.
    private(set) var seconds = 1.0

    /// Adds a look at all counters at `time` in seconds. Names that are not there any more are forgotten.
    mutating func add(_ counters: [String: Counters], at time: Double) {
        let elapsed = lastTime.map { time - $0 } ?? 0
        rates = [:]
        drops = [:]
        var histories: [String: [Double?]] = [:]
        for (name, new) in counters {
            var rate: Rates?
            if let old = last[name], elapsed > 0 {
                rate = Self.rates(old, new, elapsed)
                drops[name] = TunnelWarnings.growth(of: new.dropped, since: old.dropped)
            }
            rates[name] = rate
            histories[name] = (self.histories[name] ?? []).suffix(Self.length - 1) + [rate?.datagrams]
        }
        self.histories = histories
        last = counters
        lastTime = time
        if elapsed > 0 { seconds = elapsed }
    }

    /// Takes note that counters begin anew: the next look gives no rates, and a gap in the histories.
    mutating func restart() {
        last = [:]
        rates = [:]
        drops = [:]
    }

    /// The datagrams each second of the last moments, the newest last; nil for a moment at which nobody could look.
    func history(of name: String) -> [Double?] { histories[name] ?? [] }

    /// Nil if a counter was set back.
    private static func rates(_ old: Counters, _ new: Counters, _ seconds: Double) -> Rates? {
        guard new.datagramsIn >= old.datagramsIn, new.datagramsOut >= old.datagramsOut, new.bytesIn >= old.bytesIn,
            new.bytesOut >= old.bytesOut
        else { return nil }
        return Rates(
            datagramsIn: Double(new.datagramsIn - old.datagramsIn) / seconds,
            datagramsOut: Double(new.datagramsOut - old.datagramsOut) / seconds,
            bytesIn: Double(new.bytesIn - old.bytesIn) / seconds,
            bytesOut: Double(new.bytesOut - old.bytesOut) / seconds,
            dropped: Double(TunnelWarnings.growth(of: new.dropped, since: old.dropped).total) / seconds)
    }
}
