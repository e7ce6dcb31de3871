// How large a packet the path carries towards the peer: Datagram PLPMTUD (RFC 8899), with padded heartbeats for probes. A
// probe that is answered is proof; one that is lost three times is a refusal. ICMP is a hint: it can only lower the size,
// and never below what every path is assumed to carry.
//
// Sizes are those of IP packets, headers included, as interfaces and routers count them.

import Settings

/// Searches and watches the path MTU of one association, in the direction of its peer.
public struct PathMTUDiscovery: ~Copyable, Sendable {
    /// Where the search stands (RFC 8899 §5.2).
    public enum State: String, Sendable {
        /// The peer answers no heartbeats; the kernel's knowledge has to do.
        case disabled
        /// The size that every path should carry is being confirmed.
        case base
        /// Larger sizes are being tried.
        case searching
        /// The largest size is known.
        case complete
        /// Not even the base size gets through.
        case error
    }

    /// The size that is in use: the largest that is proven, or assumed at the beginning.
    @CompactInteger public private(set) var current: Int = 0
    /// Where the search stands.
    public private(set) var state = State.disabled
    /// Probes sent.
    public private(set) var probes: UInt64 = 0
    /// Whether a search has ended yet; before, ``current`` is an assumption.
    private(set) var isKnown = true

    /// Sizes are searched to within this many bytes below the true one.
    public static let step = 8

    private let path: PathSettings
    @CompactInteger private var base: Int = 0
    @CompactInteger private var maximum: Int = 0
    /// The search's upper bound: nothing larger is tried in this search.
    @CompactInteger private var ceiling: Int = 0
    @CompactSize private var probing: Int? = nil
    /// A size that ICMP has named and that is worth trying before the others.
    @CompactSize private var hint: Int? = nil
    @CompactInteger private var failures: Int = 0
    @CompactInstant private var nextProbeAt: Instant? = nil
    private var usedSinceConfirmed = false
    private var confirmAt: Instant

    /// Begins; `isProbing` is false where the peer takes no heartbeat requests, `headers` is the length of IP and UDP
    /// headers together, 28 or 48, and `largest` the size that a probe can have.
    init(_ path: PathSettings, headers: Int, largest: Int = 65_535, isProbing: Bool, now: Instant) {
        self.path = path
        let settings = path.pathMTU
        confirmAt = now
        let most = max(min(settings.maximum, largest), settings.minimum)
        maximum = most
        base = min(max(1200 + headers, settings.minimum), most)
        ceiling = most
        if isProbing, settings.discover {
            current = base
            state = .base
            isKnown = false
            nextProbeAt = now
        } else {
            current = maximum
        }
    }

    private var settings: PathMTUSettings { path.pathMTU }

    /// The size that every path is assumed to carry, by the settings.
    var minimum: Int { settings.minimum }

    /// When ``probe(now:)`` may have a size to try; nil if nothing is due by itself.
    var deadline: Instant? {
        guard state != .disabled, probing == nil else { return nil }
        guard usedSinceConfirmed, state == .complete else { return nextProbeAt }
        return nextProbeAt.map { min($0, confirmAt) } ?? confirmAt
    }

    /// Notes that a packet of this size was sent, so that a path that has shrunk is noticed. Returns whether
    /// ``deadline`` may have changed.
    mutating func used(_ size: Int) -> Bool {
        guard !usedSinceConfirmed, size > settings.minimum, state != .disabled else { return false }
        usedSinceConfirmed = true
        return true
    }

    /// The size to probe now, if one is due.
    mutating func probe(now: Instant) -> Int? {
        guard state != .disabled, probing == nil else { return nil }
        if usedSinceConfirmed, now >= confirmAt, state == .complete {
            usedSinceConfirmed = false
            confirmAt = now + Self.confirmationInterval
            return begin(current)
        }
        guard let due = nextProbeAt, now >= due else { return nil }
        switch state {
        case .disabled: return nil
        case .base: return begin(current)
        case .complete, .error:
            state = .searching
            ceiling = maximum
            hint = nil
            return begin(candidate)
        case .searching: return begin(candidate)
        }
    }

    /// Takes a probe's answer. Returns whether ``current`` or ``state`` has changed.
    mutating func handleAnswer(_ size: Int, now: Instant) -> Bool {
        guard probing == size else { return false }
        let before = (current, state)
        probing = nil
        failures = 0
        if size >= current {
            current = size
            confirmAt = now + Self.confirmationInterval
            usedSinceConfirmed = false
            if state == .base { state = .searching }
            if state == .searching { proceed(now: now) }
        }
        return before != (current, state)
    }

    /// Takes a probe's loss. Returns whether ``current`` or ``state`` has changed.
    mutating func handleLoss(_ size: Int, now: Instant) -> Bool {
        guard probing == size else { return false }
        let before = (current, state)
        probing = nil
        if size > current, size > ceiling {
            // ICMP has ruled it out meanwhile; its losses must not count for the next size.
            failures = 0
            proceed(now: now)
            return before != (current, state)
        }
        failures += 1
        guard failures >= Self.attempts else {
            // Again, and soon: a lost probe says little.
            if state == .complete {
                usedSinceConfirmed = true
                confirmAt = now
            } else {
                nextProbeAt = now
            }
            return false
        }
        failures = 0
        hint = nil
        if size > current {
            ceiling = size - 1
            proceed(now: now)
        } else {
            // What was proven does not get through any more: a black hole (RFC 8899 §4.3).
            fallBack(now: now)
        }
        return before != (current, state)
    }

    /// Takes the interface's refusal of a probe: no further try of that size can succeed. Returns whether ``current``
    /// or ``state`` has changed.
    mutating func handleRefusal(_ size: Int, now: Instant) -> Bool {
        guard probing == size else { return false }
        failures = Self.attempts
        return handleLoss(size, now: now)
    }

    /// Takes the report of ICMP, or of the local interface, that `size` is the most that gets through. Returns whether
    /// ``current`` or ``state`` has changed.
    mutating func handleHint(_ size: Int, now: Instant) -> Bool {
        guard size >= settings.minimum else { return false }
        let before = (current, state)
        ceiling = min(ceiling, size)
        if size < current {
            // It is within what was proven, so it holds at once; a probe confirms it, and a forged one does not last.
            current = size
            guard state != .disabled else { return true }
            state = .complete
            probing = nil
            failures = 0
            usedSinceConfirmed = true
            confirmAt = now
            nextProbeAt = now + min(settings.interval, Self.coolDown)
        } else if state == .searching || state == .base, size > current {
            hint = size
        }
        return before != (current, state)
    }

    private mutating func begin(_ size: Int) -> Int {
        probing = size
        probes += 1
        return size
    }

    /// The next size of the search: the ceiling first, because most paths carry it, and halves afterwards.
    private var candidate: Int {
        if let hint, hint > current, hint <= ceiling { return hint }
        if ceiling == maximum || ceiling - current <= Self.step { return ceiling }
        return current + (ceiling - current + 1) / 2
    }

    private mutating func proceed(now: Instant) {
        if ceiling - current < Self.step || current >= maximum {
            state = .complete
            isKnown = true
            // When the size in use was proven last is another matter: searches for more may follow each other closely.
            nextProbeAt = now + settings.interval
        } else {
            nextProbeAt = now
        }
    }

    private mutating func fallBack(now: Instant) {
        ceiling = min(ceiling, current - 1)
        if current > base {
            current = base
            state = .base
            nextProbeAt = now
        } else if current > settings.minimum {
            current = settings.minimum
            state = .searching
            nextProbeAt = now
        } else {
            // Small heartbeats get through or the association would be over; there is nothing smaller to fall back to.
            state = .error
            nextProbeAt = now + Self.coolDown
        }
    }

    /// Probes of one size that have to be lost before the size counts as refused.
    private static let attempts = 3
    /// How often a size in use is confirmed.
    private static let confirmationInterval = Duration.seconds(5)
    /// How long to wait after a black hole swallowed even the smallest size.
    private static let coolDown = Duration.seconds(60)
}
