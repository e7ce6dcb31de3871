// The client side of a tunnel in plain mode: each local sender is a flow with an association of its own.
//
// A datagram from a local sender:
//   1. finds its flow by the sender's address, or begins one; when there are too many, the oldest idle one gives way;
//   2. is sealed straight into the send buffer of the flow's own socket, if the association is up;
//   3. waits otherwise, in a bounded queue, while the name is resolved and the handshake runs.
// A datagram from the peer is opened in place and sent to the sender, from the address that the sender used.
// An association that fails is tried again, address after address, with growing waits, for as long as the flow lives.

public import DTLS
public import Wire

/// The client side of one tunnel on one worker. It has no socket and no clock: its owner brings datagrams, time and
/// resolved names, and does what ``DatagramOutput`` and the events say.
public final class ClientTunnel<Engine: HandshakeEngine, Output: DatagramOutput> {
    private struct Flow {
        var serial: UInt64 = 0
        var state = AssociationSnapshot.State.idle
        var association: Association<Engine>?
        var localAddress = IPAddress.anyIPv6
        var remote: Endpoint?
        var waiting = WaitingQueue()
        var establishedAt: Instant?
        var armed: Instant?
        var retryAt: Instant?
        var failures = 0
        var attempts = 0
        var toldOversizeAt: Instant?
    }

    /// Drops that belong to no association that is still there, and what ended associations carried.
    public private(set) var counters = TunnelCounters()

    private let target: ForwardTarget
    private let limits: TunnelLimits
    private let policy: ReconnectPolicy
    private let access: AccessList
    private let path: TunnelPath
    private let output: Output
    private let makeEngine: (Int) -> Engine?
    private var random: SplitMix64

    private var flows: FlowTable<Flow>
    private var deadlines = DeadlineQueue()
    private var addresses: [Endpoint]
    private var resolvedAt: Instant?
    private var isResolving = false
    private var unresolved: [FlowID] = []
    private var failedResolutions = 0
    private var waitingBytes = 0
    private var toldLimitAt: Instant?
    private var nextSerial: UInt64 = 1
    private var events: [TunnelEvent] = []

    /// Makes a tunnel without flows. `makeEngine` gives a fresh engine for each attempt, whose flights' datagrams have at
    /// most so many bytes, or nil where there is none to be had; `access` restricts who the server may be beyond what its certificate proves.
    public init(
        target: ForwardTarget, limits: TunnelLimits, policy: ReconnectPolicy, access: AccessList,
        path: TunnelPath = TunnelPath(), output: Output, seed: UInt64,
        makeEngine: @escaping (_ datagramSize: Int) -> Engine?
    ) {
        self.target = target
        self.limits = limits
        self.policy = policy
        self.access = access
        self.path = path
        self.output = output
        self.makeEngine = makeEngine
        random = SplitMix64(seed: seed)
        flows = FlowTable(vacant: Flow(), granularity: limits.granularity)
        if case .endpoint(let endpoint) = target { addresses = [endpoint] } else { addresses = [] }
    }

    /// How many flows there are.
    public var flowCount: Int { flows.count }

    // MARK: Input

    /// Takes a datagram that a local sender at `source` sent to the local address `local`.
    public func handleLocal(
        _ datagram: borrowing RawSpan, from source: Endpoint, to local: IPAddress, now: Instant
    ) {
        guard let index = flows.index(of: source) ?? admit(source, now: now) else {
            counters.drops.add(.limit)
            return
        }
        flows.touch(index, now: now)
        flows[index].localAddress = local
        if let association = flows[index].association, association.isEstablished {
            seal(datagram, with: association, index, now: now)
            if association.needsAttention { serve(index, now: now) }
            return
        }
        guard datagram.byteCount <= RecordHeader.maximumPlaintextLength else {
            counters.drops.add(.oversize)
            let fate = DatagramFate.dropped(limit: RecordHeader.maximumPlaintextLength)
            tellOversize(datagram.byteCount, fate, index, now: now)
            return
        }
        enqueue(datagram, index)
        if flows[index].state == .idle { connect(index, now: now) }
    }

    /// Takes a datagram that came to a flow's own socket.
    public func handleRemote(_ datagram: inout MutableRawSpan, flow: FlowID, now: Instant) {
        guard let index = flows.index(of: flow), let association = flows[index].association else {
            counters.drops.add(.noAssociation)
            return
        }
        var isAlive = false
        association.receive(&datagram, now: now) { plaintext in
            isAlive = true
            reply(plaintext, index)
        }
        // Data from the peer keeps the flow too: a subscriber may only listen.
        if isAlive { flows.touch(index, now: now) }
        if association.needsAttention { serve(index, now: now) }
    }

    /// Takes the answer to ``DatagramOutput/resolve()``; empty when there was none.
    public func handleAddresses(_ resolved: [Endpoint], now: Instant) {
        isResolving = false
        let waiting = unresolved
        unresolved = []
        if resolved.isEmpty {
            failedResolutions += 1
            let wait = policy.wait(failures: failedResolutions, random: &random)
            if case .name(let name) = target { events.append(.unresolved(name, retryIn: wait)) }
            guard !addresses.isEmpty else {
                for index in waiting.compactMap({ flows.index(of: $0) }) {
                    retry(index, at: now + wait)
                }
                return
            }
            // Addresses that were good once are better than none.
        } else {
            failedResolutions = 0
            addresses = resolved
            resolvedAt = now
        }
        for index in waiting.compactMap({ flows.index(of: $0) }) { begin(index, now: now) }
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

    /// Takes the word of ICMP that no packet of more than `size` bytes reaches the flow's peer.
    public func handlePathHint(_ size: Int, flow: FlowID, now: Instant) {
        guard let index = flows.index(of: flow), let association = flows[index].association else { return }
        association.handlePathHint(size, now: now)
        if association.needsAttention { serve(index, now: now) }
    }

    /// Counts datagrams that never reached a flow.
    public func countDrop(_ reason: DropReason, _ count: Int = 1) {
        counters.drops.add(reason, count)
    }

    /// Does what is due at ``deadline``.
    public func handleTimeout(now: Instant) {
        while let (flow, deadline) = deadlines.popDue(now) {
            guard let index = flows.index(of: flow), flows[index].armed == deadline else { continue }
            flows[index].armed = nil
            if let association = flows[index].association {
                association.handleTimeout(now: now)
                serve(index, now: now)
            } else if flows[index].state == .waiting, let retryAt = flows[index].retryAt {
                if now >= retryAt { connect(index, now: now) } else { arm(index, at: retryAt) }
            }
        }
        while let (index, touchedAt) = flows.oldest(in: .settled), now - touchedAt >= limits.flowTimeout {
            events.append(.expired(flows.key(index)))
            remove(index)
        }
    }

    /// Ends every association with a close_notify and forgets every flow.
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

    /// Every flow's association.
    public func snapshots() -> [AssociationSnapshot] {
        flows.living.map { index in
            let flow = flows[index]
            return AssociationSnapshot(
                of: flow.association, serial: flow.serial, state: flow.state, peer: flow.remote,
                sender: flows.key(index), establishedAt: flow.establishedAt)
        }
    }

    // MARK: Flows

    private func admit(_ source: Endpoint, now: Instant) -> Int32? {
        if flows.count >= limits.maximumFlows {
            guard let (oldest, touchedAt) = flows.oldest(in: .settled),
                now - touchedAt >= min(TunnelLimits.idleBeforeEviction, limits.flowTimeout / 2)
            else {
                tellLimit(evicted: nil, now: now)
                return nil
            }
            tellLimit(evicted: flows.key(oldest), now: now)
            counters.evictions += 1
            remove(oldest)
        }
        defer { nextSerial += 1 }
        return flows.insert(source, Flow(serial: nextSerial), in: .settled, now: now)
    }

    private func remove(_ index: Int32) {
        let id = flows.id(index)
        if let association = flows[index].association {
            association.close()
            transmit(association, id)
            counters.add(association.counters)
        }
        discardWaiting(index, because: .closed)
        output.close(id)
        flows.remove(index)
    }

    private func tellLimit(evicted: Endpoint?, now: Instant) {
        if let toldLimitAt, now - toldLimitAt < .seconds(10) { return }
        toldLimitAt = now
        events.append(.limit(.flows, evicted: evicted))
    }

    private func tellOversize(_ byteCount: Int, _ fate: DatagramFate, _ index: Int32, now: Instant) {
        if let told = flows[index].toldOversizeAt, now - told < .seconds(60) { return }
        flows[index].toldOversizeAt = now
        events.append(.oversize(from: flows.key(index), byteCount: byteCount, fate))
    }

    // MARK: Waiting datagrams

    private func enqueue(_ datagram: borrowing RawSpan, _ index: Int32) {
        // One bound for the tunnel besides the one for each flow: many flows may wait for one dead peer.
        guard waitingBytes + datagram.byteCount <= Self.maximumWaitingBytes else {
            counters.drops.add(.queueFull)
            return
        }
        waitingBytes -= flows[index].waiting.byteCount
        counters.drops.add(.queueFull, flows[index].waiting.append(datagram))
        waitingBytes += flows[index].waiting.byteCount
    }

    private func takeWaiting(_ index: Int32) -> [[UInt8]] {
        waitingBytes -= flows[index].waiting.byteCount
        return flows[index].waiting.takeAll()
    }

    private func discardWaiting(_ index: Int32, because reason: DropReason) {
        counters.drops.add(reason, takeWaiting(index).count)
    }

    private func seal(
        _ datagram: borrowing RawSpan, with association: Association<Engine>, _ index: Int32, now: Instant
    ) {
        let fate = association.fate(of: datagram.byteCount, path.oversize)
        // While the search goes on, a larger size may be about to be found.
        if fate != .whole, association.isPathSettled { tellOversize(datagram.byteCount, fate, index, now: now) }
        if case .dropped = fate {
            association.countDrop(.oversize)
            return
        }
        output.send(
            flows.id(index), maximum: datagram.byteCount + association.overhead, mayFragment: fate != .whole
        ) { buffer in
            association.seal(datagram, into: &buffer)
        }
    }

    private func reply(_ plaintext: borrowing RawSpan, _ index: Int32) {
        output.sendShared(
            flows.id(index), to: flows.key(index), from: flows[index].localAddress, maximum: plaintext.byteCount,
            mayFragment: true
        ) { buffer in
            buffer.write(plaintext, at: 0) ? plaintext.byteCount : nil
        }
    }

    // MARK: Associations

    /// Begins an attempt, after resolving the name where what is known of it is not fresh.
    private func connect(_ index: Int32, now: Instant) {
        if case .name = target {
            let isFresh = resolvedAt.map { now - $0 < .seconds(5) } ?? false
            guard isFresh, !addresses.isEmpty else {
                flows[index].state = .resolving
                unresolved.append(flows.id(index))
                guard !isResolving else { return }
                isResolving = true
                output.resolve()
                return
            }
        }
        begin(index, now: now)
    }

    private func begin(_ index: Int32, now: Instant) {
        let id = flows.id(index)
        let remote = addresses[flows[index].attempts % addresses.count]
        flows[index].attempts += 1
        flows[index].remote = remote
        guard output.open(id, to: remote) else {
            events.append(.noSocket(remote))
            retry(index, now: now)
            return
        }
        guard let engine = makeEngine(remote.datagramSize(linkMTU: 1500)) else {
            retry(index, now: now)
            return
        }
        // With other addresses to try, a silent one is given up sooner.
        let association = Association(
            engine: engine, path: path.settings, headers: remote.headerSize, seed: random.next(),
            maximumTimeouts: addresses.count > 1 ? 3 : 6, helloInterval: policy.helloInterval, now: now)
        flows[index].association = association
        flows[index].state = .handshaking
        association.start(now: now)
        serve(index, now: now)
    }

    /// Sends and tells what an association has to send and tell, and follows it to its next state.
    private func serve(_ index: Int32, now: Instant) {
        guard let association = flows[index].association else { return }
        association.needsAttention = false
        transmit(association, flows.id(index))
        while let event = association.pollEvent() {
            switch event {
            case .established(let description): establish(index, association, description, now: now)
            case .pathMTUChanged(let pathMTU, let before):
                events.append(
                    .pathMTUChanged(
                        peer: flows[index].remote ?? flows.key(index), pathMTU, from: before,
                        maximumDatagram: association.maximumDatagram))
            case .roundTrip: break
            case .ended(let end): finish(index, association, end, now: now)
            }
        }
        guard flows[index].association != nil else { return }
        if let deadline = association.deadline { arm(index, at: deadline) }
    }

    private func establish(
        _ index: Int32, _ association: Association<Engine>, _ description: AssociationDescription, now: Instant
    ) {
        let remote = flows[index].remote ?? Endpoint(address: .anyIPv6, port: 0)
        guard access.allows(description.peer) else {
            events.append(.refused(peer: remote, description.peer))
            association.refuse()
            transmit(association, flows.id(index))
            return
        }
        counters.handshakes += 1
        events.append(.established(peer: remote, sender: flows.key(index), description))
        flows[index].state = .established
        // A handshake may have taken most of a short timeout.
        flows.touch(index, now: now)
        flows[index].establishedAt = now
        // The address that works is the first to be tried the next time.
        flows[index].attempts -= 1
        for datagram in takeWaiting(index) { seal(datagram.bytes, with: association, index, now: now) }
        association.accept(now: now) { reply($0, index) }
    }

    private func finish(
        _ index: Int32, _ association: Association<Engine>, _ end: AssociationEnd, now: Instant
    ) {
        counters.add(association.counters)
        // Only an association that has lasted ends a row of failures: a server that refuses lets the handshake finish.
        let hasLasted = flows[index].establishedAt.map { now - $0 >= .seconds(10) } ?? false
        if hasLasted { flows[index].failures = 0 }
        flows[index].association = nil
        flows[index].establishedAt = nil
        let remote = flows[index].remote ?? Endpoint(address: .anyIPv6, port: 0)
        switch end {
        case .handshakeFailed(let failure):
            counters.failedHandshakes += 1
            // Nothing is wrong with the peer when the clock was set: again, at once.
            let wait = retry(index, after: failure.reason == .clockStep ? .zero : nil, now: now)
            events.append(.handshakeFailed(peer: remote, failure, retryIn: wait))
        case .closedByPeer:
            events.append(.ended(peer: remote, association.description?.peer, end))
            // A server without room says goodbye at once; it must not be asked again for each datagram.
            guard association.counters.datagramsIn > 0 || hasLasted else {
                retry(index, now: now)
                return
            }
            // An orderly end: the next datagram begins anew.
            flows[index].state = .idle
            output.close(flows.id(index))
        case .alert, .exhausted:
            events.append(.ended(peer: remote, association.description?.peer, end))
            retry(index, after: end == .exhausted ? .zero : nil, now: now)
        case .unanswered:
            // At once, and at the next address if there are several: this one has gone silent.
            events.append(.ended(peer: remote, association.description?.peer, end))
            flows[index].attempts += 1
            retry(index, after: .zero, now: now)
        case .closed:
            // Refused by this end, and told as that.
            retry(index, now: now)
        }
    }

    @discardableResult
    private func retry(_ index: Int32, after fixed: Duration? = nil, now: Instant) -> Duration {
        output.close(flows.id(index))
        flows[index].failures += 1
        // Other addresses are tried at once; only a round in vain makes the wait grow.
        let rounds = flows[index].failures / max(addresses.count, 1)
        let wait =
            fixed
            ?? (flows[index].failures % max(addresses.count, 1) == 0
                ? policy.wait(failures: rounds, random: &random) : .zero)
        // Never now itself: what fails at once would be tried again and again without an end.
        retry(index, at: now + max(wait, .milliseconds(1)))
        return wait
    }

    private func retry(_ index: Int32, at deadline: Instant) {
        flows[index].state = .waiting
        flows[index].retryAt = deadline
        arm(index, at: deadline)
    }

    private func transmit(_ association: Association<Engine>, _ id: FlowID) {
        while let transmit = association.pollTransmit() {
            let datagram = transmit.datagram
            output.send(id, maximum: datagram.count, mayFragment: transmit.mayFragment) { buffer in
                buffer.write(datagram.bytes, at: 0) ? datagram.count : nil
            }
        }
    }

    private func arm(_ index: Int32, at deadline: Instant) {
        deadlines.arm(flows.id(index), at: deadline, armed: &flows[index].armed)
    }

    /// Most bytes that wait in all flows of a tunnel together.
    private static var maximumWaitingBytes: Int { 16_777_216 }
}
