// The client side: tunnels to one peer, on one worker.
//
// A datagram from a local sender:
//   1. finds its flow by tunnel and sender, or begins one; when there are too many, the one that has been idle longest
//      gives way;
//   2. in shared mode is framed and sealed for the common link (ClientGroup+Sharing.swift), in dedicated mode sealed
//      for the flow's dedicated link;
//   3. if the link is not up, waits in a bounded queue while the name is resolved and the handshake runs
//      (ClientGroup+Dialing.swift). A datagram from the peer is opened in place and sent to the sender, from the
//      address that the sender used. An association that fails is tried again, address after address, with growing
//      waits, for as long as somebody wants it.

import ContainersPreview
public import DTLS
public import Settings
public import Wire

/// The client side of a group of tunnels on one worker. It has no socket and no clock: its owner brings datagrams, time
/// and resolved names, and does what ``DatagramOutput`` and the events say.
public struct ClientGroup<Engine: HandshakeEngine, Output: DatagramOutput & ~Copyable>: ~Copyable {
    /// What tells a flow from the others: the tunnel, and the sender.
    struct FlowKey: Hashable {
        var sender: Endpoint
        var member: Int32
    }

    /// Which mode the peer has, as far as is known.
    enum Mode {
        /// Nothing yet.
        case unknown
        /// One association carries every flow.
        case shared
        /// The peer has no shared mode: each flow has its own association.
        case dedicated
    }

    /// Where its datagrams go.
    public var output: Output
    var core: GroupCore<Engine>
    var policy: ReconnectPolicy
    let sharing: SharingPolicy
    let connectPolicy: ConnectPolicy
    let makeEngine: (Int) -> Engine?

    var senders = PlaceIndex<FlowKey>()
    var addresses: ForwardAddresses
    /// Links that wait for the forward name's addresses.
    var unresolved: [PlaceID] = []
    private var waitingBytes = 0
    private var isDraining = false

    var mode = Mode.unknown
    /// The common link; with a peer that has no shared mode, the spare one. -1 for none.
    var common: Int32 = -1
    var backlog = FairQueue()
    /// Whether datagrams come faster than they can be sent.
    var isPressed = false
    var arrivals = 0

    /// Makes a group without flows. `makeEngine` gives a fresh engine for each attempt, or nil if it cannot; the
    /// datagrams of its flights have at most `datagramSize` bytes.
    public init(
        _ members: [GroupMember], policy: ReconnectPolicy, path: PathSettings = PathSettings(),
        sharing: SharingPolicy = .never, connect: ConnectPolicy = .firstDatagram, output: consuming Output,
        seed: UInt64, makeEngine: @escaping (_ datagramSize: Int) -> Engine?
    ) {
        core = GroupCore(members, side: .client, path: path, seed: seed)
        self.policy = policy
        self.sharing = sharing
        self.connectPolicy = connect
        self.output = output
        self.makeEngine = makeEngine
        addresses = ForwardAddresses(members[0].target)
    }

    /// How many flows there are.
    public var flowCount: Int { core.flows.count }

    // MARK: Input

    /// Begins the association that flows will share, if it is wanted before there are any.
    public mutating func start(now: Instant) {
        if sharing != .never, connectPolicy == .start { wakeCommon(now: now) }
        settle(now: now)
    }

    /// Takes a datagram that a local sender at `source` sent to the local address `local` of the tunnel number `member`.
    public mutating func handleLocal(
        _ datagram: borrowing RawSpan, member: Int = 0, from source: Endpoint, to local: IPAddress, now: Instant
    ) {
        core.members[member].counters.receivedOut &+= 1
        let key = FlowKey(sender: source, member: Int32(truncatingIfNeeded: member))
        guard let flow = senders.place(of: key) ?? admit(key, now: now) else {
            core.members[member].counters.drops.add(.limit)
            return
        }
        core.flows.touch(flow, now: now)
        core.flows[flow].localAddress = local
        if !send(datagram, of: flow, now: now) {
            hold(datagram, of: flow, now: now)
        }
        settle(now: now)
    }

    /// Takes a datagram that came to a link's own socket.
    public mutating func handleRemote(_ datagram: inout MutableRawSpan, link id: PlaceID, now: Instant) {
        guard let link = core.links.place(of: id), core.links[link].keys.current != nil else {
            core.members[0].counters.receivedIn &+= 1
            core.members[0].counters.dropRecord(.noAssociation)
            return
        }
        core.members[Int(core.links[link].member)].counters.receivedIn &+= 1
        core.endOutdatedKeys(of: link, now: now)
        var cursor = RecordCursor()
        pull(&datagram, &cursor, at: link, now: now)
        core.attendIfNeeded(link)
        settle(now: now)
    }

    /// Takes the records of a datagram one by one.
    private mutating func pull(
        _ datagram: inout MutableRawSpan, _ cursor: inout RecordCursor, at link: Int32, now: Instant
    ) {
        while true {
            switch core.links[link].keys.next(&datagram, &cursor, now: now) {
            case .end: return
            case .handled, .control: continue
            case .data(let range): take(datagram.bytes.extracting(range), at: link, now: now)
            }
        }
    }

    /// Takes the records that came before the association was accepted.
    mutating func accept(_ link: Int32, now: Instant) {
        for var record in core.links[link].keys.current?.value.accept() ?? [] {
            record.withMutableBytes { datagram in
                var cursor = RecordCursor.counted
                pull(&datagram, &cursor, at: link, now: now)
            }
        }
    }

    private mutating func take(_ record: borrowing RawSpan, at link: Int32, now: Instant) {
        if core.links[link].channel == nil {
            core.takeDedicated(record, at: link, &output, now: now)
        } else {
            takeFrame(record, at: link, now: now)
        }
    }

    /// Takes the answer to ``DatagramOutput/resolve(_:)``; empty when there was none.
    public mutating func handleAddresses(_ resolved: [Endpoint], now: Instant) {
        addresses.answer(resolved, now: now)
        let waiting = unresolved.compactMap { core.links.place(of: $0) }
        unresolved = []
        if resolved.isEmpty {
            let wait = policy.wait(failures: addresses.failures, random: &core.random)
            if let name = addresses.name {
                core.tell(.unresolved(name, retryIn: wait), member: core.members.count == 1 ? 0 : nil)
            }
            if addresses.all.isEmpty {
                for link in waiting { retry(link, at: now + wait) }
                return settle(now: now)
            }
        }
        for link in waiting { begin(link, now: now) }
        settle(now: now)
    }

    /// Counts datagrams that the system did not send.
    public mutating func handleSendFailure(
        _ origin: DatagramOrigin, _ failure: SendFailure, count: Int, now: Instant
    ) {
        core.handleSendFailure(origin, failure, count: count, now: now)
        settle(now: now)
    }

    /// Takes the word of ICMP that no packet of more than `size` bytes reaches the link's peer.
    public mutating func handlePathHint(_ size: Int, link id: PlaceID, now: Instant) {
        guard let link = core.links.place(of: id) else { return }
        core.handlePathHint(size, link: link, now: now)
        settle(now: now)
    }

    /// Counts datagrams that came cut short, from senders of the tunnel number `member`; from the peer where that is nil.
    public mutating func countTruncated(_ count: Int, member: Int?) {
        core.members[member ?? 0].counters.countTruncated(count, fromPeer: member == nil)
    }

    /// Does what is due at ``deadline``.
    public mutating func handleTimeout(now: Instant) {
        core.handleTimers(now: now)
        while let (_, flow) = core.nextIdle(now: now) {
            if let sender = core.flows[flow].sender { core.tell(.expired(sender), flow: flow) }
            remove(flow: flow, now: now)
        }
        finishBatch(now: now)
        settle(now: now)
    }

    /// Ends every association with a close_notify and forgets every flow.
    public mutating func close() {
        for flow in core.flows.living { remove(flow: flow, now: nil) }
        if common >= 0 { remove(link: common) }
    }

    // MARK: By hand

    /// Takes settings that have changed: limits, access, what happens to what is too large, when to reconnect. The
    /// members are the same in number and order. An association whose peer is no longer allowed ends.
    public mutating func update(_ settings: [GroupMember], policy: ReconnectPolicy, now: Instant) {
        core.update(settings, now: now)
        self.policy = policy
        for link in core.links.living {
            guard let peer = core.links[link].keys.description?.peer,
                !core.members[Int(core.links[link].member)].settings.access.allows(peer)
            else { continue }
            core.tell(.refused(peer: core.peer(of: link), peer, by: .identity), link: link)
            core.links[link].keys.current?.value.refuse()
            core.attend(link)
        }
        settle(now: now)
    }

    /// Accepts no new flows from now on.
    public mutating func drain() { isDraining = true }

    /// Ends an association; a common one is begun again after a wait. False if there is none with this serial.
    public mutating func close(serial: UInt64, now: Instant) -> Bool {
        guard let link = core.link(ofSerial: serial) else { return false }
        let isOver = core.links[link].establishedAt != nil
        let (identity, peer) = (core.links[link].keys.description?.peer, core.peer(of: link))
        if link == common {
            core.links[link].keys.current?.value.close()
            core.attend(link)
            settle(now: now)
            guard isOver, core.link(ofSerial: serial) == link else { return true }
            let wait = core.links[link].retryAt.map { $0 - now }
            core.tell(.ended(peer: peer, identity, .closed, retryIn: wait), link: link)
        } else {
            if isOver { core.tell(.ended(peer: peer, identity, .closed, retryIn: nil), link: link) }
            if let flow = core.links[link].flow { remove(flow: flow, now: now) } else { remove(link: link) }
        }
        return true
    }

    /// Begins a handshake beside an association; once it is done, its keys replace the current ones. In shared mode the
    /// flows get new numbers, and the peer opens new sockets for them.
    public mutating func rekey(serial: UInt64, now: Instant) -> RekeyOutcome {
        guard let link = core.link(ofSerial: serial) else { return .notFound }
        let outcome = rekey(link, now: now)
        settle(now: now)
        return outcome
    }

    /// Sends a heartbeat request; its outcome is among the ping answers, under the ticket.
    public mutating func ping(serial: UInt64, ticket: UInt64, now: Instant) -> PingOutcome {
        let outcome = core.ping(serial: serial, ticket: ticket, now: now)
        settle(now: now)
        return outcome
    }

    // MARK: Output

    /// When ``handleTimeout(now:)`` has to be called next.
    public var deadline: Instant? {
        // Datagrams that wait for their turn are sent as soon as the ready sockets have been read.
        backlog.isEmpty ? core.deadline : Instant(nanoseconds: 0)
    }

    /// Everything to tell since the last call, in order.
    public mutating func takeEvents() -> [TunnelNotice] {
        guard !core.notices.isEmpty else { return [] }
        defer { core.notices = [] }
        return core.notices
    }

    /// The outcomes of pings since the last call.
    public mutating func takePingAnswers() -> [(ticket: UInt64, answer: PingAnswer)] { core.pings.takeAll() }

    // MARK: Flows

    private mutating func admit(_ key: FlowKey, now: Instant) -> Int32? {
        guard !isDraining, core.flows.hasRoom else { return nil }
        let member = Int(key.member)
        let limits = core.members[member].settings.limits
        // Without sharing, each flow needs an association.
        let isDedicated = sharing == .never || mode == .dedicated
        let maximum = isDedicated ? min(limits.maximumFlows, limits.maximumAssociations) : limits.maximumFlows
        if core.flows.count(in: .flows(of: member)) >= maximum {
            guard let (oldest, touchedAt) = core.flows.oldest(in: .flows(of: member)),
                now - touchedAt >= min(TunnelLimits.idleBeforeEviction, limits.flowTimeout / 2)
            else {
                core.tellLimit(.flows, member: member, evicted: nil, now: now)
                return nil
            }
            core.tellLimit(.flows, member: member, evicted: core.flows[oldest].sender, now: now)
            core.members[member].counters.evictions += 1
            remove(flow: oldest, now: now)
        }
        let flow = core.addFlow(of: member, in: .flows(of: member), now: now)
        core.flows[flow].sender = key.sender
        senders.insert(key, at: flow)
        if mode == .dedicated, common >= 0 {
            bind(flow, to: common)
            common = -1
        } else if !isDedicated {
            core.flows[flow].link = common
        }
        return flow
    }

    /// Ends a flow, and its dedicated link if it has one. With `now` nil the peer is not told by a frame, because the
    /// whole group closes.
    mutating func remove(flow: Int32, now: Instant?) {
        let link = core.flows[flow].link
        if let sender = core.flows[flow].sender {
            senders.remove(FlowKey(sender: sender, member: core.flows[flow].member))
        }
        discardWaiting(flow, because: .closed)
        let isOwn = link >= 0 && core.links[link].flow == flow
        if !isOwn { leaveChannel(flow, telling: now) }
        core.flows.remove(flow)
        guard isOwn else { return }
        core.links[link].use = .dedicated(flow: -1)
        remove(link: link)
    }

    /// Ends a link for good.
    mutating func remove(link: Int32) {
        core.discardPieces(of: link)
        core.endAssociations(of: link, &output)
        output.close(core.links.id(link))
        if link == common { common = -1 }
        core.links.remove(link)
    }

    // MARK: Waiting datagrams

    /// Sends a datagram, if the flow's link is up.
    private mutating func send(_ datagram: borrowing RawSpan, of flow: Int32, now: Instant) -> Bool {
        let link = core.flows[flow].link
        guard link >= 0 else { return false }
        if core.links[link].channel != nil {
            carry(datagram, of: flow, now: now)
            return true
        }
        guard core.links[link].state == .established, core.links[link].keys.isEstablished, core.links[link].flow == flow
        else { return false }
        core.sendDedicated(datagram, of: flow, &output, now: now)
        return true
    }

    /// Makes a datagram wait until the flow's link is up, and makes sure that it comes up.
    private mutating func hold(_ datagram: borrowing RawSpan, of flow: Int32, now: Instant) {
        guard sharing != .never || fits(datagram.byteCount, flow, now: now) else { return }
        // One bound for the group besides the one for each flow: many flows may wait for one dead peer.
        guard waitingBytes + datagram.byteCount <= Self.maximumWaitingBytes else {
            return core.countDrop(.queueFull, flow: flow)
        }
        waitingBytes -= core.flows[flow].waiting.byteCount
        let dropped = core.flows[flow].waiting.append(datagram)
        waitingBytes += core.flows[flow].waiting.byteCount
        if dropped > 0 { core.countDrop(.queueFull, dropped, flow: flow) }
        wakeLink(of: flow, now: now)
    }

    /// Whether a datagram fits one record; one that does not is counted and told.
    private mutating func fits(_ byteCount: Int, _ flow: Int32, now: Instant) -> Bool {
        guard byteCount > RecordHeader.maximumPlaintextLength else { return true }
        core.countDrop(.oversize, flow: flow)
        let fate = DatagramFate.dropped(limit: RecordHeader.maximumPlaintextLength)
        core.tellOversize(byteCount, fate, flow: flow, now: now)
        return false
    }

    /// Sends what has waited for the flow's link.
    mutating func sendWaiting(of flow: Int32, now: Instant) {
        let isDedicated = core.flows[flow].link != common
        for datagram in takeWaiting(flow) where !isDedicated || fits(datagram.count, flow, now: now) {
            if !send(datagram.bytes, of: flow, now: now) { core.countDrop(.closed, flow: flow) }
        }
    }

    private mutating func takeWaiting(_ flow: Int32) -> [[UInt8]] {
        waitingBytes -= core.flows[flow].waiting.byteCount
        return core.flows[flow].waiting.takeAll()
    }

    private mutating func discardWaiting(_ flow: Int32, because reason: DropReason) {
        let discarded = takeWaiting(flow).count
        if discarded > 0 { core.countDrop(reason, discarded, flow: flow) }
    }

    /// The most bytes that wait in all flows of the group together.
    private static var maximumWaitingBytes: Int { 16_777_216 }
}
