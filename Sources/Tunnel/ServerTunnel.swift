// The server side of a tunnel in plain mode: one shared socket for all peers, told apart by address in user space.
//
// A datagram from a peer:
//   1. that begins with a ClientHello goes through the cookie exchange, which remembers nothing of the peer;
//   2. a hello with a valid cookie begins an association, beside the one that the address may already have: the old one
//      stays until the new one has authenticated (RFC 6347 §4.2.8), so that nobody can end it by a forged hello;
//   3. anything else goes to the association of its address, or is dropped and counted.
// Each association has a socket of its own to the target, so that the application sees one source port per client.

public import DTLS
public import Wire

/// The server side of one tunnel on one worker. It has no socket and no clock: its owner brings datagrams and time, and
/// does what ``DatagramOutput`` and the events say.
public final class ServerTunnel<Engine: HandshakeEngine, Key: MessageAuthentication, Output: DatagramOutput> {
    private struct Flow {
        var serial: UInt64 = 0
        var association: Association<Engine>?
        /// The hello that the running handshake answers, the association's or the successor's.
        var hello: AuthenticationTag?
        /// A handshake beside an established association.
        var successor: Association<Engine>?
        var localAddress = IPAddress.anyIPv6
        var establishedAt: Instant?
        var armed: Instant?
        var toldOversizeAt: Instant?
    }

    /// Drops that belong to no association that is still there, and what ended associations carried.
    public private(set) var counters = TunnelCounters()

    private let target: ForwardTarget
    private let limits: TunnelLimits
    private let access: AccessList
    private let path: TunnelPath
    private let output: Output
    private let makeEngine: (Int) -> Engine?

    private var random: SplitMix64
    private var address: Endpoint?
    private var askedAt: Instant?
    private var cookies: CookieExchange<Key>
    private var flows: FlowTable<Flow>
    private var deadlines = DeadlineQueue()
    private var nextSerial: UInt64 = 1
    private var events: [TunnelEvent] = []
    private var toldLimits: [TunnelLimit: Instant] = [:]
    /// Handshakes beside an established association.
    private var successors = 0

    /// Makes a tunnel without associations. `makeEngine` gives a fresh engine for each handshake, or nil where there
    /// is none to be had; its engines must expect a hello as `cookieExchange` has it.
    public init(
        target: ForwardTarget, limits: TunnelLimits, access: AccessList, path: TunnelPath = TunnelPath(),
        cookieExchange: Bool,
        firstKey: Key, output: Output, seed: UInt64 = 0, now: Instant, makeKey: @escaping () -> Key?,
        makeEngine: @escaping (_ datagramSize: Int) -> Engine?
    ) {
        self.target = target
        self.limits = limits
        self.access = access
        self.path = path
        self.output = output
        random = SplitMix64(seed: seed)
        self.makeEngine = makeEngine
        cookies = CookieExchange(isRequired: cookieExchange, firstKey: firstKey, now: now, makeKey: makeKey)
        flows = FlowTable(vacant: Flow(), granularity: limits.granularity)
        if case .endpoint(let endpoint) = target { address = endpoint }
        refreshAddress(now: now)
    }

    /// How many peers have an association or a handshake under way.
    public var flowCount: Int { flows.count }

    // MARK: Input

    /// Takes a datagram that a peer at `source` sent to the local address `local`.
    public func handlePeer(
        _ datagram: inout MutableRawSpan, from source: Endpoint, to local: IPAddress, now: Instant
    ) {
        let known = flows.index(of: source)
        if ClientHello.begins(datagram.bytes) {
            handleHello(&datagram, from: source, to: local, known: known, now: now)
        } else if let known {
            deliver(&datagram, to: known, at: local, now: now)
        } else {
            counters.drops.add(.noAssociation)
        }
    }

    /// Takes a datagram that the target sent to a flow's own socket.
    public func handleTarget(_ datagram: borrowing RawSpan, flow: FlowID, now: Instant) {
        guard let index = flows.index(of: flow), let association = flows[index].association else {
            counters.drops.add(.noAssociation)
            return
        }
        flows.touch(index, now: now)
        let fate = association.fate(of: datagram.byteCount, path.oversize)
        // While the search goes on, a larger size may be about to be found.
        if fate != .whole, association.isPathSettled { tellOversize(datagram.byteCount, fate, index, now: now) }
        if case .dropped = fate {
            association.countDrop(.oversize)
            return
        }
        output.sendShared(
            flow, to: flows.key(index), from: flows[index].localAddress,
            maximum: datagram.byteCount + association.overhead, mayFragment: fate != .whole
        ) { buffer in
            association.seal(datagram, into: &buffer)
        }
        if association.needsAttention { serve(index, now: now) }
    }

    /// Takes the answer to ``DatagramOutput/resolve()``; empty when there was none. Associations to come use it.
    public func handleAddresses(_ resolved: [Endpoint]) {
        if let first = resolved.first {
            address = first
        } else if case .name(let name) = target {
            events.append(.unresolved(name, retryIn: Self.resolutionInterval))
        }
    }

    /// Counts datagrams of a flow that the system did not send.
    public func handleSendFailure(_ flow: FlowID?, _ failure: SendFailure, count: Int, now: Instant) {
        guard let flow, let index = flows.index(of: flow), let association = flows[index].association else {
            counters.drops.add(failure.reason, count)
            return
        }
        association.handleSendFailure(failure, count: count, now: now)
        if association.needsAttention { serve(index, now: now) }
    }

    /// Takes the word of ICMP that no packet of more than `size` bytes reaches `peer`.
    public func handlePathHint(_ size: Int, peer: Endpoint, now: Instant) {
        guard let index = flows.index(of: peer), let association = flows[index].association else { return }
        association.handlePathHint(size, now: now)
        if association.needsAttention { serve(index, now: now) }
    }

    /// Counts datagrams that never reached an association.
    public func countDrop(_ reason: DropReason, _ count: Int = 1) {
        counters.drops.add(reason, count)
    }

    /// Does what is due at ``deadline``.
    public func handleTimeout(now: Instant) {
        while let (flow, deadline) = deadlines.popDue(now) {
            guard let index = flows.index(of: flow), flows[index].armed == deadline else { continue }
            flows[index].armed = nil
            for association in [flows[index].association, flows[index].successor] {
                if let due = association?.deadline, now >= due { association?.handleTimeout(now: now) }
            }
            serve(index, now: now)
        }
        while let (index, touchedAt) = flows.oldest(in: .settled), now - touchedAt >= limits.flowTimeout {
            events.append(.expired(flows.key(index)))
            remove(index)
        }
    }

    /// Ends every association with a close_notify.
    public func close() {
        for index in flows.living { remove(index) }
    }

    // MARK: Output

    /// When ``handleTimeout(now:)`` has to be called next.
    public var deadline: Instant? {
        let idle = flows.oldest(in: .settled).map { $0.touchedAt + limits.flowTimeout }
        guard let timer = deadlines.earliest else { return idle }
        return idle.map { min($0, timer) } ?? timer
    }

    /// Everything to tell since the last call, in order.
    public func takeEvents() -> [TunnelEvent] {
        defer { events = [] }
        return events
    }

    /// Every peer's association.
    public func snapshots() -> [AssociationSnapshot] {
        flows.living.map { index in
            let flow = flows[index]
            return AssociationSnapshot(
                of: flow.association, serial: flow.serial,
                state: flow.establishedAt == nil ? .handshaking : .established, peer: flows.key(index), sender: nil,
                establishedAt: flow.establishedAt)
        }
    }

    // MARK: Hellos

    private func handleHello(
        _ datagram: inout MutableRawSpan, from source: Endpoint, to local: IPAddress, known: Int32?, now: Instant
    ) {
        guard access.allows(source.address) else {
            counters.drops.add(.sourceNotAllowed)
            return
        }
        let decision = withScratch(byteCount: CookieExchange<Key>.replySize) { reply in
            let decision = cookies.handle(datagram.bytes, from: source, now: now, reply: &reply)
            if case .reply(let length) = decision {
                let bytes = reply.bytes.extracting(0..<length)
                output.sendShared(nil, to: source, from: local, maximum: length, mayFragment: true) { buffer in
                    buffer.write(bytes, at: 0) ? length : nil
                }
            }
            return decision
        }
        switch decision {
        case .reply:
            break
        case .drop(let reason):
            // A later fragment of a hello whose first one has already been let in.
            if let known, reason == .noAssociation, handshaking(known) != nil {
                deliver(&datagram, to: known, at: local, now: now)
            } else {
                counters.drops.add(reason)
            }
        case .proceed(let hello):
            if let known, flows[known].hello == hello {
                // The same hello once more: our flight was lost, or is on its way.
                deliver(&datagram, to: known, at: local, now: now)
            } else {
                begin(with: &datagram, hello, from: source, to: local, known: known, now: now)
            }
        }
    }

    private func begin(
        with datagram: inout MutableRawSpan, _ hello: AuthenticationTag, from source: Endpoint, to local: IPAddress,
        known: Int32?, now: Instant
    ) {
        guard makeRoomForHandshake(besides: known, now: now),
            let engine = makeEngine(source.datagramSize(linkMTU: 1500))
        else {
            counters.drops.add(.limit)
            return
        }
        let association = Association(
            engine: engine, path: path.settings, headers: source.headerSize, seed: random.next(), now: now)
        let index: Int32
        if let known {
            index = known
            if let replaced = handshaking(known) {
                counters.add(replaced.counters)
                counters.failedHandshakes += 1
            }
            // Its answers leave from where the hello came to.
            flows[index].localAddress = local
            if flows[index].establishedAt != nil {
                setSuccessor(association, index)
            } else {
                flows[index].association = association
            }
        } else {
            index = flows.insert(
                source, Flow(serial: nextSerial, association: association, localAddress: local), in: .handshaking,
                now: now)
            nextSerial += 1
        }
        flows[index].hello = hello
        association.receive(&datagram, now: now) { _ in }
        association.needsAttention = true
        serve(index, now: now)
    }

    /// The handshake under way at this address, be it a first one or a successor's.
    private func handshaking(_ index: Int32) -> Association<Engine>? {
        flows[index].successor ?? (flows[index].establishedAt == nil ? flows[index].association : nil)
    }

    private func setSuccessor(_ successor: Association<Engine>?, _ index: Int32) {
        if flows[index].successor != nil { successors -= 1 }
        if successor != nil { successors += 1 }
        flows[index].successor = successor
    }

    private func makeRoomForHandshake(besides known: Int32?, now: Instant) -> Bool {
        // One that replaces another at the same address takes no room.
        guard known.flatMap({ handshaking($0) }) == nil,
            flows.count(in: .handshaking) + successors >= limits.maximumHandshakes
        else { return true }
        guard let (oldest, _) = flows.oldest(in: .handshaking) else {
            tellLimit(.handshakes, evicted: nil, now: now)
            return false
        }
        tellLimit(.handshakes, evicted: flows.key(oldest), now: now)
        counters.evictions += 1
        counters.failedHandshakes += 1
        remove(oldest)
        return true
    }

    // MARK: Associations

    private func deliver(
        _ datagram: inout MutableRawSpan, to index: Int32, at local: IPAddress, now: Instant
    ) {
        guard let successor = flows[index].successor else {
            if let association = flows[index].association {
                receive(&datagram, by: association, index, at: local, now: now)
            }
            return
        }
        // Two associations at one address. What is in the clear, and handshake records, can only be meant for the new
        // one; data is tried with the old one, on a copy, because a failed opening destroys it.
        let isHandshake =
            datagram.bytes.uint16(at: 3) == 0 || datagram.bytes.uint8(at: 0) == ContentType.handshake.rawValue
        if !isHandshake, let association = flows[index].association {
            var copy = datagram.bytes.copied()
            let before = association.counters.datagramsIn
            copy.withMutableBytes { receive(&$0, by: association, index, at: local, now: now) }
            if association.counters.datagramsIn != before || !association.isEstablished { return }
        }
        receive(&datagram, by: successor, index, at: local, now: now)
    }

    private func receive(
        _ datagram: inout MutableRawSpan, by association: Association<Engine>, _ index: Int32, at local: IPAddress,
        now: Instant
    ) {
        var isAlive = false
        association.receive(&datagram, now: now) { plaintext in
            isAlive = true
            forward(plaintext, index)
        }
        if isAlive {
            flows.touch(index, now: now)
            // Only what has proven authentic says where replies leave from.
            flows[index].localAddress = local
        }
        if association.needsAttention { serve(index, now: now) }
    }

    private func forward(_ plaintext: borrowing RawSpan, _ index: Int32) {
        output.send(flows.id(index), maximum: plaintext.byteCount, mayFragment: true) { buffer in
            buffer.write(plaintext, at: 0) ? plaintext.byteCount : nil
        }
    }

    /// Sends and tells what the flow's associations have to send and tell, and follows them to their next states.
    private func serve(_ index: Int32, now: Instant) {
        let id = flows.id(index)
        for association in [flows[index].association, flows[index].successor] {
            guard let association, association.needsAttention || association.isHandshaking else { continue }
            association.needsAttention = false
            transmit(association, index)
            while flows.index(of: id) != nil, let event = association.pollEvent() {
                switch event {
                case .established(let description): establish(index, association, description, now: now)
                case .pathMTUChanged(let pathMTU, let before):
                    events.append(
                        .pathMTUChanged(
                            peer: flows.key(index), pathMTU, from: before, maximumDatagram: association.maximumDatagram)
                    )
                case .roundTrip: break
                case .ended(let end): finish(index, association, end, now: now)
                }
            }
        }
        guard flows.index(of: id) != nil else { return }
        let deadlines = [flows[index].association?.deadline, flows[index].successor?.deadline].compactMap { $0 }
        if let earliest = deadlines.min() { arm(index, at: earliest) }
    }

    private func establish(
        _ index: Int32, _ association: Association<Engine>, _ description: AssociationDescription, now: Instant
    ) {
        let peer = flows.key(index)
        guard access.allows(description.peer) else {
            events.append(.refused(peer: peer, description.peer))
            association.refuse()
            transmit(association, index)
            return
        }
        let isSuccessor = flows[index].successor === association
        if isSuccessor {
            if let old = flows[index].association { counters.add(old.counters) }
            flows[index].association = association
            setSuccessor(nil, index)
        } else {
            guard makeRoomForAssociation(now: now) else {
                counters.drops.add(.limit)
                association.close()
                transmit(association, index)
                return
            }
            refreshAddress(now: now)
            guard let address, output.open(flows.id(index), to: address) else {
                if let address { events.append(.noSocket(address)) }
                association.close()
                transmit(association, index)
                return
            }
        }
        counters.handshakes += 1
        events.append(.established(peer: peer, sender: nil, description))
        flows[index].establishedAt = now
        flows.move(index, to: .settled, now: now)
        association.accept(now: now) { forward($0, index) }
    }

    /// Has the target's name resolved anew when what is known of it is old.
    private func refreshAddress(now: Instant) {
        guard case .name = target else { return }
        if let askedAt, now - askedAt < Self.resolutionInterval { return }
        askedAt = now
        output.resolve()
    }

    private static var resolutionInterval: Duration { .seconds(5) }

    private func makeRoomForAssociation(now: Instant) -> Bool {
        guard flows.count(in: .settled) >= limits.maximumAssociations else { return true }
        guard let (oldest, touchedAt) = flows.oldest(in: .settled),
            now - touchedAt >= min(TunnelLimits.idleBeforeEviction, limits.flowTimeout / 2)
        else {
            tellLimit(.associations, evicted: nil, now: now)
            return false
        }
        tellLimit(.associations, evicted: flows.key(oldest), now: now)
        counters.evictions += 1
        remove(oldest)
        return true
    }

    private func finish(_ index: Int32, _ association: Association<Engine>, _ end: AssociationEnd, now: Instant) {
        let peer = flows.key(index)
        if case .handshakeFailed(let failure) = end {
            counters.failedHandshakes += 1
            events.append(.handshakeFailed(peer: peer, failure, retryIn: nil))
        } else if end != .closed {
            events.append(.ended(peer: peer, association.description?.peer, end))
        }
        if flows[index].successor === association {
            counters.add(association.counters)
            setSuccessor(nil, index)
            flows[index].hello = nil
            return
        }
        // A client that closes before its next handshake is done goes on with that one.
        if let successor = flows[index].successor {
            counters.add(association.counters)
            flows[index].association = successor
            setSuccessor(nil, index)
            flows[index].establishedAt = nil
            output.close(flows.id(index))
            flows.move(index, to: .handshaking, now: now)
            return
        }
        remove(index)
    }

    private func remove(_ index: Int32) {
        let id = flows.id(index)
        for association in [flows[index].association, flows[index].successor] {
            guard let association else { continue }
            association.close()
            transmit(association, index)
            counters.add(association.counters)
        }
        setSuccessor(nil, index)
        output.close(id)
        flows.remove(index)
    }

    private func transmit(_ association: Association<Engine>, _ index: Int32) {
        while let transmit = association.pollTransmit() {
            let datagram = transmit.datagram
            output.sendShared(
                flows.id(index), to: flows.key(index), from: flows[index].localAddress, maximum: datagram.count,
                mayFragment: transmit.mayFragment
            ) { buffer in
                buffer.write(datagram.bytes, at: 0) ? datagram.count : nil
            }
        }
    }

    private func arm(_ index: Int32, at deadline: Instant) {
        deadlines.arm(flows.id(index), at: deadline, armed: &flows[index].armed)
    }

    private func tellOversize(_ byteCount: Int, _ fate: DatagramFate, _ index: Int32, now: Instant) {
        guard let address else { return }
        if let told = flows[index].toldOversizeAt, now - told < .seconds(60) { return }
        flows[index].toldOversizeAt = now
        events.append(.oversize(from: address, byteCount: byteCount, fate))
    }

    private func tellLimit(_ limit: TunnelLimit, evicted: Endpoint?, now: Instant) {
        if let told = toldLimits[limit], now - told < .seconds(10) { return }
        toldLimits[limit] = now
        events.append(.limit(limit, evicted: evicted))
    }
}
