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

/// The client's end of a group.
public typealias ClientGroup<Engine: HandshakeEngine, Output: DatagramOutput & ~Copyable> =
    GroupEnd<Engine, ClientSide, Output>

/// What only a client keeps.
public struct ClientSide {
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

    /// Whether the worker that finds out what the peer is has been asked.
    enum Question {
        case none
        case wanted
        case asked
    }

    /// Which side it is.
    public static var isClient: Bool { true }
    /// Whether datagrams wait for their turn.
    public var hasBacklog: Bool { !backlog.isEmpty }

    var policy: ReconnectPolicy
    let connectPolicy: ConnectPolicy
    var senders = PlaceIndex<FlowKey>()
    var addresses: ForwardAddresses
    /// Links that wait for the forward name's addresses.
    var unresolved: [PlaceID] = []
    var waitingBytes = 0
    var mode = Mode.unknown
    /// Whether another worker finds out what the peer is.
    let asks: Bool
    var question = Question.none
    /// The common link; with a peer that has no shared mode, the spare one. -1 for none.
    var common: Int32 = -1
    var backlog = FairQueue()
    /// Whether datagrams come faster than they can be sent.
    var isPressed = false
    var arrivals = 0
}

extension GroupEnd where Side == ClientSide, Output: ~Copyable {
    /// Makes a group without flows. `makeEngine` gives a fresh engine for each attempt, or nil if it cannot; the
    /// datagrams of its flights have at most `datagramSize` bytes. Without `findsOut`, another worker is asked what the
    /// peer is (``takeQuestion()``).
    public init(
        _ members: [GroupMember], policy: ReconnectPolicy, path: PathSettings = PathSettings(),
        sharing: SharingPolicy = .never, connect: ConnectPolicy = .firstDatagram, findsOut: Bool = true,
        output: consuming Output, seed: UInt64, makeEngine: @escaping (_ datagramSize: Int) -> Engine?
    ) {
        let side = ClientSide(
            policy: policy, connectPolicy: findsOut ? connect : .firstDatagram,
            addresses: ForwardAddresses(members[0].target), asks: !findsOut)
        self.init(
            members, side: side, path: path, sharing: sharing, output: output, seed: seed, makeEngine: makeEngine)
    }

    /// How many flows there are.
    public var flowCount: Int { flows.count }

    // MARK: Input

    /// Begins the association that flows will share, if it is wanted before there are any.
    public mutating func start(now: Instant) {
        if sharing != .never, side.connectPolicy == .start { wakeCommon(now: now) }
        settle(now: now)
    }

    /// Takes a datagram that a local sender at `source` sent to the local address `local` of the tunnel number `member`.
    public mutating func handleLocal(
        _ datagram: borrowing RawSpan, member: Int = 0, from source: Endpoint, to local: IPAddress, now: Instant
    ) {
        members[member].counters.receivedOut &+= 1
        let key = ClientSide.FlowKey(sender: source, member: Int32(truncatingIfNeeded: member))
        guard let flow = side.senders.place(of: key) ?? admit(key, now: now) else {
            members[member].counters.drops.add(.limit)
            return
        }
        flows.touch(flow, now: now)
        flows[flow].localAddress = local
        if !send(datagram, of: flow, now: now) {
            hold(datagram, of: flow, now: now)
        }
        settle(now: now)
    }

    /// Takes a datagram that came to a link's own socket.
    public mutating func handleRemote(_ datagram: inout MutableRawSpan, link id: PlaceID, now: Instant) {
        guard let link = links.place(of: id), links[link].keys.current != nil else {
            members[0].counters.receivedIn &+= 1
            members[0].counters.dropRecord(.noAssociation)
            return
        }
        members[Int(links[link].member)].counters.receivedIn &+= 1
        receive(&datagram, at: link, now: now)
        settle(now: now)
    }

    /// Takes the answer to ``DatagramOutput/resolve(_:)``; empty when there was none.
    public mutating func handleAddresses(_ resolved: [Endpoint], now: Instant) {
        side.addresses.answer(resolved, now: now)
        let waiting = side.unresolved.compactMap { links.place(of: $0) }
        side.unresolved = []
        if resolved.isEmpty {
            let wait = side.policy.wait(failures: side.addresses.failures, random: &random)
            if let name = side.addresses.name {
                tell(.unresolved(name, retryIn: wait), member: members.count == 1 ? 0 : nil)
            }
            if side.addresses.all.isEmpty {
                for link in waiting { retry(link, at: now + wait) }
                return settle(now: now)
            }
        }
        for link in waiting { begin(link, now: now) }
        settle(now: now)
    }

    /// Takes the word of ICMP that no packet of more than `size` bytes reaches the link's peer.
    public mutating func handlePathHint(_ size: Int, link id: PlaceID, now: Instant) {
        guard let link = links.place(of: id) else { return }
        handlePathHint(size, link: link, now: now)
        settle(now: now)
    }

    /// Ends a flow that has been idle for its timeout.
    mutating func expire(_ flow: Int32, now: Instant) {
        if let sender = flows[flow].sender { tell(.expired(sender), flow: flow) }
        remove(flow: flow, now: now)
    }

    /// Ends every association with a close_notify and forgets every flow.
    public mutating func close() {
        for flow in flows.living { remove(flow: flow, now: nil) }
        if side.common >= 0 { remove(link: side.common) }
    }

    // MARK: By hand

    /// Takes settings that have changed: limits, access, what happens to what is too large, when to reconnect. The
    /// members are the same in number and order. An association whose peer is no longer allowed ends.
    public mutating func update(_ settings: [GroupMember], policy: ReconnectPolicy, now: Instant) {
        take(settings, now: now)
        side.policy = policy
        for link in links.living {
            guard let identity = links[link].keys.description?.peer,
                !members[Int(links[link].member)].settings.access.allows(identity)
            else { continue }
            tell(.refused(peer: peer(of: link), identity, by: .identity), link: link)
            links[link].keys.current?.value.refuse()
            attend(link)
        }
        settle(now: now)
    }

    /// Ends an association; a common one is begun again after a wait. False if there is none with this serial.
    public mutating func close(serial: UInt64, now: Instant) -> Bool {
        guard let link = link(ofSerial: serial) else { return false }
        let isOver = links[link].establishedAt != nil
        let (identity, peer) = (links[link].keys.description?.peer, self.peer(of: link))
        if link == side.common {
            links[link].keys.current?.value.close()
            attend(link)
            settle(now: now)
            guard isOver, self.link(ofSerial: serial) == link else { return true }
            let wait = links[link].retryAt.map { $0 - now }
            tell(.ended(peer: peer, identity, .closed, retryIn: wait), link: link)
        } else {
            if isOver { tell(.ended(peer: peer, identity, .closed, retryIn: nil), link: link) }
            if let flow = links[link].flow { remove(flow: flow, now: now) } else { remove(link: link) }
        }
        return true
    }

    /// Begins a handshake beside an association; once it is done, its keys replace the current ones. In shared mode the
    /// flows get new numbers, and the peer opens new sockets for them.
    public mutating func rekey(serial: UInt64, now: Instant) -> RekeyOutcome {
        guard let link = link(ofSerial: serial) else { return .notFound }
        let outcome = rekey(link, now: now)
        settle(now: now)
        return outcome
    }

    // MARK: Flows

    private mutating func admit(_ key: ClientSide.FlowKey, now: Instant) -> Int32? {
        guard !isDraining, flows.hasRoom else { return nil }
        let member = Int(key.member)
        let limits = members[member].settings.limits
        // Without sharing, each flow needs an association.
        let isDedicated = sharing == .never || side.mode == .dedicated
        let maximum = isDedicated ? min(limits.maximumFlows, limits.maximumAssociations) : limits.maximumFlows
        if flows.count(in: .flows(of: member)) >= maximum {
            guard let (oldest, touchedAt) = flows.oldest(in: .flows(of: member)),
                now - touchedAt >= min(TunnelLimits.idleBeforeEviction, limits.flowTimeout / 2)
            else {
                tellLimit(.flows, member: member, evicted: nil, now: now)
                return nil
            }
            tellLimit(.flows, member: member, evicted: flows[oldest].sender, now: now)
            members[member].counters.evictions += 1
            remove(flow: oldest, now: now)
        }
        let flow = addFlow(of: member, in: .flows(of: member), now: now)
        flows[flow].sender = key.sender
        side.senders.insert(key, at: flow)
        if side.mode == .dedicated, side.common >= 0 {
            bind(flow, to: side.common)
            side.common = -1
        } else if !isDedicated {
            flows[flow].link = side.common
        }
        return flow
    }

    /// Ends a flow, and its dedicated link if it has one. With `now` nil the peer is not told by a frame, because the
    /// whole group closes.
    mutating func remove(flow: Int32, now: Instant?) {
        let link = flows[flow].link
        if let sender = flows[flow].sender {
            side.senders.remove(ClientSide.FlowKey(sender: sender, member: flows[flow].member))
        }
        discardWaiting(flow, because: .closed)
        let isOwn = link >= 0 && links[link].flow == flow
        if !isOwn { leaveChannel(flow, telling: now) }
        flows.remove(flow)
        guard isOwn else { return }
        links[link].use = .dedicated(flow: -1)
        remove(link: link)
    }

    /// Ends a link for good.
    mutating func remove(link: Int32) {
        discardPieces(of: link)
        endAssociations(of: link)
        output.close(links.id(link))
        if link == side.common { side.common = -1 }
        links.remove(link)
    }

    // MARK: Waiting datagrams

    /// Sends a datagram, if the flow's link is up.
    private mutating func send(_ datagram: borrowing RawSpan, of flow: Int32, now: Instant) -> Bool {
        let link = flows[flow].link
        guard link >= 0 else { return false }
        if links[link].channel != nil {
            carry(datagram, of: flow, now: now)
            return true
        }
        guard links[link].state == .established, links[link].keys.isEstablished, links[link].flow == flow
        else { return false }
        sendDedicated(datagram, of: flow, now: now)
        return true
    }

    /// Makes a datagram wait until the flow's link is up, and makes sure that it comes up.
    private mutating func hold(_ datagram: borrowing RawSpan, of flow: Int32, now: Instant) {
        guard sharing != .never || fits(datagram.byteCount, flow, now: now) else { return }
        // One bound for the group besides the one for each flow: many flows may wait for one dead peer.
        guard side.waitingBytes + datagram.byteCount <= Self.maximumWaitingBytes else {
            return countDrop(.queueFull, flow: flow)
        }
        side.waitingBytes -= flows[flow].waiting.byteCount
        let dropped = flows[flow].waiting.append(datagram)
        side.waitingBytes += flows[flow].waiting.byteCount
        if dropped > 0 { countDrop(.queueFull, dropped, flow: flow) }
        wakeLink(of: flow, now: now)
    }

    /// Whether a datagram fits one record; one that does not is counted and told.
    private mutating func fits(_ byteCount: Int, _ flow: Int32, now: Instant) -> Bool {
        guard byteCount > RecordHeader.maximumPlaintextLength else { return true }
        countDrop(.oversize, flow: flow)
        let fate = DatagramFate.dropped(limit: RecordHeader.maximumPlaintextLength)
        tellOversize(byteCount, fate, flow: flow, now: now)
        return false
    }

    /// Sends what has waited for the flow's link.
    mutating func sendWaiting(of flow: Int32, now: Instant) {
        let isDedicated = flows[flow].link != side.common
        for datagram in takeWaiting(flow) where !isDedicated || fits(datagram.count, flow, now: now) {
            if !send(datagram.bytes, of: flow, now: now) { countDrop(.closed, flow: flow) }
        }
    }

    private mutating func takeWaiting(_ flow: Int32) -> [[UInt8]] {
        side.waitingBytes -= flows[flow].waiting.byteCount
        return flows[flow].waiting.takeAll()
    }

    private mutating func discardWaiting(_ flow: Int32, because reason: DropReason) {
        let discarded = takeWaiting(flow).count
        if discarded > 0 { countDrop(reason, discarded, flow: flow) }
    }

    /// The most bytes that wait in all flows of the group together.
    private static var maximumWaitingBytes: Int { 16_777_216 }
}

extension ClientSide: GroupSide {
    /// Takes each link on the list to its next state.
    public static func settle<Engine, Output: ~Copyable>(_ group: inout ClientGroup<Engine, Output>, now: Instant) {
        while let event = group.nextEvent(now: now) { group.follow(event, now: now) }
    }

    /// Ends flows that have been idle for their timeout.
    public static func endIdle<Engine, Output: ~Copyable>(of group: inout ClientGroup<Engine, Output>, now: Instant) {
        while let (_, flow) = group.nextIdle(now: now) { group.expire(flow, now: now) }
    }

    /// Takes one record of a link's channel.
    public static func takeFrame<Engine, Output: ~Copyable>(
        _ record: borrowing RawSpan, at link: Int32, of group: inout ClientGroup<Engine, Output>, now: Instant
    ) { group.takeFrame(record, at: link, now: now) }

    /// Lets the flows take turns.
    public static func finishBatch<Engine, Output: ~Copyable>(of group: inout ClientGroup<Engine, Output>, now: Instant)
    { group.serveBacklog(now: now) }
}
