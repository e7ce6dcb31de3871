// One DTLS 1.2 connection with a peer, without socket, clock or randomness of its own.
//
// A datagram from the peer:
//   1. is cut into records; what is no record is counted and dropped;
//   2. while the handshake runs, its records go to the HandshakeSupervisor, and those of data wait;
//   3. at the hand-over the engine's keys and numbers become the RecordLayer;
//   4. once the owner has accepted the peer, the waiting records are opened and their data is delivered;
//   5. from then on records of epoch 1 are opened in place: data is delivered, alerts are obeyed, a repeated Finished
//      is answered with the final flight. Nothing unauthenticated has any effect besides a counter.
// A datagram to the peer is sealed straight into the caller's buffer.

import Wire

/// One association. Used from one thread; its methods never call back except into the closures handed to them.
public final class Association<Engine: HandshakeEngine> {
    /// What has changed and is told once.
    public enum Event: Sendable {
        /// The handshake is done; data flows once the owner has called ``Association/accept(now:deliver:)``.
        case established(AssociationDescription)
        /// The path MTU is another than before, or known at all: then there is none before.
        case pathMTUChanged(PathMTU, from: Int?)
        /// The peer has answered a heartbeat, and took so long.
        case roundTrip(Duration)
        /// What has come of ``Association/ping(now:)``: the time that the answer took, or nil where the heartbeat was lost.
        case pinged(Duration?)
        /// The keys have protected as many records as they should; told again now and then.
        case worn
        /// The association is over.
        case ended(AssociationEnd)
    }

    /// A datagram to send besides those of data.
    public struct Transmit: Equatable, Sendable {
        /// The whole datagram.
        public var datagram: [UInt8]
        /// Whether IP may fragment it; a probe of the path MTU it must not.
        public var mayFragment: Bool
    }

    /// What it has carried.
    public private(set) var counters = AssociationCounters()
    /// What is known of it once it is established.
    public private(set) var description: AssociationDescription?
    /// Whether ``pollTransmit()``, ``pollEvent()`` or ``deadline`` may have something new. The caller resets it.
    public var needsAttention = false
    /// How many authentic records have come since the handshake.
    public private(set) var authenticRecords: UInt64 = 0

    // One of the two while the association lives, neither afterwards.
    private var handshake: HandshakeSupervisor<Engine>?
    private var records: RecordLayer<Engine.Protection>?
    private var finalFlight: FinalFlightKeeper?
    /// Nil once the owner has accepted the peer.
    private var early: EarlyRecords? = EarlyRecords()
    private var path: PathKeeper?
    private let pathSettings: PathSettings
    private let headers: Int
    private let seed: UInt64
    private var datagramSize: Int
    private var hasIgnoredHelloRequest = false
    private var hasRefusedRenegotiation = false
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
        return .earlier(path?.deadline, finalFlight?.deadline)
    }

    /// Bytes that a sealed datagram is longer than its plaintext; 0 unless established.
    public var overhead: Int { records?.overhead ?? 0 }

    /// The most plaintext bytes that reach the peer in one packet, as far as is known.
    public var maximumDatagram: Int { path?.maximumDatagram ?? 0 }

    /// Whether ``maximumDatagram`` has been more than an assumption.
    public var isPathKnown: Bool { path?.isKnown ?? false }

    /// Whether ``maximumDatagram`` is known as well as it can be, or a search is still going on.
    public var isPathSettled: Bool { path?.isSettled ?? false }

    /// What is known of the path's MTU once the association is established.
    public var pathMTU: PathMTU? { path?.pathMTU }

    /// What has come of heartbeats; nil where the peer takes no part.
    public var heartbeat: HeartbeatStatistics? { path?.monitor?.statistics }

    // MARK: Input

    /// Sends a client's first flight.
    public func start(now: Instant) {
        guard let progress = handshake?.start(now: now) else { return }
        proceed(progress, now: now)
    }

    /// Takes a datagram from the peer. Application data is handed to `deliver`, record by record, in place.
    public func receive(_ datagram: inout MutableRawSpan, now: Instant, deliver: (borrowing RawSpan) -> Void) {
        var offset = 0
        repeat {
            counters.records &+= 1
            guard let header = RecordHeader(datagram.bytes, at: offset) else {
                counters.drops.add(.malformed)
                return
            }
            let next = offset + RecordHeader.size + header.length
            // The name without the underscore is deprecated: it is to become another operation.
            var record = datagram._mutatingExtracting(offset..<next)
            receive(&record, header: header, now: now, deliver: deliver)
            offset = next
        } while offset < datagram.byteCount
    }

    /// Takes a datagram that may be meant for another association at the same address. Answers false, and counts nothing,
    /// where no record of it is this one's; its bytes are worthless then.
    public func receiveIfOwn(
        _ datagram: inout MutableRawSpan, now: Instant, deliver: (borrowing RawSpan) -> Void
    ) -> Bool {
        let counters = counters
        let before = authenticRecords
        receive(&datagram, now: now, deliver: deliver)
        if authenticRecords == before { self.counters = counters }
        return authenticRecords != before
    }

    /// Lets data flow, after the event of establishment: what has come in already is delivered now. Until then nothing
    /// of the peer's goes any further, because the owner may ``refuse()`` it.
    public func accept(now: Instant, deliver: (borrowing RawSpan) -> Void) {
        let waiting = early.take()?.records ?? []
        for var record in waiting {
            guard let header = RecordHeader(record.bytes, at: 0) else { continue }
            record.withMutableBytes { receiveProtected(&$0, header: header, now: now, deliver: deliver) }
        }
    }

    /// Does what is due at ``deadline``; before it, nothing.
    public func handleTimeout(now: Instant) {
        guard let deadline, now >= deadline else { return }
        if let progress = handshake?.handleTimeout(now: now) {
            proceed(progress, now: now)
            return
        }
        if let due = finalFlight?.deadline, now >= due {
            repeatFinalFlight()
            finalFlight?.rearm(now)
            needsAttention = true
        }
        if let due = path?.deadline, now >= due { follow(path?.handleTimeout(now: now) ?? []) }
    }

    /// Asks the peer for an answer, to tell the time it takes as an event: by a heartbeat of its own, now or as soon as the
    /// one in flight is over. It is sent once, where RFC 6520 §3 would repeat it: an answer to one of several copies tells no
    /// time. Lost, it is told as that, once it has waited for the time of a request.
    ///
    /// - Returns: whether the peer takes requests.
    public func ping(now: Instant) -> Bool {
        guard let actions = path?.ping(now: now) else { return false }
        follow(actions)
        needsAttention = true
        return true
    }

    /// Takes the word of ICMP, or of the local interface, that no IP packet of more than `size` bytes gets through.
    public func handlePathHint(_ size: Int, now: Instant) {
        follow(path?.handleHint(size, now: now) ?? [])
    }

    /// Takes the interface's refusal of a datagram as too large. Answers whether it may have been a
    /// probe of the path MTU, whose refusal is an answer rather than a drop.
    public func handleRefusal(now: Instant) -> Bool {
        guard let actions = path?.handleRefusal(now: now) else { return false }
        follow(actions)
        return true
    }

    /// Seals one datagram of application data at the start of `buffer`, which must have room for ``overhead`` more
    /// bytes than `plaintext`.
    ///
    /// - Returns: the sealed datagram's length; nil where it was dropped, which is counted.
    public func seal(_ plaintext: borrowing RawSpan, into buffer: inout MutableRawSpan) -> Int? {
        seal(byteCount: plaintext.byteCount, into: &buffer) { $0.write(plaintext, at: 0) }
    }

    /// Seals `byteCount` bytes of application data that `write` puts into their place in `buffer`, so that what is composed
    /// of parts is written once. `write` is given exactly the bytes of the plaintext, and fills all of them; what it leaves
    /// alone goes to the peer as it is. It must not use this association, and is not called where nothing can be sealed.
    ///
    /// - Returns: the sealed datagram's length, ``overhead`` more than `byteCount`; nil where it was dropped, which is
    ///   counted.
    public func seal(
        byteCount: Int, into buffer: inout MutableRawSpan, write: (inout MutableRawSpan) -> Void
    ) -> Int? {
        counters.offered &+= 1
        guard byteCount <= RecordHeader.maximumPlaintextLength else {
            counters.drops.add(.oversize)
            return nil
        }
        let sealed = records?.seal(.applicationData, byteCount: byteCount, into: &buffer, write: write)
        if records?.isExhausted == true { end(.exhausted) }
        guard let length = sealed else {
            counters.drops.add(.closed)
            return nil
        }
        counters.datagramsOut &+= 1
        counters.bytesOut &+= UInt64(byteCount)
        noteWear(counters.datagramsOut)
        if path?.sent(length) == true { needsAttention = true }
        return length
    }

    /// Tells that the keys are worn, at the limit and then each 256th part of it.
    private func noteWear(_ count: UInt64) {
        let limit = pathSettings.recordLimit
        guard count >= limit, (count - limit) % max(limit / 256, 1) == 0 else { return }
        events.append(.worn)
        needsAttention = true
    }

    /// Ends the association from this side, telling the peer if there are keys to tell it with.
    public func close() {
        close(with: Alert(.warning, .closeNotify), because: .closed)
    }

    /// Ends the association because the peer is not allowed to have one.
    public func refuse() {
        close(with: Alert(.fatal, .accessDenied), because: .closed)
    }

    /// Forgets what is under way without a word to the peer, for another association that takes this one's place. What waits
    /// counts as dropped.
    public func abandon() { end(.closed) }

    /// Counts a datagram that was to be sent and is dropped instead.
    public func dropOffered(_ reason: DropReason) {
        counters.offered &+= 1
        counters.drops.add(reason)
    }

    /// Counts the record that is being delivered, of `byteCount` bytes, as dropped after all.
    public func dropDelivered(_ reason: DropReason, byteCount: Int) {
        counters.datagramsIn &-= 1
        counters.bytesIn &-= UInt64(byteCount)
        counters.drops.add(reason)
    }

    /// Counts the record that has ended the handshake as dropped after all: it led to nothing.
    public func dropFinished(_ reason: DropReason) {
        counters.control &-= 1
        counters.drops.add(reason)
    }

    /// Counts what the system did not send.
    public func countRefusal(_ reason: DropReason, _ count: Int) {
        counters.drops.add(reason, count)
    }

    // MARK: Output

    /// The next datagram of a handshake, an alert or a repeated flight; data never comes this way.
    public func pollTransmit() -> Transmit? {
        if let first = transmits.first {
            // The last one takes the array's memory with it: thousands of associations have nothing to send.
            if transmits.count == 1 { transmits = [] } else { transmits.removeFirst() }
            return first
        }
        return handshake?.pollTransmit().map { Transmit(datagram: $0, mayFragment: true) }
    }

    /// The next thing to tell.
    public func pollEvent() -> Event? {
        guard let first = events.first else { return nil }
        if events.count == 1 { events = [] } else { events.removeFirst() }
        return first
    }

    // MARK: Records

    private func receive(
        _ record: inout MutableRawSpan, header: RecordHeader, now: Instant, deliver: (borrowing RawSpan) -> Void
    ) {
        guard header.version.isDTLS else {
            counters.drops.add(.version)
            return
        }
        if header.type == .applicationData, header.number.epoch == 1, early != nil {
            if early?.append(record.bytes) == false { counters.drops.add(.early) }
        } else if records != nil {
            receiveProtected(&record, header: header, now: now, deliver: deliver)
        } else if let progress = handshake?.receive(
            record.bytes, header: header, now: now, counters: &counters)
        {
            proceed(progress, now: now)
        } else {
            counters.drops.add(.closed)
        }
    }

    private func receiveProtected(
        _ record: inout MutableRawSpan, header: RecordHeader, now: Instant, deliver: (borrowing RawSpan) -> Void
    ) {
        guard header.number.epoch == 1, header.version == .dtls12 else {
            counters.drops.add(misplacement(header))
            return
        }
        switch records?.open(&record, header: header) {
        case nil:
            // An earlier record of the same datagram has ended the association.
            counters.drops.add(.closed)
        case .drop(let reason):
            counters.drops.add(reason)
        case .plaintext(let range):
            // From here on the record is the peer's word.
            path?.heard(now)
            authenticRecords &+= 1
            noteWear(authenticRecords)
            if header.type == .applicationData {
                finalFlight = nil
                counters.datagramsIn &+= 1
                counters.bytesIn &+= UInt64(range.count)
                deliver(record.bytes.extracting(range))
            } else {
                receiveControl(record.bytes.extracting(range), type: header.type, now: now)
            }
        }
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

    private func receiveControl(_ content: borrowing RawSpan, type: ContentType, now: Instant) {
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
            if let actions = path?.receive(content, now: now) {
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

    private func refuseRenegotiation(_ request: HandshakeHeader.MessageType) {
        counters.drops.add(.renegotiation)
        // A server's wish may be ignored (RFC 5246 §7.4.1.1): told no, an OpenSSL server ends the association. One of
        // GnuTLS's waits and repeats itself until it is told. A client waits anyway (RFC 5746 §4.5).
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
    private func proceed(_ progress: HandshakeProgress<Engine.Protection>, now: Instant) {
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
            let layer = RecordLayer(result)
            path = PathKeeper(
                pathSettings, headers: headers, overhead: layer.overhead, peerMode: result.peerHeartbeatMode,
                seed: seed, now: now)
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

    private func repeatFinalFlight() {
        guard var records else { return }
        for datagram in finalFlight?.repeated(by: &records, datagramSize: datagramSize) ?? [] { transmit(datagram) }
        self.records = records
    }

    private func follow(_ actions: [PathKeeper.Action]) {
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

    private func transmit(_ datagram: [UInt8], mayFragment: Bool = true) {
        transmits.append(Transmit(datagram: datagram, mayFragment: mayFragment))
    }

    private func send(_ alert: Alert) {
        if let datagram = records?.datagram(.alert, alert.bytes) { transmit(datagram) }
    }

    private func close(with alert: Alert, because reason: AssociationEnd) {
        send(alert)
        end(reason)
    }

    private func end(_ reason: AssociationEnd) {
        guard handshake != nil || records != nil else { return }
        handshake = nil
        records = nil
        finalFlight = nil
        path = nil
        discardEarly()
        needsAttention = true
        events.append(.ended(reason))
    }

    private func discardEarly() {
        counters.drops.add(.closed, early?.records.count ?? 0)
        early = nil
    }
}
