// The client side: tunnels to one peer, on one worker.
//
// A datagram from a local sender:
//   1. finds its flow by tunnel and sender, or begins one; when there are too many, the oldest idle one gives way;
//   2. in shared mode is framed and sealed for the one association that carries every flow (ClientGroup+Carrying.swift);
//      in plain mode, or with a peer that has no other, is sealed for the flow's own association;
//   3. waits otherwise, in a bounded queue, while the name is resolved and the handshake runs (ClientGroup+Dialing.swift).
// A datagram from the peer is opened in place and sent to the sender, from the address that the sender used.
// An association that fails is tried again, address after address, with growing waits, for as long as it is wanted.

public import DTLS
public import Settings
public import Wire

/// The client side of a group of tunnels on one worker. It has no socket and no clock: its owner brings datagrams, time
/// and resolved names, and does what ``DatagramOutput`` and the events say.
public final class ClientGroup<Engine: HandshakeEngine, Output: DatagramOutput> {
    /// How a flow is told from the others: the tunnel that it came to, and the sender.
    struct Key: Hashable {
        var sender: Endpoint
        var member: Int32
    }

    /// A flow, or the shared association. Small members stand behind optional ones, where they take no room of their own.
    struct Flow {
        var serial: UInt64 = 0
        var association: Association<Engine>?
        /// A handshake beside the association, whose keys are to replace the association's.
        var successor: Association<Engine>?
        var beganAt = Instant(nanoseconds: 0)
        var establishedAt: Instant?
        var state = AssociationSnapshot.State.idle
        /// Whether the shared association is its way, be it up or not.
        var isCarried = false
        var member: Int32 = 0
        var armed: Instant?
        var failures: Int32 = 0
        var retryAt: Instant?
        var attempts: Int32 = 0
        var toldOversizeAt: Instant?
        var rekeys: UInt32 = 0
        var localAddress = IPAddress.anyIPv6
        var remote: Endpoint?
        var waiting = WaitingQueue()

        init(serial: UInt64 = 0, member: Int32 = 0, beganAt: Instant = Instant(nanoseconds: 0), isCarried: Bool = false)
        {
            self.serial = serial
            self.member = member
            self.beganAt = beganAt
            self.isCarried = isCarried
        }
    }

    /// A tunnel's part of the group's state.
    struct Member {
        var settings: GroupMember
        let service: [UInt8]
        /// Drops and what flows have carried that belong to no association of their own that is still there.
        var counters = TunnelCounters()
        var toldLimitAt: Instant?
        /// Why the peer refuses the service, as far as it has been told; nil once the peer has accepted it.
        var refusal: ServiceRefusal?
        /// Until when a peer that has refused the service is not asked again.
        var askAgainAt: Instant?
    }

    /// What is known of the peer's way.
    enum Mode {
        /// Nothing yet.
        case unknown
        /// One association carries every flow.
        case shared
        /// The peer has no shared mode: each flow has its own association.
        case plain
    }

    var policy: ReconnectPolicy
    let path: PathSettings
    let sharing: SharingPolicy
    let connectPolicy: ConnectPolicy
    let output: Output
    let makeEngine: (Int) -> Engine?
    var random: SplitMix64

    var members: [Member]
    var flows: FlowTable<Key, Flow>
    var deadlines = DeadlineQueue()
    var addresses: ForwardAddresses
    var unresolved: [FlowID] = []
    var waitingBytes = 0
    var nextSerial: UInt64 = 1
    var events: [TunnelNotice] = []
    /// Who waits for the answer of which association.
    var pings = PingWaiters()
    private var isDraining = false

    // Shared mode.
    var mode = Mode.unknown
    /// The association that is shared, or is to be found out about. With a peer that has no shared mode it waits for a flow.
    var link: Int32?
    var channel: SharedChannel<Engine>?
    var carriages = Carriages()
    var backlog = FairQueue()
    /// Whether datagrams come faster than they can be sent.
    var isPressed = false
    var arrivals = 0

    /// Makes a group without flows. `makeEngine` gives a fresh engine for each attempt, whose flights' datagrams have at
    /// most so many bytes, or nil where there is none to be had.
    public init(
        _ members: [GroupMember], policy: ReconnectPolicy, path: PathSettings = PathSettings(),
        sharing: SharingPolicy = .never, connect: ConnectPolicy = .firstDatagram, output: Output, seed: UInt64,
        makeEngine: @escaping (_ datagramSize: Int) -> Engine?
    ) {
        precondition(!members.isEmpty, "a group has a tunnel")
        self.members = members.map { Member(settings: $0, service: Array($0.service.utf8)) }
        self.policy = policy
        self.path = path
        self.sharing = sharing
        self.connectPolicy = connect
        self.output = output
        self.makeEngine = makeEngine
        random = SplitMix64(seed: seed)
        addresses = ForwardAddresses(members[0].target)
        flows = FlowTable(vacant: Flow(), members: members.count, granularity: members.granularity)
    }

    /// How many flows there are.
    public var flowCount: Int { flows.count - (link == nil ? 0 : 1) }

    // MARK: Input

    /// Establishes the association that flows will share, if that is to be done before there is any.
    public func start(now: Instant) {
        if sharing != .never, connectPolicy == .start { wakeLink(now: now) }
    }

    /// Takes a datagram that a local sender at `source` sent to the local address `local` of the tunnel number `member`.
    public func handleLocal(
        _ datagram: borrowing RawSpan, member: Int = 0, from source: Endpoint, to local: IPAddress, now: Instant
    ) {
        members[member].counters.receivedOut &+= 1
        let key = Key(sender: source, member: Int32(truncatingIfNeeded: member))
        guard let index = flows.index(of: key) ?? admit(key, now: now) else {
            members[member].counters.drops.add(.limit)
            return
        }
        flows.touch(index, now: now)
        flows[index].localAddress = local
        if let channel, flows[index].isCarried {
            carry(datagram, index, by: channel, now: now)
            return
        }
        if let association = flows[index].association, association.isEstablished {
            seal(datagram, with: association, index, now: now)
            if association.needsAttention { serve(index, now: now) }
            return
        }
        guard sharing != .never || fits(datagram.byteCount, index, now: now) else { return }
        enqueue(datagram, index)
        if flows[index].state == .idle { connect(index, now: now) }
    }

    /// Takes a datagram that came to a flow's own socket.
    public func handleRemote(_ datagram: inout MutableRawSpan, flow: FlowID, now: Instant) {
        guard let index = flows.index(of: flow), let association = flows[index].association else {
            members[0].counters.receivedIn &+= 1
            members[0].counters.dropRecord(.noAssociation)
            return
        }
        members[Int(flows[index].member)].counters.receivedIn &+= 1
        guard let successor = flows[index].successor else {
            _ = receive(&datagram, by: association, index, now: now)
            if association.needsAttention { serve(index, now: now) }
            return
        }
        // What is in the clear, and handshake records, can only be meant for the new one; the rest is tried with the
        // old one, on a copy, because a failed opening destroys it.
        let isHandshake =
            datagram.bytes.uint16(at: 3) == 0 || datagram.bytes.uint8(at: 0) == ContentType.handshake.rawValue
        if !isHandshake {
            var copy = datagram.bytes.copied()
            let isOwn = copy.withMutableBytes { receive(&$0, by: association, index, mayBeOther: true, now: now) }
            if isOwn { return serve(index, now: now) }
        }
        _ = receive(&datagram, by: successor, index, now: now)
        serve(index, now: now)
    }

    /// Takes the answer to ``DatagramOutput/resolve(_:)``; empty when there was none.
    public func handleAddresses(_ resolved: [Endpoint], now: Instant) {
        addresses.answer(resolved, now: now)
        let waiting = unresolved
        unresolved = []
        if resolved.isEmpty {
            let wait = policy.wait(failures: addresses.failures, random: &random)
            if let name = addresses.name { tell(.unresolved(name, retryIn: wait)) }
            guard !addresses.all.isEmpty else {
                for index in waiting.compactMap({ flows.index(of: $0) }) {
                    retry(index, at: now + wait)
                }
                return
            }
        }
        for index in waiting.compactMap({ flows.index(of: $0) }) { begin(index, now: now) }
    }

    /// Counts datagrams of a flow that the system did not send.
    public func handleSendFailure(_ flow: FlowID?, _ failure: SendFailure, count: Int, now: Instant) {
        guard let flow, let index = flows.index(of: flow) else {
            members[0].counters.drops.add(failure.reason, count)
            return
        }
        guard let association = flows[index].association else {
            // A reply that its sender did not get.
            countDrop(failure.reason, count, index)
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

    /// Counts datagrams that came cut short, from senders of the tunnel number `member`; from the peer where that is nil.
    public func countTruncated(_ count: Int, member: Int?) {
        members[member ?? 0].counters.countTruncated(count, fromPeer: member == nil)
    }

    /// Does what is due at ``deadline``.
    public func handleTimeout(now: Instant) {
        while let (flow, deadline) = deadlines.popDue(now) {
            guard let index = flows.index(of: flow), flows[index].armed == deadline else { continue }
            flows[index].armed = nil
            if let association = flows[index].association {
                // Most have been put off since, by what the peer has sent.
                if let due = self.deadline(of: index), now < due {
                    arm(index, at: due)
                    continue
                }
                association.handleTimeout(now: now)
                flows[index].successor?.handleTimeout(now: now)
                if let channel, channel.association === association {
                    channel.handleTimeout(now: now)
                    countIncomplete(channel)
                }
                serve(index, now: now)
            } else if flows[index].state == .waiting, let retryAt = flows[index].retryAt {
                if now >= retryAt { connect(index, now: now) } else { arm(index, at: retryAt) }
            }
        }
        for member in members.indices {
            let timeout = members[member].settings.limits.flowTimeout
            while let (index, touchedAt) = flows.oldest(in: .flows(of: member)), now - touchedAt >= timeout {
                if let sender = sender(index) { tell(.expired(sender), index) }
                remove(index, now: now)
            }
        }
        finishBatch(now: now)
    }

    /// Ends every association with a close_notify and forgets every flow.
    public func close() {
        for index in flows.living where index != link { remove(index, now: nil) }
        if let link { remove(link, now: nil) }
    }

    // MARK: By hand

    /// Takes settings that have changed: limits, who may be reached, what is too large, when to reconnect. The members are
    /// the same in number and order. An association whose peer may not be reached any more ends.
    public func update(_ settings: [GroupMember], policy: ReconnectPolicy, now: Instant) {
        for (member, settings) in settings.enumerated() where member < members.count {
            members[member].settings = settings
        }
        flows.granularity = settings.granularity
        self.policy = policy
        for index in flows.living {
            guard let association = flows[index].association, let peer = association.description?.peer,
                !members[Int(flows[index].member)].settings.access.allows(peer)
            else { continue }
            tell(.refused(peer: remote(of: index), peer, by: .identity), index)
            association.refuse()
            serve(index, now: now)
        }
    }

    /// Takes on no new flows from now on.
    public func drain() { isDraining = true }

    /// Ends an association; a shared one is begun anew after a while. False where there is none of this serial.
    public func close(serial: UInt64, now: Instant) -> Bool {
        guard let index = place(ofSerial: serial) else { return false }
        let isOver = flows[index].establishedAt != nil
        let identity = flows[index].association?.description?.peer
        if index == link {
            flows[index].association?.close()
            serve(index, now: now)
            let wait = flows[index].retryAt.map { $0 - now }
            if isOver { tell(.ended(peer: remote(of: index), identity, .closed, retryIn: wait), index) }
        } else {
            if isOver { tell(.ended(peer: remote(of: index), identity, .closed, retryIn: nil), index) }
            remove(index, now: now)
        }
        return true
    }

    /// Begins a handshake beside an association; once it is done, its keys replace the association's. In shared mode the
    /// flows get new numbers, and the peer new sockets for them.
    public func rekey(serial: UInt64, now: Instant) -> RekeyOutcome {
        guard let index = place(ofSerial: serial) else { return .notFound }
        guard flows[index].state == .established, flows[index].successor == nil, let remote = flows[index].remote,
            let engine = makeEngine(remote.datagramSize(linkMTU: 1500))
        else { return .refused }
        let successor = Association(
            engine: engine, path: path, headers: remote.headerSize, seed: random.next(), now: now)
        flows[index].successor = successor
        successor.start(now: now)
        serve(index, now: now)
        return .begun
    }

    /// Sends a heartbeat request; `give` gets what comes of it.
    public func ping(serial: UInt64, now: Instant, _ give: @escaping (PingAnswer) -> Void) -> PingOutcome {
        guard let index = place(ofSerial: serial) else { return .notFound }
        guard let association = flows[index].association, association.ping(now: now) else { return .refused }
        pings.add(flows.id(index), give)
        serve(index, now: now)
        return .sent
    }

    private func place(ofSerial serial: UInt64) -> Int32? {
        for index in flows.living where flows[index].serial == serial && !flows[index].isCarried { return index }
        return nil
    }

    // MARK: Output

    /// When ``handleTimeout(now:)`` has to be called next.
    public var deadline: Instant? {
        // What waits for its turn is sent as soon as the sockets have been looked at.
        if !backlog.isEmpty { return Instant(nanoseconds: 0) }
        var earliest = deadlines.earliest
        for member in members.indices {
            guard let (_, touchedAt) = flows.oldest(in: .flows(of: member)) else { continue }
            let idle = touchedAt + members[member].settings.limits.flowTimeout
            earliest = earliest.map { min($0, idle) } ?? idle
        }
        return earliest
    }

    /// Everything to tell since the last call, in order.
    public func takeEvents() -> [TunnelNotice] {
        defer { events = [] }
        return events
    }

    // MARK: Flows

    private func admit(_ key: Key, now: Instant) -> Int32? {
        guard !isDraining else { return nil }
        let member = Int(key.member)
        let limits = members[member].settings.limits
        // Without sharing, each flow is an association.
        let isPlain = sharing == .never || mode == .plain
        let maximum = isPlain ? min(limits.maximumFlows, limits.maximumAssociations) : limits.maximumFlows
        if flows.count(in: .flows(of: member)) >= maximum {
            guard let (oldest, touchedAt) = flows.oldest(in: .flows(of: member)),
                now - touchedAt >= min(TunnelLimits.idleBeforeEviction, limits.flowTimeout / 2)
            else {
                tellLimit(member, evicted: nil, now: now)
                return nil
            }
            tellLimit(member, evicted: sender(oldest), now: now)
            members[member].counters.evictions += 1
            remove(oldest, now: now)
        }
        if mode == .plain, let spare = link {
            adopt(spare, by: key, now: now)
            return spare
        }
        return insert(key, now: now)
    }

    /// Begins a flow without an association.
    func insert(_ key: Key, now: Instant) -> Int32 {
        let isCarried = sharing != .never && mode != .plain
        let index = flows.insert(
            key, Flow(serial: nextSerial, member: key.member, beganAt: now, isCarried: isCarried),
            in: .flows(of: Int(key.member)), now: now)
        nextSerial += 1
        if isCarried { carriages.begin(index) }
        return index
    }

    /// Ends a flow, or the shared association; nothing may follow it where `now` is nil.
    func remove(_ index: Int32, now: Instant?) {
        let id = flows.id(index)
        pings.answer(id, .ended)
        if flows[index].isCarried {
            uncarry(index, telling: now)
        } else if let association = flows[index].association {
            association.close()
            transmit(association, id)
            account(for: association, index)
            dropSuccessor(index)
        }
        discardWaiting(index, because: .closed)
        output.close(id)
        if link == index {
            discardPieces()
            link = nil
            channel = nil
        }
        flows.remove(index)
    }

    /// The local sender of a flow.
    func sender(_ index: Int32) -> Endpoint? { flows.key(index)?.sender }

    func dropSuccessor(_ index: Int32) {
        guard let successor = flows[index].successor else { return }
        successor.abandon()
        account(for: successor, index)
        flows[index].successor = nil
    }

    /// Keeps what an association has carried, at its end. Flows that it shares have counts of their own.
    func account(for association: Association<Engine>, _ index: Int32) {
        members[Int(flows[index].member)].counters.add(association)
    }

    private func tellLimit(_ member: Int, evicted: Endpoint?, now: Instant) {
        if let toldLimitAt = members[member].toldLimitAt, now - toldLimitAt < .seconds(10) { return }
        members[member].toldLimitAt = now
        events.append(TunnelNotice(member: member, .limit(.flows, evicted: evicted)))
    }

    /// Tells something of the group, or of a flow's tunnel.
    func tell(_ event: TunnelEvent, _ index: Int32? = nil) {
        let isOfOne = index.map { $0 != link } ?? (members.count == 1)
        let member = isOfOne ? index.map { Int(flows[$0].member) } ?? 0 : nil
        let association = index.flatMap { flows[$0].isCarried ? link : $0 }.map { flows[$0].serial }
        events.append(TunnelNotice(member: member, association: association, event))
    }

    func tellOversize(_ byteCount: Int, _ fate: DatagramFate, _ index: Int32, now: Instant) {
        guard let sender = sender(index) else { return }
        if let told = flows[index].toldOversizeAt, now - told < .seconds(60) { return }
        flows[index].toldOversizeAt = now
        tell(.oversize(from: sender, byteCount: byteCount, fate), index)
    }

    func countDrop(_ reason: DropReason, _ count: Int, _ index: Int32) {
        members[Int(flows[index].member)].counters.drops.add(reason, count)
        if flows[index].isCarried { carriages[index].counters.dropped &+= UInt64(truncatingIfNeeded: count) }
    }

    // MARK: Waiting datagrams

    /// Whether a datagram can go in one record; what cannot is counted and told.
    func fits(_ byteCount: Int, _ index: Int32, now: Instant) -> Bool {
        guard byteCount > RecordHeader.maximumPlaintextLength else { return true }
        countDrop(.oversize, 1, index)
        tellOversize(byteCount, .dropped(limit: RecordHeader.maximumPlaintextLength), index, now: now)
        return false
    }

    private func enqueue(_ datagram: borrowing RawSpan, _ index: Int32) {
        // One bound for the group besides the one for each flow: many flows may wait for one dead peer.
        guard waitingBytes + datagram.byteCount <= Self.maximumWaitingBytes else {
            countDrop(.queueFull, 1, index)
            return
        }
        waitingBytes -= flows[index].waiting.byteCount
        let dropped = flows[index].waiting.append(datagram)
        waitingBytes += flows[index].waiting.byteCount
        if dropped > 0 { countDrop(.queueFull, dropped, index) }
    }

    func takeWaiting(_ index: Int32) -> [[UInt8]] {
        waitingBytes -= flows[index].waiting.byteCount
        return flows[index].waiting.takeAll()
    }

    private func discardWaiting(_ index: Int32, because reason: DropReason) {
        let discarded = takeWaiting(index).count
        if discarded > 0 { countDrop(reason, discarded, index) }
    }

    // MARK: Datagrams of an association of a flow's own

    func seal(
        _ datagram: borrowing RawSpan, with association: Association<Engine>, _ index: Int32, now: Instant
    ) {
        let fate = association.fate(of: datagram.byteCount, members[Int(flows[index].member)].settings.oversize)
        // While the search goes on, a larger size may be about to be found.
        if fate != .whole, association.isPathSettled { tellOversize(datagram.byteCount, fate, index, now: now) }
        if case .dropped = fate {
            association.dropOffered(.oversize)
            return
        }
        output.send(
            flows.id(index), maximum: datagram.byteCount + association.overhead, mayFragment: fate != .whole
        ) { buffer in
            association.seal(datagram, into: &buffer)
        }
    }

    /// Takes what has come to an association's socket. Answers whether it was the association's, if it `mayBeOther`.
    private func receive(
        _ datagram: inout MutableRawSpan, by association: Association<Engine>, _ index: Int32,
        mayBeOther: Bool = false, now: Instant
    ) -> Bool {
        if let channel, channel.association === association {
            if mayBeOther {
                return association.receiveIfOwn(&datagram, now: now) { take($0, from: channel, now: now) }
            }
            association.receive(&datagram, now: now) { record in take(record, from: channel, now: now) }
            return true
        }
        let before = association.counters.datagramsIn
        if mayBeOther {
            guard association.receiveIfOwn(&datagram, now: now, deliver: { reply($0, index) }) else { return false }
        } else {
            association.receive(&datagram, now: now) { plaintext in reply(plaintext, index) }
        }
        // Data from the peer keeps the flow too: a subscriber may only listen.
        if association.counters.datagramsIn != before, index != link { flows.touch(index, now: now) }
        return true
    }

    /// Sends a datagram of the peer's to the flow's sender.
    func reply(_ plaintext: borrowing RawSpan, _ index: Int32) {
        guard let sender = sender(index) else {
            // Data on an association that no flow has yet.
            flows[index].association?.dropDelivered(.noAssociation, byteCount: plaintext.byteCount)
            return
        }
        output.sendShared(
            flows.id(index), listener: Int(flows[index].member), to: sender, from: flows[index].localAddress,
            maximum: plaintext.byteCount, mayFragment: true
        ) { buffer in
            buffer.write(plaintext, at: 0) ? plaintext.byteCount : nil
        }
    }

    func transmit(_ association: Association<Engine>, _ id: FlowID) {
        while let transmit = association.pollTransmit() {
            let datagram = transmit.datagram
            output.send(id, maximum: datagram.count, mayFragment: transmit.mayFragment) { buffer in
                buffer.write(datagram.bytes, at: 0) ? datagram.count : nil
            }
        }
    }

    func arm(_ index: Int32, at deadline: Instant) {
        deadlines.arm(flows.id(index), at: deadline, armed: &flows[index].armed)
    }

    /// Most bytes that wait in all flows of a group together.
    private static var maximumWaitingBytes: Int { 16_777_216 }
}
