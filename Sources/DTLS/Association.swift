// One DTLS 1.2 connection with a peer, without socket, clock or randomness of its own.
//
// A datagram from the peer, which its owner pulls record by record (`next`):
//   1. is cut into records; anything that is not a record is counted and dropped;
//   2. while the handshake runs, its records go to the HandshakeSupervisor, and records of data wait;
//   3. at the hand-over the engine's keys and numbers become the record layer;
//   4. once the owner has accepted the peer, it takes the records that waited and pulls them like all others;
//   5. from then on records of epoch 1 are opened in place: data is the owner's, alerts are obeyed, a repeated Finished
//      is answered with the final flight. Nothing unauthenticated has any effect besides a counter.
// A datagram to the peer is sealed from its parts straight into the caller's buffer.
//
// Nothing is called back: what is to be sent or told is polled.

import ContainersPreview
import Settings
import Wire

/// One association. It belongs to one owner, and is changed in place.
public struct Association<Engine: HandshakeEngine>: ~Copyable {
    /// What it has carried.
    public private(set) var counters = AssociationCounters()
    /// What is known of it once it is established.
    public private(set) var description: AssociationDescription?
    /// Whether ``pollTransmit()``, ``pollEvent()`` or ``deadline`` may have something new. The caller resets it.
    public var needsAttention = false
    /// How many authentic records have come since the handshake.
    private var authenticRecords: UInt64 = 0

    // One of the two while the association lives, neither afterwards.
    private var handshake: HandshakeSupervisor<Engine>?
    private var records: Engine.Records?
    private var finalFlight: FinalFlightKeeper?
    /// Nil once the owner has accepted the peer.
    private var early: UniqueBox<EarlyRecords>? = UniqueBox(EarlyRecords())
    /// In a box: behind an optional it would be copied to be looked at.
    private var path: UniqueBox<PathKeeper>?
    private let pathSettings: PathSettings
    @CompactInteger private var headers: Int
    private let seed: UInt64
    @CompactInteger private var datagramSize: Int
    private var hasIgnoredHelloRequest = false
    private var hasRefusedRenegotiation = false
    private var hasToldSilence = false
    private var transmits: [Transmit] = []
    private var events: [Event] = []

    /// Begins with an engine that has not been used. At the client, ``start(now:)`` is called next; a server waits for
    /// the ClientHello. `maximumTimeouts` is how many times a flight may go unanswered, doubling from 1 s, before
    /// the attempt is given up; `helloInterval` is how long a client's first flight may go unrepeated while nothing at all
    /// has been heard from the peer. `headers` are the bytes of the IP and UDP headers towards the peer, `seed` is for padding.
    public init(
        engine: Engine, path: PathSettings = PathSettings(), headers: Int = 28, seed: UInt64 = 0,
        maximumTimeouts: Int = 6, helloInterval: Duration? = nil, now: Instant
    ) {
        datagramSize = engine.datagramSize
        pathSettings = path
        self.headers = headers
        self.seed = seed
        handshake = HandshakeSupervisor(
            engine: engine, maximumTimeouts: maximumTimeouts, helloInterval: helloInterval, now: now)
    }

    /// Whether data may flow.
    public var isEstablished: Bool { records != nil }

    /// Whether the handshake is still under way.
    public var isHandshaking: Bool { handshake != nil }

    /// When ``handleTimeout(now:)`` has to be called next; nil when only the peer or the application can change
    /// anything.
    public var deadline: Instant? {
        if let handshake { return handshake.deadline }
        return .earlier(path.read { $0.value.deadline } ?? nil, finalFlight?.deadline)
    }

    /// Bytes that a sealed datagram is longer than its plaintext; 0 unless established.
    public var overhead: Int { records?.overhead ?? 0 }

    /// The most plaintext bytes that reach the peer in one packet, as far as is known.
    @inline(__always)
    public var maximumDatagram: Int { path.read { $0.value.maximumDatagram } ?? 0 }

    /// The most plaintext bytes that the peer takes in one record, however many packets carry that.
    @inline(__always)
    public var maximumPlaintext: Int { path.read { $0.value.maximumPlaintext } ?? RecordHeader.maximumPlaintextLength }

    /// Whether ``maximumDatagram`` has been more than an assumption.
    @inline(__always)
    public var isPathKnown: Bool { path.read { $0.value.isKnown } ?? false }

    /// Whether ``maximumDatagram`` is known as well as it can be, or a search is still going on.
    @inline(__always)
    public var isPathSettled: Bool { path.read { $0.value.isSettled } ?? false }

    /// What is known of the path's MTU once the association is established.
    public var pathMTU: PathMTU? { path.read { $0.value.pathMTU } }

    /// What has come of heartbeats; nil where the peer takes no part.
    public var heartbeat: HeartbeatStatistics? { path.read { $0.value.heartbeat } ?? nil }

    // MARK: Input

    /// Sends a client's first flight.
    public mutating func start(now: Instant) {
        guard let progress = handshake?.start(now: now) else { return }
        proceed(progress, now: now)
    }

    /// Takes the next record of a datagram from the peer; the cursor begins at the datagram's start and moves on.
    public mutating func next(
        _ datagram: inout MutableRawSpan, _ cursor: inout RecordCursor, now: Instant
    ) -> ReceivedRecord {
        guard !cursor.isAtEnd(of: datagram.byteCount) else { return .end }
        if !cursor.isCounted { counters.records &+= 1 }
        guard let header = RecordHeader(datagram.bytes, at: cursor.offset) else {
            cursor.skipAll(of: datagram.byteCount)
            counters.drops.add(.malformed)
            return .handled
        }
        let start = cursor.advance(over: header)
        // The name without the underscore is deprecated: it is to become another operation.
        var record = datagram._mutatingExtracting(start..<cursor.offset)
        return receive(&record, header: header, at: start, now: now)
    }

    /// Takes the next record of a datagram that may be meant for another association at the same address. Returns nil,
    /// with nothing counted and nothing changed, unless the record proves to be this one's.
    public mutating func nextIfOwn(
        _ datagram: inout MutableRawSpan, _ cursor: inout RecordCursor, now: Instant
    ) -> ReceivedRecord? {
        guard early == nil, !cursor.isAtEnd(of: datagram.byteCount),
            let header = RecordHeader(datagram.bytes, at: cursor.offset), header.number.epoch == 1,
            header.version == .dtls12
        else { return nil }
        let start = cursor.offset
        var record = datagram._mutatingExtracting(start..<start + RecordHeader.size + header.length)
        // A failed opening destroys it.
        let sealed = record.bytes.copied()
        guard case .plaintext(let range)? = records?.open(&record, header: header) else {
            record.write(sealed.bytes, at: 0)
            return nil
        }
        cursor.advance(over: header)
        if !cursor.isCounted { counters.records &+= 1 }
        return take(range, of: record.bytes, header: header, at: start, now: now)
    }

    /// Lets data flow, after the event of establishment. Until then no data of the peer goes any further, because the
    /// owner may ``refuse()`` it.
    ///
    /// - Returns: the records that have already come, for ``next(_:_:now:)`` with a cursor that is
    ///   ``RecordCursor/counted``.
    public mutating func accept() -> [[UInt8]] { early.take()?.consume().records ?? [] }

    /// Counts a record's data as delivered, of `byteCount` bytes.
    public mutating func countDelivery(_ byteCount: Int) {
        counters.datagramsIn &+= 1
        counters.bytesIn &+= UInt64(byteCount)
    }

    /// Counts a record's data as dropped.
    public mutating func drop(_ reason: DropReason) { counters.drops.add(reason) }

    /// Does what is due at ``deadline``; before it, nothing.
    public mutating func handleTimeout(now: Instant) {
        guard let deadline, now >= deadline else { return }
        if let progress = handshake?.handleTimeout(now: now) {
            proceed(progress, now: now)
            if !hasToldSilence, handshake?.isUnanswered == true {
                hasToldSilence = true
                events.append(.unanswered)
            }
            return
        }
        if let due = finalFlight?.deadline, now >= due {
            repeatFinalFlight()
            finalFlight?.rearm(now)
            needsAttention = true
        }
        if let due = path.read({ $0.value.deadline }) ?? nil, now >= due {
            follow(path?.value.handleTimeout(now: now) ?? [])
        }
    }

    /// Measures how long the peer takes to answer, and reports it as an event. It sends a separate heartbeat, now or as
    /// soon as the one in flight is over, and sends it once, where RFC 6520 §3 would repeat it: an answer to one of
    /// several copies tells no time. If no answer comes within the time of a request, it is reported as lost.
    ///
    /// - Returns: whether the peer takes requests.
    public mutating func ping(now: Instant) -> Bool {
        guard let actions = path?.value.ping(now: now) else { return false }
        follow(actions)
        needsAttention = true
        return true
    }

    /// Takes the word of ICMP, or of the local interface, that no IP packet of more than `size` bytes gets through.
    public mutating func handlePathHint(_ size: Int, now: Instant) {
        follow(path?.value.handleHint(size, now: now) ?? [])
    }

    /// Takes the interface's refusal of a datagram as too large. Returns whether it may have been a probe of the path
    /// MTU, to which a refusal is an answer rather than a drop.
    public mutating func handleRefusal(now: Instant) -> Bool {
        guard let actions = path?.value.handleRefusal(now: now) else { return false }
        follow(actions)
        return true
    }

    /// Seals one datagram of application data, `prefix` and `payload` one behind the other, at the start of `buffer`, which
    /// must have room for ``overhead`` more bytes.
    ///
    /// - Returns: the sealed datagram's length; nil where it was dropped, which is counted.
    public mutating func seal(
        prefix: borrowing RawSpan, payload: borrowing RawSpan, into buffer: inout MutableRawSpan
    ) -> Int? {
        counters.offered &+= 1
        let byteCount = prefix.byteCount + payload.byteCount
        guard byteCount <= maximumPlaintext else {
            counters.drops.add(.oversize)
            return nil
        }
        let sealed = records?.seal(.applicationData, prefix: prefix, payload: payload, into: &buffer)
        if records?.isExhausted == true { end(.exhausted) }
        guard let length = sealed else {
            counters.drops.add(.closed)
            return nil
        }
        counters.datagramsOut &+= 1
        counters.bytesOut &+= UInt64(byteCount)
        noteWear(counters.datagramsOut)
        if path?.value.sent(length) == true { needsAttention = true }
        return length
    }

    /// Seals one datagram of application data that stands in one piece.
    public mutating func seal(_ plaintext: borrowing RawSpan, into buffer: inout MutableRawSpan) -> Int? {
        seal(prefix: RawSpan(), payload: plaintext, into: &buffer)
    }

    /// Reports that the keys are worn, at the limit and then after each further 256th part of it.
    private mutating func noteWear(_ count: UInt64) {
        let limit = pathSettings.recordLimit
        guard count >= limit, (count - limit) % max(limit / 256, 1) == 0 else { return }
        events.append(.worn)
        needsAttention = true
    }

    /// Ends the association from this side, telling the peer if there are keys to tell it with.
    public mutating func close() {
        close(with: Alert(.warning, .closeNotify), because: .closed)
    }

    /// Ends the association because the peer is not allowed to have one.
    public mutating func refuse() {
        close(with: Alert(.fatal, .accessDenied), because: .closed)
    }

    /// Ends without a word to the peer, because another association takes this one's place. Records that wait count as
    /// dropped.
    public mutating func abandon() { end(.closed) }

    /// Ends because nothing can be sent any more from where it has been sent.
    public mutating func loseAddress() { end(.noAddress) }

    /// Counts a datagram that was to be sent and is dropped instead.
    public mutating func dropOffered(_ reason: DropReason) {
        counters.offered &+= 1
        counters.drops.add(reason)
    }

    /// Counts the record that ended the handshake as dropped after all: it led to nothing.
    public mutating func dropFinished(_ reason: DropReason) {
        counters.control &-= 1
        counters.drops.add(reason)
    }

    /// Counts what the system did not send.
    public mutating func countRefusal(_ reason: DropReason, _ count: Int) {
        counters.drops.add(reason, count)
    }

    // MARK: Output

    /// The next datagram of a handshake, an alert, a heartbeat or a repeated flight; data never comes this way.
    public mutating func pollTransmit() -> Transmit? {
        if let first = transmits.first {
            // With the last one the array's memory goes too: thousands of associations have nothing to send.
            if transmits.count == 1 { transmits = [] } else { transmits.removeFirst() }
            return first
        }
        return handshake?.pollTransmit().map { Transmit(datagram: $0, mayFragment: true) }
    }

    /// The next thing to tell.
    public mutating func pollEvent() -> Event? {
        guard let first = events.first else { return nil }
        if events.count == 1 { events = [] } else { events.removeFirst() }
        return first
    }

    // MARK: Records

    private mutating func receive(
        _ record: inout MutableRawSpan, header: RecordHeader, at start: Int, now: Instant
    ) -> ReceivedRecord {
        guard header.version.isDTLS else {
            counters.drops.add(.version)
            return .handled
        }
        if header.type == .applicationData, header.number.epoch == 1, early != nil {
            if early?.value.append(record.bytes) == false { counters.drops.add(.early) }
            return .handled
        }
        if records != nil { return open(&record, header: header, at: start, now: now) }
        if let progress = handshake?.receive(record.bytes, header: header, now: now, counters: &counters) {
            proceed(progress, now: now)
        } else {
            // An earlier record of the same datagram has ended the association.
            counters.drops.add(.closed)
        }
        return .handled
    }

    private mutating func open(
        _ record: inout MutableRawSpan, header: RecordHeader, at start: Int, now: Instant
    ) -> ReceivedRecord {
        guard header.number.epoch == 1, header.version == .dtls12 else {
            counters.drops.add(misplacement(header))
            return .handled
        }
        switch records?.open(&record, header: header) {
        case nil:
            return .handled
        case .dropped(let reason):
            counters.drops.add(reason)
            return .handled
        case .plaintext(let range):
            return take(range, of: record.bytes, header: header, at: start, now: now)
        }
    }

    /// Takes an authentic record: from here on it is the peer's word.
    private mutating func take(
        _ range: Range<Int>, of record: borrowing RawSpan, header: RecordHeader, at start: Int, now: Instant
    ) -> ReceivedRecord {
        path?.value.heard(now)
        authenticRecords &+= 1
        noteWear(authenticRecords)
        guard header.type == .applicationData else {
            receiveControl(record.extracting(range), type: header.type, now: now)
            return .control
        }
        if finalFlight != nil { finalFlight = nil }
        return .data(start + range.lowerBound..<start + range.upperBound)
    }

    /// Why a record has no place in an established association.
    private func misplacement(_ header: RecordHeader) -> DropReason {
        switch (header.number.epoch, header.type) {
        case (0, .handshake), (0, .changeCipherSpec): .handshakeOver
        case (0, _): .contentType
        case (1, _): .version
        default: .epoch
        }
    }

    private mutating func receiveControl(_ content: borrowing RawSpan, type: ContentType, now: Instant) {
        switch type {
        case .alert:
            guard let alert = Alert(content) else {
                counters.drops.add(.malformed)
                return
            }
            counters.control &+= 1
            if alert.description == .closeNotify {
                // RFC 5246 §7.2.1: answered with a close_notify of our own.
                close(with: Alert(.warning, .closeNotify), because: .closedByPeer)
            } else if alert.level == .fatal {
                end(.alert(alert.description))
            }
        case .handshake:
            guard let message = HandshakeHeader(content) else {
                counters.drops.add(.malformed)
                return
            }
            if message.type == .finished {
                counters.drops.add(.handshakeOver)
                repeatFinalFlight()
            } else {
                refuseRenegotiation(message.type)
            }
        case .heartbeat:
            if let actions = path?.value.receive(content, now: now) {
                counters.control &+= 1
                follow(actions)
            } else {
                counters.drops.add(.heartbeat)
            }
        default:
            counters.drops.add(.contentType)
        }
        needsAttention = true
    }

    private mutating func refuseRenegotiation(_ request: HandshakeHeader.MessageType) {
        counters.drops.add(.renegotiation)
        // A server's request may be ignored (RFC 5246 §7.4.1.1). If refused, an OpenSSL server ends the association; a
        // GnuTLS server repeats its request until it is refused. A client waits anyway (RFC 5746 §4.5).
        if request == .helloRequest, !hasIgnoredHelloRequest {
            hasIgnoredHelloRequest = true
            return
        }
        // One answer is enough; more would be an echo.
        guard !hasRefusedRenegotiation else { return }
        hasRefusedRenegotiation = true
        send(Alert(.warning, .noRenegotiation))
    }

    // MARK: Hand-over and end

    /// Follows the handshake to its next phase.
    private mutating func proceed(_ progress: HandshakeProgress<Engine.Protection>, now: Instant) {
        needsAttention = true
        if case .waiting = progress { return }
        guard let done = handshake else { return }
        datagramSize = done.datagramSize
        // The engine goes here, so its last datagrams are taken first.
        while let datagram = done.pollTransmit() { transmit(datagram) }
        handshake = nil
        switch progress {
        case .waiting:
            break
        case .failed(let failure):
            discardEarly()
            events.append(.ended(.handshakeFailed(failure)))
        case .established(let result):
            let layer = Engine.Records(result)
            path = UniqueBox(
                PathKeeper(
                    pathSettings, headers: headers, overhead: layer.overhead,
                    maximumPlaintext: result.maximumPlaintext, peerMode: result.peerHeartbeatMode, seed: seed, now: now)
            )
            records = layer
            finalFlight = result.finalFlight.map { FinalFlightKeeper($0, isTimed: result.isResumed, now: now) }
            let description = AssociationDescription(
                peer: result.peer, cipherSuite: result.cipherSuite, isResumed: result.isResumed,
                handshakeDuration: now - done.startedAt, peerHeartbeatMode: result.peerHeartbeatMode,
                applicationProtocol: result.applicationProtocol, serverName: result.serverName)
            self.description = description
            events.append(.established(description))
        }
    }

    private mutating func repeatFinalFlight() {
        guard let finalFlight, var records else { return }
        for datagram in finalFlight.repeated(by: &records, datagramSize: datagramSize) { transmit(datagram) }
        self.records = records
    }

    private mutating func follow(_ actions: [PathKeeper.Action]) {
        guard !actions.isEmpty else { return }
        needsAttention = true
        for action in actions {
            switch action {
            case .send(let content, let mayFragment):
                guard let datagram = records?.datagram(.heartbeat, content) else { continue }
                transmit(datagram, mayFragment: mayFragment)
            case .pathMTUChanged(let before):
                if let pathMTU { events.append(.pathMTUChanged(pathMTU, from: before)) }
            case .roundTrip(let duration):
                events.append(.roundTrip(duration))
            case .pinged(let duration):
                events.append(.pinged(duration))
            case .dead:
                end(.unanswered)
            }
        }
    }

    private mutating func transmit(_ datagram: [UInt8], mayFragment: Bool = true) {
        transmits.append(Transmit(datagram: datagram, mayFragment: mayFragment))
    }

    private mutating func send(_ alert: Alert) {
        if let datagram = records?.datagram(.alert, alert.bytes) { transmit(datagram) }
    }

    private mutating func close(with alert: Alert, because reason: AssociationEnd) {
        send(alert)
        end(reason)
    }

    private mutating func end(_ reason: AssociationEnd) {
        guard handshake != nil || records != nil else { return }
        handshake = nil
        records = nil
        finalFlight = nil
        path = nil
        discardEarly()
        needsAttention = true
        events.append(.ended(reason))
    }

    private mutating func discardEarly() {
        counters.drops.add(.closed, early?.value.records.count ?? 0)
        early = nil
    }
}
