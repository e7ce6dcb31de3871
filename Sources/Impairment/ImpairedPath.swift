// One direction of a bad path in motion. No socket, no clock and no random source from outside: time is a parameter,
// randomness comes from the seed, so a run can be repeated exactly. It must never reorder, change or lose anything
// that its `Impairment` does not ask for.

/// One direction of a path that treats datagrams as an `Impairment` says. The same seed, configuration and input
/// yield the same output on every run. Each effect draws from a sequence of its own, so that `drop` loses the same
/// datagrams with and without `jitter`.
///
/// Times are nanoseconds on any clock that does not run backwards.
public struct ImpairedPath: Sendable {
    /// A datagram at the far end.
    public struct Departure: Hashable, Sendable {
        /// The bytes, perhaps changed.
        public let datagram: [UInt8]
        /// What the submitter passed with it; it means nothing to the path.
        public let tag: Int
    }

    /// Datagrams that may be on their way at the same time; more are dropped, so that memory is bounded.
    public static let capacity = 100_000

    /// How the path behaves. A change applies to what is submitted from then on.
    public var impairment: Impairment
    /// What became of everything so far.
    public private(set) var counters = ImpairmentCounters()

    private var inFlight = DepartureQueue()
    private var lossChoices: SeededGenerator
    private var burstChoices: SeededGenerator
    private var duplicationChoices: SeededGenerator
    private var corruptionChoices: SeededGenerator
    private var jitterChoices: SeededGenerator
    private var reorderingChoices: SeededGenerator
    private var inBurst = false
    private var linkBusyUntil = Int64.min
    private var lastInOrder = Int64.min

    /// Makes an empty path.
    public init(_ impairment: Impairment, seed: UInt64) {
        self.impairment = impairment
        var seeds = SeededGenerator(seed: seed)
        lossChoices = SeededGenerator(seed: seeds.next())
        burstChoices = SeededGenerator(seed: seeds.next())
        duplicationChoices = SeededGenerator(seed: seeds.next())
        corruptionChoices = SeededGenerator(seed: seeds.next())
        jitterChoices = SeededGenerator(seed: seeds.next())
        reorderingChoices = SeededGenerator(seed: seeds.next())
    }

    /// When the next datagram leaves at the far end; nil while nothing is on its way.
    public var nextDeparture: Int64? { inFlight.first?.time }

    /// Datagrams on their way, copies included.
    public var count: Int { inFlight.count }

    /// Sends one UDP payload into the path.
    public mutating func submit(_ datagram: [UInt8], tag: Int = 0, at now: Int64) {
        counters.submitted += 1
        let packetSize = datagram.count + min(max(impairment.headerSize, 0), 65535)
        if let mtu = impairment.mtu, packetSize > mtu {
            counters.droppedOverMTU += 1
            return
        }
        guard survives() else { return }
        guard let sent = passLink(packetSize, at: now) else {
            counters.droppedQueueFull += 1
            return
        }
        deliver(datagram, tag: tag, sent: sent)
        if duplicationChoices.chance(impairment.duplicate) {
            counters.duplicated += 1
            deliver(datagram, tag: tag, sent: sent)
        }
    }

    /// Takes the next datagram that has left by `now`, in the order of departure; nil when there is none.
    public mutating func takeNext(at now: Int64) -> Departure? {
        guard let first = inFlight.first, first.time <= now, let departed = inFlight.removeFirst() else { return nil }
        counters.delivered += 1
        return Departure(datagram: departed.datagram, tag: departed.tag)
    }

    /// Takes all datagrams that have left by `now`, in the order of departure.
    public mutating func takeDeparted(at now: Int64) -> [[UInt8]] {
        var departed: [[UInt8]] = []
        while let next = takeNext(at: now) { departed.append(next.datagram) }
        return departed
    }

    private mutating func survives() -> Bool {
        let dropped = lossChoices.chance(impairment.drop)
        if let bursts = impairment.bursts {
            let turns = burstChoices.chance(inBurst ? bursts.end : bursts.begin)
            if turns { inBurst.toggle() }
            let lost = burstChoices.chance(bursts.drop)
            if inBurst && lost {
                counters.droppedInBurst += 1
                return false
            }
        }
        if dropped { counters.dropped += 1 }
        return !dropped
    }

    /// When a packet has been put on the wire; nil if the queue has no room for it.
    private mutating func passLink(_ packetSize: Int, at now: Int64) -> Int64? {
        guard inFlight.count < Self.capacity else { return nil }
        guard let rate = impairment.rate else { return now }
        let sending = Self.transmissionTime(packetSize, rate: rate)
        if linkBusyUntil > now {
            let waiting = linkBusyUntil.saturatingSubtracting(now)
            let limit = Self.transmissionTime(impairment.queueLimit, rate: rate)
            guard waiting.saturatingAdding(sending) <= limit else { return nil }
        }
        linkBusyUntil = max(linkBusyUntil, now).saturatingAdding(sending)
        return linkBusyUntil
    }

    private mutating func deliver(_ datagram: [UInt8], tag: Int, sent: Int64) {
        var datagram = datagram
        if corruptionChoices.chance(impairment.corrupt), !datagram.isEmpty {
            counters.corrupted += 1
            flipBits(&datagram)
        }
        let jitter = max(impairment.jitter.nanoseconds, 0)
        let spread = UInt64(jitter.saturatingAdding(jitter)).saturatingIncrement()
        let offset = Int64(truncatingIfNeeded: jitterChoices.below(spread)).saturatingSubtracting(jitter)
        let travel = max(impairment.delay.nanoseconds.saturatingAdding(offset), 0)
        var arrival = max(sent.saturatingAdding(travel), lastInOrder)
        if reorderingChoices.chance(impairment.reorder) {
            counters.reordered += 1
            arrival = arrival.saturatingAdding(max(impairment.reorderDelay.nanoseconds, 0))
        } else {
            lastInOrder = arrival
        }
        inFlight.insert(datagram, tag: tag, at: arrival)
    }

    /// Flips distinct bits, so that a corrupted datagram always differs from what was sent.
    private mutating func flipBits(_ datagram: inout [UInt8]) {
        let bits = datagram.count * 8
        let wanted = 1 + corruptionChoices.below(UInt64(max(min(impairment.corruptBits, bits), 1)))
        var flipped: Set<UInt64> = []
        while flipped.count < wanted {
            let bit = corruptionChoices.below(UInt64(bits))
            if flipped.insert(bit).inserted { datagram[Int(bit >> 3)] ^= 1 << (bit & 7) }
        }
    }

    private static func transmissionTime(_ bytes: Int, rate: Int) -> Int64 {
        let (bitNanoseconds, overflow) = Int64(max(bytes, 0)).multipliedReportingOverflow(by: 8_000_000_000)
        return overflow ? .max : bitNanoseconds / Int64(max(rate, 1))
    }
}

extension Int64 {
    fileprivate func saturatingAdding(_ other: Int64) -> Int64 {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? (other < 0 ? .min : .max) : sum
    }

    fileprivate func saturatingSubtracting(_ other: Int64) -> Int64 {
        let (difference, overflow) = subtractingReportingOverflow(other)
        return overflow ? (other < 0 ? .max : .min) : difference
    }
}

extension UInt64 {
    fileprivate func saturatingIncrement() -> UInt64 { self == .max ? .max : self + 1 }
}

extension Duration {
    /// The duration in nanoseconds, at the nearer end of the range where it does not fit.
    fileprivate var nanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (whole, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        return overflow ? (seconds < 0 ? .min : .max) : whole.saturatingAdding(attoseconds / 1_000_000_000)
    }
}
