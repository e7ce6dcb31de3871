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

/// The server's end of a group.
public typealias ServerGroup<Engine: HandshakeEngine, Output: DatagramOutput & ~Copyable> =
    GroupEnd<Engine, ServerSide, Output>

/// What only a server keeps.
public struct ServerSide {
    /// Which side it is.
    public static var isClient: Bool { false }
    /// Whether datagrams wait for their turn.
    public var hasBacklog: Bool { false }

    var cookies: CookieExchange
    var peers = PlaceIndex<Endpoint>()
    /// The numbers of the tunnels by the names of their services.
    let services: [[UInt8]: Int]
    /// How many handshakes beside an established association are under way.
    var successors = 0
    /// How many links are established.
    var established = 0
    /// When a denial was last told.
    var toldDenialAt: Instant?
}

extension GroupEnd where Side == ServerSide, Output: ~Copyable {
    /// Makes a group without associations. The first member's limits on associations and handshakes hold for the group.
    /// `makeEngine` gives a fresh engine for each handshake, or nil if it cannot; with `cookieExchange` its engines are
    /// given a hello whose cookie has been verified.
    public init(
        _ members: [GroupMember], path: PathSettings = PathSettings(), sharing: SharingPolicy = .never,
        cookieExchange: Bool, firstKey: some MessageAuthentication, output: consuming Output, seed: UInt64 = 0,
        now: Instant, makeKey: @escaping (_ period: Int64) -> (any MessageAuthentication)?,
        makeEngine: @escaping (_ datagramSize: Int) -> Engine?
    ) {
        let cookies = CookieExchange(isRequired: cookieExchange, firstKey: firstKey, now: now, makeKey: makeKey)
        let services = members.enumerated().map { (Array($1.service.utf8), $0) }
        self.init(
            members, side: ServerSide(cookies: cookies, services: Dictionary(services) { first, _ in first }),
            path: path,
            sharing: sharing, output: output, seed: seed, makeEngine: makeEngine)
        for member in members.indices {
            if case .endpoint(let endpoint) = members[member].target { self.members[member].address = endpoint }
            refreshAddress(of: member, now: now)
        }
    }

    /// How many links there are, plus the flows of those that are shared.
    public var flowCount: Int { links.count + links.living.reduce(0) { $0 + sharedFlows(of: $1) } }

    private func sharedFlows(of link: Int32) -> Int { links[link].channel.read { $0.value.flowCount } ?? 0 }

    var limits: TunnelLimits { members[0].settings.limits }

    // MARK: Input

    /// Takes a datagram that a peer at `source` sent to the local address `local`.
    public mutating func handlePeer(
        _ datagram: inout MutableRawSpan, from source: Endpoint, to local: IPAddress, now: Instant
    ) {
        members[0].counters.receivedIn &+= 1
        let known = side.peers.place(of: source)
        if ClientHello.begins(datagram.bytes) {
            handleHello(&datagram, from: source, to: local, known: known, now: now)
        } else if let known {
            receive(&datagram, at: known, to: local, now: now)
        } else {
            members[0].counters.dropRecord(.noAssociation)
        }
        settle(now: now)
    }

    /// Takes a datagram that the target sent to a flow's own socket.
    public mutating func handleTarget(_ datagram: borrowing RawSpan, flow id: PlaceID, now: Instant) {
        guard let flow = flows.place(of: id) else {
            members[0].counters.receivedOut &+= 1
            members[0].counters.drops.add(.noAssociation)
            return
        }
        members[Int(flows[flow].member)].counters.receivedOut &+= 1
        flows.touch(flow, now: now)
        let link = flows[flow].link
        if !links[link].keys.isEstablished {
            countDrop(.noAssociation, flow: flow)
        } else if links[link].channel != nil {
            sendShared(datagram, of: flow, opening: nil, now: now)
        } else {
            sendDedicated(datagram, of: flow, now: now)
        }
        settle(now: now)
    }

    /// Takes the answer to ``DatagramOutput/resolve(_:)``, empty when there was none. New flows use it.
    public mutating func handleAddresses(_ resolved: [Endpoint], member: Int = 0) {
        // A late answer may be for a group that had this one's number before, and more tunnels.
        guard members.indices.contains(member) else { return }
        if let first = resolved.first {
            members[member].address = first
        } else if case .name(let name) = members[member].settings.target {
            tell(.unresolved(name, retryIn: Self.resolutionInterval), member: member)
        }
    }

    /// Takes the word of ICMP that no packet of more than `size` bytes reaches `peer`.
    public mutating func handlePathHint(_ size: Int, peer: Endpoint, now: Instant) {
        guard let link = side.peers.place(of: peer) else { return }
        handlePathHint(size, link: link, now: now)
        settle(now: now)
    }

    /// Ends a link or flow that has been idle for its timeout.
    mutating func expire(_ place: Int32, in queue: AgeQueue, now: Instant) {
        guard queue != .common else { return expire(link: place, now: now) }
        let link = flows[place].link
        tell(.expired(peer(of: link)), flow: place)
        if links[link].flow == place {
            remove(link)
        } else {
            end(flow: place, because: .done, now: now)
        }
    }

    private mutating func expire(link: Int32, now: Instant) {
        // A shared association's flows come and go. Where heartbeats say whether the peer is there, being idle does not
        // end it.
        guard links[link].keys.description?.peerHeartbeatMode != .peerAllowedToSend else {
            return links.move(link, to: .common, now: now)
        }
        tell(.expired(peer(of: link)), link: link)
        remove(link)
    }

    /// Ends every association with a close_notify.
    public mutating func close() {
        for link in links.living { remove(link) }
    }

    // MARK: By hand

    /// Takes settings that have changed: limits, access, what happens to what is too large. The members are the same in
    /// number and order. Associations and flows of peers that are no longer allowed end.
    public mutating func update(_ settings: [GroupMember], now: Instant) {
        take(settings, now: now)
        for link in links.living where links[link].establishedAt != nil {
            guard let identity = links[link].keys.description?.peer else { continue }
            let source = peer(of: link).address
            let member = links[link].isCommon ? nil : Int(links[link].member)
            guard let denial = denial(of: identity, at: source, member) else {
                endForbiddenFlows(of: link, identity, at: source, now: now)
                continue
            }
            tell(.refused(peer: peer(of: link), identity, by: denial), link: link)
            links[link].keys.current?.value.refuse()
            attend(link)
        }
        settle(now: now)
    }

    private mutating func endForbiddenFlows(
        of link: Int32, _ identity: PeerIdentity, at source: IPAddress, now: Instant
    ) {
        for flow in links[link].channel?.value.livingPlaces ?? [] {
            guard denial(of: identity, at: source, Int(flows[flow].member)) != nil else { continue }
            end(flow: flow, because: .forbidden, now: now)
        }
    }

    /// Ends an association. False if there is none with this serial.
    public mutating func close(serial: UInt64) -> Bool {
        guard let link = link(ofSerial: serial) else { return false }
        if links[link].establishedAt != nil {
            let identity = links[link].keys.description?.peer
            tell(.ended(peer: peer(of: link), identity, .closed, retryIn: nil), link: link)
        }
        remove(link)
        return true
    }

    // MARK: Records

    /// Takes a datagram for the link of its source address; it came to the local address `local`.
    mutating func receive(_ datagram: inout MutableRawSpan, at link: Int32, to local: IPAddress, now: Instant) {
        guard receive(&datagram, at: link, now: now) else { return }
        // Only what has proven authentic says where replies leave from and keeps a shared association alive. Flows have
        // their own timeouts.
        links[link].localAddress = local
        links.touch(link, now: now)
    }
}

extension ServerSide: GroupSide {
    /// Takes each link on the list to its next state.
    public static func settle<Engine, Output: ~Copyable>(_ group: inout ServerGroup<Engine, Output>, now: Instant) {
        while let event = group.nextEvent(now: now) { group.follow(event, now: now) }
    }

    /// Ends links and flows that have been idle for their timeout.
    public static func endIdle<Engine, Output: ~Copyable>(of group: inout ServerGroup<Engine, Output>, now: Instant) {
        while let (queue, place) = group.nextIdle(now: now) { group.expire(place, in: queue, now: now) }
    }

    /// Takes one record of a link's channel.
    public static func takeFrame<Engine, Output: ~Copyable>(
        _ record: borrowing RawSpan, at link: Int32, of group: inout ServerGroup<Engine, Output>, now: Instant
    ) { group.takeFrame(record, at: link, now: now) }

    /// Nothing waits at a server.
    public static func finishBatch<Engine, Output: ~Copyable>(of group: inout ServerGroup<Engine, Output>, now: Instant)
    {}
}
