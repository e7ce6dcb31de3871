// The server side: tunnels on one listen address, on one worker. One shared socket serves all peers, told apart by address in
// user space.
//
// A datagram from a peer:
//   1. that begins with a ClientHello goes through the cookie exchange, which remembers nothing of the peer;
//   2. a hello with a valid cookie begins an association, beside the one that the address may already have: the old one
//      stays until the new one has authenticated (RFC 6347 §4.2.8), so that nobody can end it by a forged hello;
//   3. anything else goes to the association of its address, or is dropped and counted.
// An association in plain mode is one flow of one tunnel: the one that its SNI names, or the first. In shared mode it carries
// flows of all tunnels, which are its services (ServerGroup+Carrying.swift). Each flow has a socket of its own to the target,
// so that the application sees one source port for each of the client's.

public import DTLS
public import Settings
public import Wire

/// The server side of a group of tunnels on one worker. It has no socket and no clock: its owner brings datagrams and time,
/// and does what ``DatagramOutput`` and the events say.
public final class ServerGroup<Engine: HandshakeEngine, Key: MessageAuthentication, Output: DatagramOutput> {
    /// An association, with its flow in plain mode; or a flow that an association in shared mode carries.
    /// Small members stand behind optional ones, where they take no room of their own.
    struct Flow {
        var serial: UInt64 = 0
        var association: Association<Engine>?
        /// In shared mode.
        var channel: SharedChannel<Engine>?
        /// A handshake beside an established association.
        var successor: Association<Engine>?
        /// What the association has replaced: what the peer sent before it had the new keys may still come.
        var predecessor: Association<Engine>?
        var establishedAt: Instant?
        var member: Int32 = 0
        var armed: Instant?
        /// The place of the association that carries the flow; -1 for an association.
        var carrier: Int32 = -1
        var toldOversizeAt: Instant?
        var rekeys: UInt32 = 0
        var localAddress = IPAddress.anyIPv6
        /// The hello that the running handshake answers, the association's or the successor's.
        var hello: AuthenticationTag?

        init(
            serial: UInt64 = 0, member: Int32 = 0, association: Association<Engine>? = nil,
            localAddress: IPAddress = .anyIPv6
        ) {
            self.serial = serial
            self.member = member
            self.association = association
            self.localAddress = localAddress
        }
    }

    /// A tunnel's part of the group's state.
    struct Member {
        var settings: GroupMember
        let service: [UInt8]
        var address: Endpoint?
        var askedAt: Instant?
        /// Drops and what flows have carried that belong to no association of their own that is still there.
        var counters = TunnelCounters()
        var toldLimits: [TunnelLimit: Instant] = [:]
        var toldDenialAt: Instant?
    }

    let path: PathSettings
    let sharing: SharingPolicy
    let output: Output
    let makeEngine: (Int) -> Engine?
    var cookies: CookieExchange<Key>
    var random: SplitMix64

    var members: [Member]
    var flows: FlowTable<Endpoint, Flow>
    var carriages = Carriages()
    private var deadlines = DeadlineQueue()
    var nextSerial: UInt64 = 1
    var events: [TunnelNotice] = []
    /// Handshakes beside an established association.
    var successors = 0
    /// Established associations.
    var established = 0
    /// Who waits for the answer of which association.
    var pings = PingWaiters()
    var isDraining = false

    /// Makes a group without associations. The first member's limits on associations and handshakes are the group's.
    /// `makeEngine` gives a fresh engine for each handshake, or nil where there is none to be had; its engines must expect a
    /// hello as `cookieExchange` has it.
    public init(
        _ members: [GroupMember], path: PathSettings = PathSettings(), sharing: SharingPolicy = .never,
        cookieExchange: Bool, firstKey: Key, output: Output, seed: UInt64 = 0, now: Instant,
        makeKey: @escaping () -> Key?, makeEngine: @escaping (_ datagramSize: Int) -> Engine?
    ) {
        precondition(!members.isEmpty, "a group has a tunnel")
        self.members = members.map { Member(settings: $0, service: Array($0.service.utf8)) }
        self.path = path
        self.sharing = sharing
        self.output = output
        random = SplitMix64(seed: seed)
        self.makeEngine = makeEngine
        cookies = CookieExchange(isRequired: cookieExchange, firstKey: firstKey, now: now, makeKey: makeKey)
        flows = FlowTable(vacant: Flow(), members: members.count, granularity: members.granularity)
        for index in members.indices {
            if case .endpoint(let endpoint) = members[index].target { self.members[index].address = endpoint }
            refreshAddress(of: index, now: now)
        }
    }

    /// How many peers and flows there are.
    public var flowCount: Int { flows.count }

    var limits: TunnelLimits { members[0].settings.limits }

    // MARK: Input

    /// Takes a datagram that a peer at `source` sent to the local address `local`.
    public func handlePeer(
        _ datagram: inout MutableRawSpan, from source: Endpoint, to local: IPAddress, now: Instant
    ) {
        members[0].counters.receivedIn &+= 1
        let known = flows.index(of: source)
        if ClientHello.begins(datagram.bytes) {
            handleHello(&datagram, from: source, to: local, known: known, now: now)
        } else if let known {
            deliver(&datagram, to: known, at: local, now: now)
        } else {
            members[0].counters.dropRecord(.noAssociation)
        }
    }

    /// Takes a datagram that the target sent to a flow's own socket.
    public func handleTarget(_ datagram: borrowing RawSpan, flow: FlowID, now: Instant) {
        guard let index = flows.index(of: flow) else {
            members[0].counters.receivedOut &+= 1
            members[0].counters.drops.add(.noAssociation)
            return
        }
        members[Int(flows[index].member)].counters.receivedOut &+= 1
        flows.touch(index, now: now)
        if flows[index].carrier >= 0 { return carry(datagram, index, now: now) }
        guard let association = flows[index].association else {
            members[0].counters.drops.add(.noAssociation)
            return
        }
        let fate = association.fate(of: datagram.byteCount, members[Int(flows[index].member)].settings.oversize)
        // While the search goes on, a larger size may be about to be found.
        if fate != .whole, association.isPathSettled { tellOversize(datagram.byteCount, fate, index, now: now) }
        if case .dropped = fate {
            association.dropOffered(.oversize)
            return
        }
        send(index, maximum: datagram.byteCount + association.overhead, mayFragment: fate != .whole) { buffer in
            association.seal(datagram, into: &buffer)
        }
        if association.needsAttention { serve(index, now: now) }
    }

    /// Takes the answer to ``DatagramOutput/resolve(_:)``; empty when there was none. Flows to come use it.
    public func handleAddresses(_ resolved: [Endpoint], member: Int = 0) {
        if let first = resolved.first {
            members[member].address = first
        } else if case .name(let name) = members[member].settings.target {
            events.append(TunnelNotice(member: member, .unresolved(name, retryIn: Self.resolutionInterval)))
        }
    }

    /// Counts datagrams that the system did not send, of an association or of a flow.
    public func handleSendFailure(_ flow: FlowID?, _ failure: SendFailure, count: Int, now: Instant) {
        guard let flow, let index = flows.index(of: flow) else {
            members[0].counters.drops.add(failure.reason, count)
            return
        }
        guard let association = flows[index].association else {
            countDrop(failure.reason, count, index)
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

    /// Counts datagrams that came cut short, from peers or from targets.
    public func countTruncated(_ count: Int, fromPeer: Bool) {
        members[0].counters.countTruncated(count, fromPeer: fromPeer)
    }

    /// Does what is due at ``deadline``.
    public func handleTimeout(now: Instant) {
        while let (flow, deadline) = deadlines.popDue(now) {
            guard let index = flows.index(of: flow), flows[index].armed == deadline else { continue }
            flows[index].armed = nil
            // Most have been put off since, by what the peer has sent.
            if let due = self.deadline(of: index), now < due {
                arm(index, at: due)
                continue
            }
            flows[index].association?.handleTimeout(now: now)
            flows[index].successor?.handleTimeout(now: now)
            if let channel = flows[index].channel {
                channel.handleTimeout(now: now)
                countIncomplete(channel)
            }
            serve(index, now: now)
        }
        for (queue, timeout) in idleQueues {
            while let (index, touchedAt) = flows.oldest(in: queue), now - touchedAt >= timeout {
                if isWatched(index) {
                    flows.move(index, to: queue, now: now)
                    continue
                }
                tell(.expired(peer(of: index)), index)
                if flows[index].carrier >= 0 {
                    endCarried(index, because: .done, now: now)
                } else {
                    remove(index)
                }
            }
        }
    }

    /// Whether heartbeats say when a shared association is over, whose flows come and go: then idleness does not.
    private func isWatched(_ index: Int32) -> Bool {
        flows[index].channel?.association.description?.peerHeartbeatMode == .peerAllowedToSend
    }

    /// Ends every association with a close_notify.
    public func close() {
        // Those that are carried go with the association that carries them.
        let associations = flows.living.filter { flows[$0].carrier < 0 }
        for index in associations { remove(index) }
    }

    // MARK: By hand

    /// Takes settings that have changed: limits, who may come, what is too large. The members are the same in number and
    /// order. Associations and flows of peers that may not come any more end.
    public func update(_ settings: [GroupMember], now: Instant) {
        for (member, settings) in settings.enumerated() where member < members.count {
            members[member].settings = settings
        }
        flows.granularity = settings.granularity
        for index in flows.living where flows[index].establishedAt != nil {
            let carrier = flows[index].carrier
            guard let peer = flows[carrier >= 0 ? carrier : index].association?.description?.peer else { continue }
            let source = self.peer(of: index).address
            let member = flows[index].channel == nil ? Int(flows[index].member) : nil
            guard let denial = denial(of: peer, at: source, member) else { continue }
            if carrier >= 0 {
                endCarried(index, because: .forbidden, now: now)
            } else {
                tell(.refused(peer: self.peer(of: index), peer, by: denial), index)
                flows[index].association?.refuse()
                serve(index, now: now)
            }
        }
    }

    /// Takes on no new associations and flows from now on.
    public func drain() { isDraining = true }

    /// Whether there is an association of this serial.
    public func has(serial: UInt64) -> Bool { place(ofSerial: serial) != nil }

    /// Ends an association. False where there is none of this serial.
    public func close(serial: UInt64) -> Bool {
        guard let index = place(ofSerial: serial) else { return false }
        if flows[index].establishedAt != nil {
            let identity = flows[index].association?.description?.peer
            tell(.ended(peer: peer(of: index), identity, .closed, retryIn: nil), index)
        }
        remove(index)
        return true
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
        for index in flows.living where flows[index].serial == serial && flows[index].carrier < 0 { return index }
        return nil
    }

    // MARK: Output

    /// When ``handleTimeout(now:)`` has to be called next.
    public var deadline: Instant? {
        var earliest = deadlines.earliest
        for (queue, timeout) in idleQueues {
            guard let (_, touchedAt) = flows.oldest(in: queue) else { continue }
            earliest = earliest.map { min($0, touchedAt + timeout) } ?? touchedAt + timeout
        }
        return earliest
    }

    /// Everything to tell since the last call, in order.
    public func takeEvents() -> [TunnelNotice] {
        defer { events = [] }
        return events
    }

    // MARK: Datagrams of associations

    func deliver(
        _ datagram: inout MutableRawSpan, to index: Int32, at local: IPAddress, now: Instant
    ) {
        guard let successor = flows[index].successor else {
            guard let association = flows[index].association else {
                members[0].counters.dropRecord(.noAssociation)
                return
            }
            if let predecessor = flows[index].predecessor {
                receiveLate(&datagram, by: predecessor, association, index, at: local, now: now)
            } else {
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
            let isOwn = copy.withMutableBytes {
                receive(&$0, by: association, index, at: local, mayBeOther: true, now: now)
            }
            if isOwn { return }
        }
        receive(&datagram, by: successor, index, at: local, now: now)
    }

    /// Takes a datagram with the old keys if it fits them, with the new ones otherwise.
    private func receiveLate(
        _ datagram: inout MutableRawSpan, by predecessor: Association<Engine>, _ association: Association<Engine>,
        _ index: Int32, at local: IPAddress, now: Instant
    ) {
        if let since = flows[index].establishedAt, now - since >= Self.lateness {
            flows[index].predecessor = nil
            retire(predecessor, index)
        } else {
            var copy = datagram.bytes.copied()
            let isOwn = copy.withMutableBytes { bytes in
                predecessor.receiveIfOwn(&bytes, now: now) { plaintext in forward(plaintext, index) }
            }
            if isOwn { return }
        }
        receive(&datagram, by: association, index, at: local, now: now)
    }

    /// How long old keys are good for what is late.
    private static var lateness: Duration { .seconds(3) }

    /// Takes a datagram; answers whether it was the association's, if it `mayBeOther`.
    @discardableResult
    private func receive(
        _ datagram: inout MutableRawSpan, by association: Association<Engine>, _ index: Int32, at local: IPAddress,
        mayBeOther: Bool = false, now: Instant
    ) -> Bool {
        let before = (records: association.authenticRecords, data: association.counters.datagramsIn)
        let channel = flows[index].channel.flatMap { $0.association === association ? $0 : nil }
        func deliver(_ content: borrowing RawSpan) {
            if let channel { take(content, from: channel, at: index, now: now) } else { forward(content, index) }
        }
        if mayBeOther {
            guard association.receiveIfOwn(&datagram, now: now, deliver: deliver) else { return false }
        } else {
            association.receive(&datagram, now: now, deliver: deliver)
        }
        // A shared association is kept by whatever is authentic: its flows have timeouts of their own.
        let isAlive =
            channel == nil
            ? association.counters.datagramsIn != before.data : association.authenticRecords != before.records
        if isAlive {
            flows.touch(index, now: now)
            // Only what has proven authentic says where replies leave from.
            flows[index].localAddress = local
        }
        if association.needsAttention { serve(index, now: now) }
        return true
    }

    /// Sends a datagram of the peer's to the flow's target.
    func forward(_ plaintext: borrowing RawSpan, _ index: Int32) {
        output.send(flows.id(index), maximum: plaintext.byteCount, mayFragment: true) { buffer in
            buffer.write(plaintext, at: 0) ? plaintext.byteCount : nil
        }
    }

    /// Sends a record to the peer of an association.
    func send(_ index: Int32, maximum: Int, mayFragment: Bool, write: (inout MutableRawSpan) -> Int?) {
        output.sendShared(
            flows.id(index), listener: 0, to: peer(of: index), from: flows[index].localAddress, maximum: maximum,
            mayFragment: mayFragment, write: write)
    }

    func transmit(_ association: Association<Engine>, _ index: Int32) {
        while let transmit = association.pollTransmit() {
            let datagram = transmit.datagram
            send(index, maximum: datagram.count, mayFragment: transmit.mayFragment) { buffer in
                buffer.write(datagram.bytes, at: 0) ? datagram.count : nil
            }
        }
    }

    /// Sends and tells what the associations at one address have to send and tell, and follows them to their next states.
    func serve(_ index: Int32, now: Instant) {
        let id = flows.id(index)
        let (association, successor) = (flows[index].association, flows[index].successor)
        if let association { serve(association, index, id, now: now) }
        if let successor { serve(successor, index, id, now: now) }
        guard flows.index(of: id) != nil else { return }
        if let deadline = deadline(of: index) { arm(index, at: deadline) }
    }

    private func serve(_ association: Association<Engine>, _ index: Int32, _ id: FlowID, now: Instant) {
        guard association.needsAttention || association.isHandshaking else { return }
        association.needsAttention = false
        transmit(association, index)
        while flows.index(of: id) != nil, let event = association.pollEvent() {
            switch event {
            case .established(let description): establish(index, association, description, now: now)
            case .pathMTUChanged(let pathMTU, let before):
                tell(
                    .pathMTUChanged(
                        peer: peer(of: index), pathMTU, from: before, maximumDatagram: association.maximumDatagram),
                    index)
            case .roundTrip(let duration):
                members[Int(flows[index].member)].counters.roundTrips.add(duration)
            case .pinged(let duration):
                pings.answer(id, PingAnswer(duration))
            case .worn:
                // The client's end replaces them.
                break
            case .ended(let end): finish(index, association, end, now: now)
            }
        }
    }

    /// When something is due for what there is at one address.
    private func deadline(of index: Int32) -> Instant? {
        let associations = Instant.earlier(flows[index].association?.deadline, flows[index].successor?.deadline)
        return .earlier(associations, flows[index].channel?.deadline)
    }

    // MARK: Counting and telling

    /// Keeps what an association has carried, at its end.
    func retire(_ association: Association<Engine>, _ index: Int32) {
        members[Int(flows[index].member)].counters.add(association)
    }

    func countDrop(_ reason: DropReason, _ count: Int, _ index: Int32) {
        members[Int(flows[index].member)].counters.drops.add(reason, count)
        if flows[index].carrier >= 0 { carriages[index].counters.dropped &+= UInt64(truncatingIfNeeded: count) }
    }

    /// The peer of an association, or of the one that carries a flow.
    func peer(of index: Int32) -> Endpoint {
        let carrier = flows[index].carrier
        return flows.key(carrier >= 0 ? carrier : index) ?? Endpoint(address: .anyIPv6, port: 0)
    }

    /// Every queue whose entries end when they are idle, and after how long.
    private var idleQueues: [(FlowTable<Endpoint, Flow>.Queue, Duration)] {
        var queues = [(FlowTable<Endpoint, Flow>.Queue.shared, limits.flowTimeout)]
        for member in members.indices {
            let timeout = members[member].settings.limits.flowTimeout
            queues.append((.flows(of: member), timeout))
            if sharing != .never { queues.append((.carried(of: member), timeout)) }
        }
        return queues
    }

    func arm(_ index: Int32, at deadline: Instant) {
        deadlines.arm(flows.id(index), at: deadline, armed: &flows[index].armed)
    }

    func tell(_ event: TunnelEvent, _ index: Int32) {
        let member = flows[index].channel == nil || members.count == 1 ? Int(flows[index].member) : nil
        let carrier = flows[index].carrier
        let association = flows[carrier >= 0 ? carrier : index].serial
        events.append(TunnelNotice(member: member, association: association, event))
    }

    func tellOversize(_ byteCount: Int, _ fate: DatagramFate, _ index: Int32, now: Instant) {
        guard let address = members[Int(flows[index].member)].address else { return }
        if let told = flows[index].toldOversizeAt, now - told < .seconds(60) { return }
        flows[index].toldOversizeAt = now
        tell(.oversize(from: address, byteCount: byteCount, fate), index)
    }

    func tellLimit(_ limit: TunnelLimit, _ member: Int, evicted: Endpoint?, now: Instant) {
        if let told = members[member].toldLimits[limit], now - told < .seconds(10) { return }
        members[member].toldLimits[limit] = now
        events.append(TunnelNotice(member: member, .limit(limit, evicted: evicted)))
    }
}
