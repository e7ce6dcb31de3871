// What heartbeats are used for, put together: the monitor asks and answers, the discovery says which sizes to ask with.
// It makes the contents of heartbeat records; sealing and sending them is the association's part.

public import Settings
import Wire

/// What is known of the path to the peer.
public struct PathMTU: Equatable, Sendable {
    /// The largest IP packet that gets through, in bytes, headers included.
    public var current: Int
    /// How well that is known.
    public var state: PathMTUDiscovery.State
    /// Probes sent.
    public var probes: UInt64
}

/// Watches the peer's life and the path of one established association.
struct PathKeeper: ~Copyable {
    /// What the association has to do.
    enum Action: Equatable {
        /// Seal and send a heartbeat; a probe must not be fragmented.
        case send([UInt8], mayFragment: Bool)
        /// Report that the path MTU has changed, or is known for the first time: `from` is nil then.
        case pathMTUChanged(from: Int?)
        /// Report how long the peer took to answer.
        case roundTrip(Duration)
        /// Report the outcome of a ping: the time that its answer took, or nil if there was none.
        case pinged(Duration?)
        /// End: the peer is gone.
        case dead
    }

    private var monitor: HeartbeatMonitor?
    private var discovery: PathMTUDiscovery
    private let headers: Int32
    private let overhead: Int32
    private let largestPlaintext: Int32
    private var random: SplitMix64
    /// What was reported last.
    private var told = Told(current: 0, state: .base)

    private var ping = Ping.none

    /// How far a ping has come.
    private enum Ping {
        case none
        /// Another request is in flight.
        case waiting
        case sent
    }

    private struct Told: Equatable {
        @CompactInteger var current: Int
        var state: PathMTUDiscovery.State

        init(current: Int, state: PathMTUDiscovery.State) {
            self.current = current
            self.state = state
        }
    }

    /// `headers` are those of IP and UDP, `overhead` what a record adds to its plaintext, `maximumPlaintext` the most that
    /// the peer takes in one.
    init(
        _ settings: PathSettings, headers: Int, overhead: Int,
        maximumPlaintext: Int = RecordHeader.maximumPlaintextLength,
        peerMode: HeartbeatMode?, seed: UInt64, now: Instant
    ) {
        largestPlaintext = Int32(maximumPlaintext)
        self.headers = Int32(headers)
        self.overhead = Int32(overhead)
        random = SplitMix64(seed: seed)
        monitor = peerMode.map { HeartbeatMonitor(settings, peerMode: $0, now: now) }
        monitor?.drawJitter(&random)
        // A record can carry no more, and a probe that is cut down to what it can proves nothing.
        discovery = PathMTUDiscovery(
            settings, headers: headers,
            largest: min(HeartbeatMessage.maximumSize, maximumPlaintext) + overhead + headers,
            isProbing: peerMode == .peerAllowedToSend, now: now)
    }

    /// What is known of the path.
    var pathMTU: PathMTU {
        PathMTU(current: discovery.current, state: discovery.state, probes: discovery.probes)
    }

    /// What has come of heartbeats; nil where the peer takes no part.
    var heartbeat: HeartbeatStatistics? { monitor.read { $0.statistics } }

    /// Whether the path MTU has been known at all.
    @inline(__always)
    var isKnown: Bool { discovery.isKnown }

    /// Whether the path MTU is known as well as it can be.
    @inline(__always)
    var isSettled: Bool { discovery.state != .base && discovery.state != .searching }

    /// The most plaintext bytes that reach the peer in one packet.
    @inline(__always)
    var maximumDatagram: Int { min(max(discovery.current - Int(headers) - Int(overhead), 0), maximumPlaintext) }

    /// The most plaintext bytes that the peer takes in one record.
    @inline(__always)
    var maximumPlaintext: Int { Int(largestPlaintext) }

    /// When ``handleTimeout(now:)`` has something to do.
    var deadline: Instant? {
        guard let (asking, isAsking) = monitor.read({ ($0.deadline, $0.isAsking) }), let asking else { return nil }
        return isAsking ? asking : .earlier(asking, discovery.deadline)
    }

    /// Notes that an authentic record came.
    mutating func heard(_ now: Instant) { monitor?.heard(now) }

    /// Notes that a datagram of this many bytes was sent. Returns whether ``deadline`` may have changed.
    mutating func sent(_ byteCount: Int) -> Bool { discovery.used(byteCount + Int(headers)) }

    /// Does what is due.
    mutating func handleTimeout(now: Instant) -> [Action] {
        let lost = monitor?.statistics.lost
        guard let outcome = monitor?.handleTimeout(now: now) else { return [] }
        let actions = follow(outcome, now: now)
        guard ping == .waiting, monitor?.statistics.lost != lost else { return actions }
        // The request before it got no answer and another for life is under way: that is the answer to the ping, too.
        ping = .none
        return [.pinged(nil)] + actions
    }

    /// Asks for the round-trip time, now or when the request in flight is over. If that request is itself a ping, its
    /// answer serves this one too. Nil if the peer takes no requests.
    mutating func ping(now: Instant) -> [Action]? {
        guard monitor?.mayAsk == true else { return nil }
        if ping == .none { ping = .waiting }
        return probe(now: now)
    }

    /// Takes the content of an authentic heartbeat record. Nil where it has to be dropped.
    mutating func receive(_ content: borrowing RawSpan, now: Instant) -> [Action]? {
        guard let message = HeartbeatMessage(content), monitor != nil,
            let payload = content.slice(at: message.payload.lowerBound, count: message.payload.count)
        else { return nil }
        switch message.kind {
        case .request:
            guard monitor?.mayAnswer(now: now) == true,
                let answer = HeartbeatMessage.bytes(.response, payload: payload, random: &random)
            else { return nil }
            return [send(answer)]
        case .response:
            guard let outcome = monitor?.receive(response: payload, now: now), outcome != .nothing else { return nil }
            return follow(outcome, now: now)
        }
    }

    /// Takes the word of ICMP or of the interface about the largest packet.
    mutating func handleHint(_ size: Int, now: Instant) -> [Action] {
        telling(discovery.handleHint(size, now: now)) + probe(now: now)
    }

    /// Takes the interface's refusal of a datagram as the loss of the probe under way; nil if none is.
    mutating func handleRefusal(now: Instant) -> [Action]? {
        guard case .lost(.probe(let size))? = monitor?.abandonProbe() else { return nil }
        return telling(discovery.handleRefusal(size + Int(headers), now: now)) + probe(now: now)
    }

    private mutating func follow(_ outcome: HeartbeatMonitor.Outcome, now: Instant) -> [Action] {
        switch outcome {
        case .nothing:
            return probe(now: now)
        case .send(let purpose, let number):
            return [request(purpose, number)]
        case .answered(let purpose, let roundTrip):
            var actions = roundTrip.map { [Action.roundTrip($0)] } ?? []
            if case .probe(let size) = purpose {
                actions += telling(discovery.handleAnswer(size + Int(headers), now: now))
            }
            if purpose == .ping {
                ping = .none
                actions.append(.pinged(roundTrip))
            }
            return actions + probe(now: now)
        case .lost(.probe(let size)):
            return telling(discovery.handleLoss(size + Int(headers), now: now)) + probe(now: now)
        case .lost(.ping):
            ping = .none
            return [.pinged(nil)] + probe(now: now)
        case .lost(.liveness):
            return probe(now: now)
        case .dead:
            return [.dead]
        }
    }

    /// What is worth reporting about a change: that a search has ended, or that the path carries less than before.
    private mutating func telling(_ isChanged: Bool) -> [Action] {
        let now = Told(current: discovery.current, state: discovery.state)
        guard isChanged, isSettled || discovery.current < told.current, told != now else { return [] }
        defer { told = now }
        return [.pathMTUChanged(from: told.current == 0 ? nil : told.current)]
    }

    /// Begins a probe, or what measures the round trip, if one is due and nothing else is in flight. A request for life that
    /// is due goes first: others on a dead path, lost one after the other, would put it off.
    private mutating func probe(now: Instant) -> [Action] {
        guard monitor?.mayAsk == true, monitor?.isAsking == false else { return [] }
        let purpose: HeartbeatMonitor.Purpose
        if monitor?.isSilent(now) == true {
            purpose = .liveness
        } else if ping == .waiting {
            ping = .sent
            purpose = .ping
        } else if let size = discovery.probe(now: now) {
            purpose = .probe(datagramSize: size - Int(headers))
        } else {
            return []
        }
        guard case .send(_, let number)? = monitor?.ask(purpose, now: now) else { return [] }
        return [request(purpose, number)]
    }

    private mutating func request(_ purpose: HeartbeatMonitor.Purpose, _ number: UInt64) -> Action {
        if purpose == .liveness { monitor?.drawJitter(&random) }
        let payload = HeartbeatMonitor.payload(number)
        guard case .probe(let datagramSize) = purpose else {
            return send(HeartbeatMessage.bytes(.request, payload: payload.bytes, random: &random) ?? [])
        }
        // Padding makes the datagram exactly as long as the size in question; the answer stays small.
        let size = datagramSize - Int(overhead)
        let message = HeartbeatMessage.bytes(.request, payload: payload.bytes, size: size, random: &random) ?? []
        return .send(message, mayFragment: false)
    }

    /// What fits every path is not marked as an exception, because an exception costs two system calls.
    private func send(_ message: [UInt8]) -> Action {
        .send(message, mayFragment: message.count + Int(overhead) + Int(headers) > discovery.minimum)
    }
}

/// How associations watch their paths. One object serves all associations of a group: thousands of copies would take
/// much memory.
public final class PathSettings: Sendable {
    /// How heartbeats are used.
    public let heartbeat: HeartbeatSettings
    /// How the path MTU is searched.
    public let pathMTU: PathMTUSettings
    /// After how many records of data in one direction the keys are worn and should be replaced: for AES-GCM with records of at
    /// most 2 KiB, 2^28 keep an attacker's advantage negligible (RFC 9001 §B.1.1).
    public let recordLimit: UInt64

    /// The heartbeat interval in nanoseconds: a Duration has 128 bits, and thousands of timers are set by this.
    let silence: Int64
    /// Associations ask at multiples of this, a two-hundredth of the interval, in nanoseconds, so that the processor wakes up
    /// once for many of them.
    let tick: Int64

    /// Puts settings together.
    public init(
        heartbeat: HeartbeatSettings = HeartbeatSettings(), pathMTU: PathMTUSettings = PathMTUSettings(),
        recordLimit: UInt64 = 1 << 28
    ) {
        self.heartbeat = heartbeat
        self.pathMTU = pathMTU
        self.recordLimit = recordLimit
        silence = min(max(heartbeat.interval.nanoseconds, 0), .max / 2)
        tick = max(silence / 200, 1)
    }
}
