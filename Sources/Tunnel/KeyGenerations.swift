// The keys of one link: those in use, those that a handshake beside them is to give, and those that were replaced. Each
// generation is an association by itself (without renegotiation, RFC 6347 has no other way to new keys).
//
// A record from the peer:
//   1. in the clear, or of a handshake, can only be meant for the newest association;
//   2. anything else is tried with the keys in use, then with the replaced ones for as long as these are kept;
//   3. what fits neither goes to the newest association, which keeps it or drops and counts it.

import ContainersPreview
import DTLS
import Wire

/// One of a link's generations of keys.
enum KeyGeneration {
    /// Those of a handshake beside the association.
    case next
    /// Those in use, or of a first handshake.
    case current
    /// Those that have been replaced.
    case previous
}

/// The associations of one link.
struct KeyGenerations<Engine: HandshakeEngine>: ~Copyable {
    // Each is in a box: the compiler would copy an association behind an optional just to look at it.

    /// The association in use, or the one whose first handshake is under way; nil while there is none.
    var current: UniqueBox<Association<Engine>>?
    private var following: UniqueBox<Association<Engine>>?
    private var replaced: UniqueBox<Association<Engine>>?
    private var replacedAt = Instant(nanoseconds: 0)
    /// The generation that the last record belonged to.
    private var source = KeyGeneration.current

    /// How long replaced keys are kept for records that arrive late.
    static var lateness: Duration { .seconds(3) }

    /// Whether data can be sealed.
    var isEstablished: Bool { current.read { $0.value.isEstablished } ?? false }
    /// Whether a handshake beside the association is under way.
    var hasNext: Bool { following != nil }
    /// What is known of the association in use.
    var description: AssociationDescription? { current.read { $0.value.description } ?? nil }
    /// Whether something is to be sent or told.
    var needsAttention: Bool {
        current.read { $0.value.needsAttention } ?? false || following.read { $0.value.needsAttention } ?? false
            || replaced.read { $0.value.needsAttention } ?? false
    }
    /// When ``handleTimeout(now:)`` has something to do.
    var deadline: Instant? {
        .earlier(current.read { $0.value.deadline } ?? nil, following.read { $0.value.deadline } ?? nil)
    }

    // MARK: From one generation to the next

    /// Begins the first handshake's association, or another attempt in its place.
    mutating func begin(_ association: consuming Association<Engine>) {
        current = UniqueBox(consume association)
    }

    /// Begins a handshake beside the association.
    mutating func beginNext(_ association: consuming Association<Engine>) {
        following = UniqueBox(consume association)
    }

    /// Puts the next keys in the place of the current ones. With `keepingOld` these are kept for records that arrive
    /// late. The counters of an association that is let go are added to `counters`.
    mutating func promote(keepingOld: Bool, now: Instant, counting counters: inout TunnelCounters) {
        endPrevious(counting: &counters)
        guard let next = following.take() else { return }
        if keepingOld {
            replaced = current.take()
            replacedAt = now
        } else if let old = current.take() {
            counters.add(old.value.counters)
        }
        current = consume next
    }

    /// Forgets an association without a word to the peer, even if it is still established.
    mutating func end(_ generation: KeyGeneration, counting counters: inout TunnelCounters) {
        switch generation {
        case .next:
            guard var next = following.take()?.consume() else { return }
            next.abandon()
            counters.add(next.counters)
        case .current:
            guard var old = current.take()?.consume() else { return }
            old.abandon()
            counters.add(old.counters)
        case .previous: endPrevious(counting: &counters)
        }
    }

    /// Forgets all of them.
    mutating func endAll(counting counters: inout TunnelCounters) {
        end(.next, counting: &counters)
        end(.current, counting: &counters)
        endPrevious(counting: &counters)
    }

    private mutating func endPrevious(counting counters: inout TunnelCounters) {
        guard let old = replaced.take()?.consume() else { return }
        counters.add(old.counters)
    }

    /// Adds what the associations have carried so far.
    func add(to counters: inout TunnelCounters) {
        if let carried = current.read({ $0.value.counters }) { counters.add(carried) }
        if let carried = following.read({ $0.value.counters }) { counters.add(carried) }
        if let carried = replaced.read({ $0.value.counters }) { counters.add(carried) }
    }

    // MARK: One of the associations

    /// Lends the association of a generation to `body`; nil if there is none.
    mutating func with<Result>(
        _ generation: KeyGeneration, _ body: (inout Association<Engine>) -> Result
    ) -> Result? {
        switch generation {
        case .current: current?.value.with(body)
        case .next: following?.value.with(body)
        case .previous: replaced?.value.with(body)
        }
    }

    /// Forgets what the replaced keys' association has to tell: it is over for its owner.
    mutating func skipOldEvents() {
        replaced?.value.needsAttention = false
        while (replaced?.value.pollEvent() ?? nil) != nil {}
    }

    /// Does what is due.
    mutating func handleTimeout(now: Instant) {
        current?.value.handleTimeout(now: now)
        following?.value.handleTimeout(now: now)
    }

    // MARK: Records from the peer

    /// Takes the next record of a datagram. Its data is to be counted by ``countDelivery(_:)`` or ``drop(_:)``.
    mutating func next(
        _ datagram: inout MutableRawSpan, _ cursor: inout RecordCursor, now: Instant
    ) -> ReceivedRecord {
        guard following != nil || replaced != nil else {
            source = .current
            return current?.value.next(&datagram, &cursor, now: now) ?? .end
        }
        if !RecordHeader.isMeantForHandshake(datagram.bytes, at: cursor.offset) {
            source = .current
            if let record = current?.value.nextIfOwn(&datagram, &cursor, now: now) { return record }
            if now - replacedAt < Self.lateness {
                source = .previous
                if let record = replaced?.value.nextIfOwn(&datagram, &cursor, now: now) { return record }
            }
        }
        source = following == nil ? .current : .next
        return
            (following == nil
            ? current?.value.next(&datagram, &cursor, now: now) : following?.value.next(&datagram, &cursor, now: now))
            ?? .end
    }

    /// Whether replaced keys are still kept although their time is over.
    func hasOutdated(_ now: Instant) -> Bool { replaced != nil && now - replacedAt >= Self.lateness }

    /// Counts the last record's data as delivered.
    mutating func countDelivery(_ byteCount: Int) {
        if source == .current {
            current?.value.countDelivery(byteCount)
        } else {
            _ = with(source) { $0.countDelivery(byteCount) }
        }
    }

    /// Counts the last record's data as dropped.
    mutating func drop(_ reason: DropReason) {
        _ = with(source) { $0.drop(reason) }
    }
}

extension Association {
    /// Lends it to `body`, where it is behind an optional.
    fileprivate mutating func with<Result>(_ body: (inout Self) -> Result) -> Result { body(&self) }

    /// Whether both ends agreed on shared mode.
    var isShared: Bool { description?.applicationProtocol == SharedFrame.applicationProtocol }
}
