// Everything around a handshake that the TLS library leaves to its caller: which records may reach it, the retransmission
// deadline on a monotonic clock, smaller datagrams when flights are lost, and an end to trying.

import Wire

/// Runs one ``HandshakeEngine`` from its first flight to keys or failure.
final class HandshakeSupervisor<Engine: HandshakeEngine> {
    /// When it was begun.
    let startedAt: Instant

    private let engine: Engine
    private let maximumTimeouts: Int
    private let helloInterval: Duration?
    private var timeouts = 0
    /// Whether the peer's last word was a HelloVerifyRequest.
    private var hasCookieOnly = false
    private var retransmitAt: Instant?
    /// The client's first flight, for as long as it has to be repeated besides what the engine's timer does.
    private var hello: (datagrams: [[UInt8]], repeatAt: Instant)?
    private var outbox: [[UInt8]] = []
    /// A fatal alert in the clear, which anybody could have sent, and when to believe it.
    private var suspicion: (alert: Alert.Description, believeAt: Instant)?

    /// `maximumTimeouts`: how many flights may go unanswered before the attempt is given up. `helloInterval`: how long a
    /// client's first flight may go unrepeated while nothing at all has been heard from the peer; nil leaves it to the
    /// engine's timer, whose waits double.
    init(engine: Engine, maximumTimeouts: Int, helloInterval: Duration? = nil, now: Instant) {
        self.engine = engine
        self.maximumTimeouts = maximumTimeouts
        self.helloInterval = helloInterval
        startedAt = now
    }

    /// The next moment at which ``handleTimeout(now:)`` has something to do.
    var deadline: Instant {
        var earliest = startedAt + .seconds(64)
        if let retransmitAt { earliest = min(earliest, retransmitAt) }
        if let suspicion { earliest = min(earliest, suspicion.believeAt) }
        if let hello { earliest = min(earliest, hello.repeatAt) }
        return earliest
    }

    /// Whether the flight under way has gone unanswered often enough to say so.
    var isUnanswered: Bool { timeouts >= 2 }

    /// The size that flights have been cut down to.
    var datagramSize: Int { engine.datagramSize }

    /// The next datagram to send.
    func pollTransmit() -> [UInt8]? { outbox.isEmpty ? engine.pollTransmit() : outbox.removeFirst() }

    func start(now: Instant) -> HandshakeProgress<Engine.Protection> {
        let progress = arm(engine.start(), now: now)
        guard let helloInterval else { return progress }
        while let datagram = engine.pollTransmit() { outbox.append(datagram) }
        hello = (outbox, now + helloInterval)
        return progress
    }

    /// Takes one record. What must not reach the engine is kept, judged or dropped here: an unexpected type, and an
    /// authentic one of another kind even more so, would end OpenSSL's handshake.
    func receive(
        _ record: borrowing RawSpan, header: RecordHeader, now: Instant, counters: inout AssociationCounters
    ) -> HandshakeProgress<Engine.Protection> {
        switch (header.number.epoch, header.type) {
        case (0, .handshake), (0, .changeCipherSpec), (1, .handshake), (1, .alert):
            if let reason = engine.objection(to: record) {
                counters.drops.add(reason)
                return .waiting
            }
            counters.control &+= 1
            hello = nil
            if header.type == .handshake { hasCookieOnly = record.uint8(at: RecordHeader.size) == 3 }
            // Whoever goes on shaking hands has not sent that alert.
            if header.type == .handshake { suspicion = nil }
            // The engine repeats a flight that is as good as due while it reads. A peer's repetition comes at just that
            // time, so without being counted here first, the flight would go out in the old size again and again.
            if let due = retransmitAt, due <= now + Engine.earliness {
                let progress = repeatFlight(now)
                guard case .waiting = progress else { return progress }
            }
            let before = retransmitAt
            let progress = arm(engine.receive(record), now: now)
            // The engine has set its timer anew: the last flight was answered, and the next one's count begins.
            if let before, let after = retransmitAt, abs((after - before).nanoseconds) > 100_000_000 { timeouts = 0 }
            return progress
        case (0, .alert):
            suspect(record, now: now, drops: &counters.drops)
        case (0, _), (1, _):
            counters.drops.add(.contentType)
        default:
            counters.drops.add(.epoch)
        }
        return .waiting
    }

    /// Does what is due at ``deadline``.
    func handleTimeout(now: Instant) -> HandshakeProgress<Engine.Protection> {
        if let suspicion, now >= suspicion.believeAt {
            return .failed(HandshakeFailure(alert: suspicion.alert))
        }
        if now >= startedAt + .seconds(64) { return .failed(Self.noAnswer) }
        if let due = retransmitAt, now >= due { return repeatFlight(now) }
        repeatHello(now)
        return .waiting
    }

    /// Sends the first flight once more as it was: the engine's timer and its count of timeouts do not notice, and a peer
    /// that has seen it already may drop it as replayed, since the engine's own repetitions follow.
    private func repeatHello(_ now: Instant) {
        guard let helloInterval, let hello, now >= hello.repeatAt else { return }
        outbox += hello.datagrams
        self.hello?.repeatAt = now + helloInterval
    }

    private func repeatFlight(_ now: Instant) -> HandshakeProgress<Engine.Protection> {
        switch engine.flightTimer {
        case .stopped: break
        // The flight would be repeated who knows when: a fresh handshake is quicker.
        case .unreliable: return .failed(Self.clockStep)
        case .due(let left):
            // A long wait by the engine's clock, where there is none by this one: it has been set.
            guard left <= .seconds(1) else { return .failed(Self.clockStep) }
            // A short one is waited for: the two clocks drift apart a little, and when there is much to do `now` may be
            // older than the flight. The engine repeats nothing before.
            if left > Engine.earliness { return arm(.waiting, now: now) }
        }
        timeouts += 1
        // A forged HelloVerifyRequest, or one of a server that was restarted since, brings a cookie that nobody takes: to
        // begin anew, from another port, is the only way on. Not sooner: on a path of small packets a live server's third
        // repetition is the first that is small enough.
        guard timeouts <= (hasCookieOnly ? min(maximumTimeouts, 3) : maximumTimeouts) else {
            return .failed(Self.noAnswer)
        }
        if let smaller = Self.datagramSizes.first(where: { $0.afterTimeouts == timeouts })?.size {
            engine.datagramSize = min(engine.datagramSize, smaller)
        }
        if let helloInterval { hello?.repeatAt = now + helloInterval }
        return arm(engine.handleTimeout(), now: now)
    }

    private func arm(
        _ progress: HandshakeProgress<Engine.Protection>, now: Instant
    ) -> HandshakeProgress<Engine.Protection> {
        guard case .waiting = progress else { return progress }
        retransmitAt =
            switch engine.flightTimer {
            case .stopped: nil
            // Never now itself: a timer that is due again at once would be served for ever.
            case .due(let wait): now + max(wait, .milliseconds(5))
            // No reason to give up as long as the peer answers: ``repeatFlight(_:)`` judges it.
            case .unreliable: now + .seconds(1)
            }
        return progress
    }

    private func suspect(_ record: borrowing RawSpan, now: Instant, drops: inout DropCounters) {
        guard let content = record.slice(at: RecordHeader.size, count: record.byteCount - RecordHeader.size),
            let alert = Alert(content)
        else { return drops.add(.malformed) }
        drops.add(.contentType)
        guard alert.level == .fatal || alert.description == .closeNotify || alert.description == .userCanceled,
            suspicion == nil
        else { return }
        // Long enough for a flight to be repeated and answered if the alert was forged.
        suspicion = (alert.description, now + .seconds(2))
    }

    /// UDP payload sizes to fall back to as flights go unanswered: what nearly every path carries, then IPv4's
    /// minimum reassembly size, then its minimum MTU of old serial links.
    private static var datagramSizes: [(afterTimeouts: Int, size: Int)] { [(2, 1200), (3, 548), (4, 268)] }

    private static var noAnswer: HandshakeFailure {
        HandshakeFailure(.timeout, .silence, detail: "the peer did not answer")
    }

    private static var clockStep: HandshakeFailure {
        HandshakeFailure(.clockStep, detail: "the system clock was set during the handshake")
    }
}
