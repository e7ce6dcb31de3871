// Whether the peer is alive, by RFC 6520. Authentic traffic of any kind is a sign of life; only silence makes this end
// ask. One request is in flight at a time: its copies follow each other by the handshake timer's rule, doubling, until
// its time is over, and then the next request goes out. When enough of them in a row stay unanswered, the peer is gone.
// It also carries probes of the path MTU, which are sent once.

public import Settings
public import Wire

extension HeartbeatSettings {
    /// What this end says in its hello.
    public var mode: HeartbeatMode { answers ? .peerAllowedToSend : .peerNotAllowedToSend }
}

/// What has come of heartbeats.
public struct HeartbeatStatistics: Equatable, Sendable {
    /// Requests sent, copies and probes not counted.
    public var sent: UInt64 = 0
    /// Requests answered.
    public var answered: UInt64 = 0
    /// Requests given up.
    public var lost: UInt64 = 0
    /// Requests of the peer that were answered.
    public var answers: UInt64 = 0
    /// When the last answer came.
    @CompactInstant public var lastAnswer: Instant? = nil
    /// The last round-trip time; only requests that were answered before a copy had to be sent tell one.
    public var lastRoundTrip: Duration? { Self.duration(last) }
    /// The shortest.
    public var minimumRoundTrip: Duration? { Self.duration(minimum) }
    /// A running mean, a new value counting for an eighth (RFC 6298 §2).
    public var meanRoundTrip: Duration? { Self.duration(mean) }

    // Nanoseconds, -1 for none: three optional durations would be three times as large, and each idle association has them.
    private var last: Int64 = -1
    private var minimum: Int64 = -1
    private var mean: Int64 = -1

    private static func duration(_ nanoseconds: Int64) -> Duration? {
        nanoseconds < 0 ? nil : .nanoseconds(nanoseconds)
    }

    /// Takes a round-trip time into account.
    mutating func add(roundTrip: Duration) {
        last = max(roundTrip.nanoseconds, 0)
        minimum = minimum < 0 ? last : min(minimum, last)
        mean = mean < 0 ? last : mean + (last - mean) / 8
    }
}

/// Watches one established association.
struct HeartbeatMonitor {
    /// What a request is for.
    enum Purpose: Equatable {
        /// Whether the peer is alive.
        case liveness
        /// Whether a datagram of this many bytes of UDP payload gets through.
        case probe(datagramSize: Int)
        /// The round-trip time, on command. A missing answer says nothing about the peer's life, because it is sent
        /// only once.
        case ping
    }

    /// What a timer or an answer leads to.
    enum Outcome: Equatable {
        case nothing
        /// A request is to be sent; its payload is ``payload(_:)``.
        case send(Purpose, number: UInt64)
        /// A request has been answered; with the time it took, if that is known.
        case answered(Purpose, roundTrip: Duration?)
        /// A request that is sent once was not answered in time.
        case lost(Purpose)
        /// The peer is gone.
        case dead
    }

    /// A request in flight; an object, because nearly all associations have none at any time.
    private final class Request {
        let purpose: Purpose
        let number: UInt64
        let sentAt: Instant
        let givenUpAt: Instant
        var wait: Duration
        var copyAt: Instant
        var hasCopies = false

        init(
            purpose: Purpose, number: UInt64, sentAt: Instant, givenUpAt: Instant, wait: Duration, copyAt: Instant
        ) {
            self.purpose = purpose
            self.number = number
            self.sentAt = sentAt
            self.givenUpAt = givenUpAt
            self.wait = wait
            self.copyAt = copyAt
        }
    }

    /// What the peer said in its hello.
    let peerMode: HeartbeatMode
    /// How many ticks this end lets pass after the interval before it asks.
    private var jitter: UInt8 = 0
    private(set) var statistics = HeartbeatStatistics()

    private let path: PathSettings
    private var heardAt: Instant
    private var request: Request?
    @CompactInteger private var unanswered: Int = 0
    private var nextNumber: UInt64 = 0
    @CompactInteger private var answerTokens: Int = HeartbeatMonitor.answerBurst
    private var answersRefilledAt: Instant

    init(_ settings: PathSettings, peerMode: HeartbeatMode, now: Instant) {
        path = settings
        self.peerMode = peerMode
        heardAt = now
        answersRefilledAt = now
    }

    private var settings: HeartbeatSettings { path.heartbeat }

    /// Whether the peer takes requests.
    var mayAsk: Bool { peerMode == .peerAllowedToSend }

    /// Whether the peer has been silent for so long that it is to be asked.
    func isSilent(_ now: Instant) -> Bool { now >= heardAt + settings.interval }

    /// Whether a request is on its way.
    var isAsking: Bool { request != nil }

    /// When ``handleTimeout(now:)`` has something to do; nil where the peer takes no requests.
    var deadline: Instant? {
        guard mayAsk else { return nil }
        if let request { return min(request.copyAt, request.givenUpAt) }
        let tick = path.tick
        let wait = path.silence + Int64(jitter) * tick + tick - 1
        let (due, isBeyondTime) = heardAt.nanoseconds.addingReportingOverflow(wait)
        return Instant(nanoseconds: isBeyondTime ? .max : due - due % tick)
    }

    /// Draws anew how many ticks after the interval this end asks: less than ten, half a second at the defaults. Both ends heard
    /// each other last in the same exchange, so without jitter both would ask at the same moment (compare RFC 5880 §6.8.7). The
    /// end that draws the smaller number asks, and its request is the sign of life that the other would have asked for.
    mutating func drawJitter(_ random: inout SplitMix64) { jitter = UInt8(random.next() % 10) }

    /// Notes that an authentic record came.
    mutating func heard(_ now: Instant) { heardAt = now }

    /// Does what is due.
    mutating func handleTimeout(now: Instant) -> Outcome {
        guard mayAsk else { return .nothing }
        guard let request else {
            return isSilent(now) ? ask(.liveness, now: now) : .nothing
        }
        if now >= request.givenUpAt { return giveUp(request, now: now) }
        guard now >= request.copyAt else { return .nothing }
        request.hasCopies = true
        request.wait *= 2
        request.copyAt = now + request.wait
        return .send(request.purpose, number: request.number)
    }

    /// Begins a request; nothing where one is in flight already.
    mutating func ask(_ purpose: Purpose, now: Instant) -> Outcome {
        guard mayAsk, request == nil else { return .nothing }
        let isProbe = if case .probe = purpose { true } else { false }
        let isSentOnce = purpose != .liveness
        let first = min(firstWait, settings.timeout)
        // A probe must not delay a request for life by much.
        let patience = min(probeTimeout, max(heardAt + settings.interval - now, .seconds(1)))
        let end = now + (isProbe ? patience : settings.timeout)
        request = Request(
            purpose: purpose, number: nextNumber, sentAt: now, givenUpAt: end, wait: first,
            copyAt: isSentOnce ? end : now + first)
        nextNumber += 1
        if !isProbe { statistics.sent += 1 }
        return .send(purpose, number: nextNumber - 1)
    }

    /// Takes a response's payload.
    mutating func receive(response payload: borrowing RawSpan, now: Instant) -> Outcome {
        guard let request, payload.byteCount == Self.payloadSize, payload.uint64(at: 0) == request.number else {
            return .nothing
        }
        self.request = nil
        unanswered = 0
        statistics.lastAnswer = now
        if case .probe = request.purpose {} else { statistics.answered += 1 }
        guard !request.hasCopies else { return .answered(request.purpose, roundTrip: nil) }
        let roundTrip = now - request.sentAt
        statistics.add(roundTrip: roundTrip)
        return .answered(request.purpose, roundTrip: roundTrip)
    }

    /// Whether a request from the peer may be answered now: bursts of ten, ten a second.
    mutating func mayAnswer(now: Instant) -> Bool {
        guard settings.answers else { return false }
        let earned = (now - answersRefilledAt).nanoseconds / 100_000_000
        if earned > 0 {
            answerTokens = min(answerTokens + Int(min(earned, 100)), Self.answerBurst)
            answersRefilledAt = now
        }
        guard answerTokens > 0 else { return false }
        answerTokens -= 1
        statistics.answers += 1
        return true
    }

    /// Gives up a probe that could not even be sent.
    mutating func abandonProbe() -> Outcome {
        guard let request, case .probe = request.purpose else { return .nothing }
        self.request = nil
        return .lost(request.purpose)
    }

    /// The payload of a request: its number, which no other request of this association has, in 16 bytes.
    static func payload(_ number: UInt64) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: payloadSize)
        bytes.withMutableBytes { _ = $0.write(number, at: 0) }
        return bytes
    }

    private mutating func giveUp(_ request: Request, now: Instant) -> Outcome {
        self.request = nil
        if case .probe = request.purpose { return .lost(request.purpose) }
        statistics.lost += 1
        guard request.purpose == .liveness else { return .lost(request.purpose) }
        // Whoever has spoken since is alive, even if the answer got lost.
        guard heardAt < request.sentAt else {
            unanswered = 0
            return .nothing
        }
        unanswered += 1
        return unanswered > settings.retries ? .dead : ask(.liveness, now: now)
    }

    /// How long to wait for an answer before the first copy.
    private var firstWait: Duration {
        min(max((statistics.meanRoundTrip ?? .zero) * 2, .milliseconds(250)), .seconds(1))
    }

    /// How long a probe is waited for.
    private var probeTimeout: Duration {
        min(max((statistics.meanRoundTrip ?? .milliseconds(250)) * 4, .milliseconds(250)), .seconds(2))
    }

    private static let payloadSize = 16
    private static let answerBurst = 10
}
