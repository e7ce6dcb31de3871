// The server side: tunnels on one listen address, on one worker. One listener serves all peers, which are told apart by
// address in user space.
//
// A datagram from a peer:
//   1. that begins with a ClientHello goes through the cookie exchange, which remembers nothing about the peer;
//   2. a hello with a valid cookie begins a link or, if the address has one, a handshake beside its association: that
//      stays until the new one has authenticated (RFC 6347 §4.2.8), so that nobody can end it with a forged hello
//      (ServerGroup+Accepting.swift);
//   3. anything else goes to the link of its address, or is dropped and counted. A link in dedicated mode has one flow
//      of one tunnel: the tunnel that its SNI names, or the first. In shared mode it carries flows of all tunnels,
//      which are the services (ServerGroup+Services.swift). Each flow has an own socket to its target, so that the
//      application there sees a different source port for each sender at the client.

import ContainersPreview
public import DTLS
public import Settings
public import Wire

/// The server side of a group of tunnels on one worker. It has no socket and no clock: its owner brings datagrams and time,
/// and does what ``DatagramOutput`` and the events say.
public struct ServerGroup<Engine: HandshakeEngine, Key: MessageAuthentication, Output: DatagramOutput & ~Copyable>:
    ~Copyable
{
    /// Where its datagrams go.
    public var output: Output
    var core: GroupCore<Engine>
    let sharing: SharingPolicy
    let makeEngine: (Int) -> Engine?
    var cookies: CookieExchange<Key>
    var peers = PlaceIndex<Endpoint>()
    /// The numbers of the tunnels by the names of their services.
    let services: [[UInt8]: Int]
    /// How many handshakes beside an established association are under way.
    var successors = 0
    /// How many links are established.
    var established = 0
    var isDraining = false
    /// When a denial was last told.
    var toldDenialAt: Instant?

    /// Makes a group without associations. The first member's limits on associations and handshakes hold for the group.
    /// `makeEngine` gives a fresh engine for each handshake, or nil if it cannot; with `cookieExchange` its engines are
    /// given a hello whose cookie has been verified.
    public init(
        _ members: [GroupMember], path: PathSettings = PathSettings(), sharing: SharingPolicy = .never,
        cookieExchange: Bool, firstKey: Key, output: consuming Output, seed: UInt64 = 0, now: Instant,
        makeKey: @escaping () -> Key?, makeEngine: @escaping (_ datagramSize: Int) -> Engine?
    ) {
        core = GroupCore(members, side: .server, path: path, seed: seed)
        self.sharing = sharing
        self.output = output
        self.makeEngine = makeEngine
        cookies = CookieExchange(isRequired: cookieExchange, firstKey: firstKey, now: now, makeKey: makeKey)
        services = Dictionary(members.enumerated().map { (Array($1.service.utf8), $0) }) { first, _ in first }
        for member in members.indices {
            if case .endpoint(let endpoint) = members[member].target { core.members[member].address = endpoint }
            refreshAddress(of: member, now: now)
        }
    }

    /// How many links there are, plus the flows of those that are shared.
    public var flowCount: Int { core.links.count + core.links.living.reduce(0) { $0 + sharedFlows(of: $1) } }

    private func sharedFlows(of link: Int32) -> Int { core.links[link].channel.read { $0.value.flowCount } ?? 0 }

    var limits: TunnelLimits { core.members[0].settings.limits }

    // MARK: Input

    /// Takes a datagram that a peer at `source` sent to the local address `local`.
    public mutating func handlePeer(
        _ datagram: inout MutableRawSpan, from source: Endpoint, to local: IPAddress, now: Instant
    ) {
        core.members[0].counters.receivedIn &+= 1
        let known = peers.place(of: source)
        if ClientHello.begins(datagram.bytes) {
            handleHello(&datagram, from: source, to: local, known: known, now: now)
        } else if let known {
            receive(&datagram, at: known, to: local, now: now)
        } else {
            core.members[0].counters.dropRecord(.noAssociation)
        }
        settle(now: now)
    }

    /// Takes a datagram that the target sent to a flow's own socket.
    public mutating func handleTarget(_ datagram: borrowing RawSpan, flow id: PlaceID, now: Instant) {
        guard let flow = core.flows.place(of: id) else {
            core.members[0].counters.receivedOut &+= 1
            core.members[0].counters.drops.add(.noAssociation)
            return
        }
        core.members[Int(core.flows[flow].member)].counters.receivedOut &+= 1
        core.flows.touch(flow, now: now)
        let link = core.flows[flow].link
        if !core.links[link].keys.isEstablished {
            core.countDrop(.noAssociation, flow: flow)
        } else if core.links[link].channel != nil {
            core.sendShared(datagram, of: flow, opening: nil, &output, now: now)
        } else {
            core.sendDedicated(datagram, of: flow, &output, now: now)
        }
        settle(now: now)
    }

    /// Takes the answer to ``DatagramOutput/resolve(_:)``, empty when there was none. New flows use it.
    public mutating func handleAddresses(_ resolved: [Endpoint], member: Int = 0) {
        // A late answer may be for a group that had this one's number before, and more tunnels.
        guard core.members.indices.contains(member) else { return }
        if let first = resolved.first {
            core.members[member].address = first
        } else if case .name(let name) = core.members[member].settings.target {
            core.tell(.unresolved(name, retryIn: Self.resolutionInterval), member: member)
        }
    }

    /// Counts datagrams that the system did not send.
    public mutating func handleSendFailure(
        _ origin: DatagramOrigin, _ failure: SendFailure, count: Int, now: Instant
    ) {
        core.handleSendFailure(origin, failure, count: count, now: now)
        settle(now: now)
    }

    /// Takes the word of ICMP that no packet of more than `size` bytes reaches `peer`.
    public mutating func handlePathHint(_ size: Int, peer: Endpoint, now: Instant) {
        guard let link = peers.place(of: peer) else { return }
        core.handlePathHint(size, link: link, now: now)
        settle(now: now)
    }

    /// Counts datagrams that came cut short, from peers or from targets.
    public mutating func countTruncated(_ count: Int, fromPeer: Bool) {
        core.members[0].counters.countTruncated(count, fromPeer: fromPeer)
    }

    /// Does what is due at ``deadline``.
    public mutating func handleTimeout(now: Instant) {
        core.handleTimers(now: now)
        while let (queue, place) = core.nextIdle(now: now) {
            if queue == .common {
                expire(link: place, now: now)
            } else {
                let link = core.flows[place].link
                core.tell(.expired(core.peer(of: link)), flow: place)
                if core.links[link].flow == place {
                    remove(link)
                } else {
                    end(flow: place, because: .done, now: now)
                }
            }
        }
        settle(now: now)
    }

    private mutating func expire(link: Int32, now: Instant) {
        // A shared association's flows come and go. Where heartbeats say whether the peer is there, being idle does not
        // end it.
        guard core.links[link].keys.description?.peerHeartbeatMode != .peerAllowedToSend else {
            return core.links.move(link, to: .common, now: now)
        }
        core.tell(.expired(core.peer(of: link)), link: link)
        remove(link)
    }

    /// Ends every association with a close_notify.
    public mutating func close() {
        for link in core.links.living { remove(link) }
    }

    // MARK: By hand

    /// Takes settings that have changed: limits, access, what happens to what is too large. The members are the same in
    /// number and order. Associations and flows of peers that are no longer allowed end.
    public mutating func update(_ settings: [GroupMember], now: Instant) {
        core.update(settings, now: now)
        for link in core.links.living where core.links[link].establishedAt != nil {
            guard let peer = core.links[link].keys.description?.peer else { continue }
            let source = core.peer(of: link).address
            let member = core.links[link].isCommon ? nil : Int(core.links[link].member)
            guard let denial = denial(of: peer, at: source, member) else {
                endForbiddenFlows(of: link, peer, at: source, now: now)
                continue
            }
            core.tell(.refused(peer: core.peer(of: link), peer, by: denial), link: link)
            core.links[link].keys.current?.value.refuse()
            core.attend(link)
        }
        settle(now: now)
    }

    private mutating func endForbiddenFlows(of link: Int32, _ peer: PeerIdentity, at source: IPAddress, now: Instant) {
        for flow in core.links[link].channel?.value.livingPlaces ?? [] {
            guard denial(of: peer, at: source, Int(core.flows[flow].member)) != nil else { continue }
            end(flow: flow, because: .forbidden, now: now)
        }
    }

    /// Accepts no new associations and flows from now on.
    public mutating func drain() { isDraining = true }

    /// Whether there is an association with this serial.
    public func has(serial: UInt64) -> Bool { core.link(ofSerial: serial) != nil }

    /// Ends an association. False if there is none with this serial.
    public mutating func close(serial: UInt64) -> Bool {
        guard let link = core.link(ofSerial: serial) else { return false }
        if core.links[link].establishedAt != nil {
            let identity = core.links[link].keys.description?.peer
            core.tell(.ended(peer: core.peer(of: link), identity, .closed, retryIn: nil), link: link)
        }
        remove(link)
        return true
    }

    /// Sends a heartbeat request; its outcome is among the ping answers, under the ticket.
    public mutating func ping(serial: UInt64, ticket: UInt64, now: Instant) -> PingOutcome {
        let outcome = core.ping(serial: serial, ticket: ticket, now: now)
        settle(now: now)
        return outcome
    }

    // MARK: Output

    /// When ``handleTimeout(now:)`` has to be called next.
    public var deadline: Instant? { core.deadline }

    /// Everything to tell since the last call, in order.
    public mutating func takeEvents() -> [TunnelNotice] {
        guard !core.notices.isEmpty else { return [] }
        defer { core.notices = [] }
        return core.notices
    }

    /// The outcomes of pings since the last call.
    public mutating func takePingAnswers() -> [(ticket: UInt64, answer: PingAnswer)] { core.pings.takeAll() }

    /// What this member has carried and dropped in all. What concerns no single tunnel counts for the first.
    public func counters(of member: Int = 0) -> TunnelCounters { core.tallies()[member].counters }

    /// What each tunnel has done in all, and what state it is in.
    public func tallies() -> [MemberTally] { core.tallies() }

    /// A page of associations, and how many there are in all.
    public func snapshots(_ page: SnapshotPage = SnapshotPage()) -> (page: [AssociationSnapshot], total: Int) {
        core.snapshots(page)
    }

    /// A page of flows, and how many there are in all.
    public func flowSnapshots(_ page: SnapshotPage = SnapshotPage()) -> (page: [FlowSnapshot], total: Int) {
        core.flowSnapshots(page)
    }

    // MARK: Records

    /// Takes a datagram for the link of its source address; it came to the local address `local`.
    mutating func receive(_ datagram: inout MutableRawSpan, at link: Int32, to local: IPAddress, now: Instant) {
        core.endOutdatedKeys(of: link, now: now)
        var cursor = RecordCursor()
        if pull(&datagram, &cursor, at: link, now: now) {
            // Only what has proven authentic says where replies leave from and keeps a shared association alive. Flows
            // have their own timeouts.
            core.links[link].localAddress = local
            core.links.touch(link, now: now)
        }
        core.attendIfNeeded(link)
    }

    /// Takes the records of a datagram one by one; returns whether one of them was authentic.
    private mutating func pull(
        _ datagram: inout MutableRawSpan, _ cursor: inout RecordCursor, at link: Int32, now: Instant
    ) -> Bool {
        var isAuthentic = false
        while true {
            switch core.links[link].keys.next(&datagram, &cursor, now: now) {
            case .end: return isAuthentic
            case .handled: continue
            case .control: isAuthentic = true
            case .data(let range):
                isAuthentic = true
                take(datagram.bytes.extracting(range), at: link, now: now)
            }
        }
    }

    /// Takes the records that came before the association was accepted.
    mutating func accept(_ link: Int32, now: Instant) {
        for var record in core.links[link].keys.current?.value.accept() ?? [] {
            record.withMutableBytes { datagram in
                var cursor = RecordCursor.counted
                _ = pull(&datagram, &cursor, at: link, now: now)
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
}
