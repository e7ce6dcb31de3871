// How a server accepts associations, and how they end.
//
// A hello passes the cookie exchange and begins a handshake. When that is done:
//   1. a peer that is not allowed is told so, and forgotten;
//   2. a shared association waits for its peer to open flows, a dedicated one gets its one flow and the flow's socket
//      at once;
//   3. an association beside an older one at the same address takes its place and, in dedicated mode and with the same
//      authenticated peer, its flow.

import ContainersPreview
import DTLS
import Settings
import Wire

extension GroupEnd where Side == ServerSide, Output: ~Copyable {
    // MARK: Hellos

    mutating func handleHello(
        _ datagram: inout MutableRawSpan, from source: Endpoint, to local: IPAddress, known: Int32?, now: Instant
    ) {
        guard members.contains(where: { $0.settings.access.allows(source.address) }) else {
            members[0].counters.dropRecord(.sourceNotAllowed)
            return
        }
        switch decide(datagram.bytes, from: source, to: local, now: now) {
        case .reply:
            members[0].counters.records &+= 1
            members[0].counters.control &+= 1
        case .drop(let reason):
            // A later fragment of a hello whose first fragment has been let in.
            if let known, reason == .noAssociation, isHandshaking(known) {
                receive(&datagram, at: known, to: local, now: now)
            } else {
                members[0].counters.dropRecord(reason)
            }
        case .proceed(let hello):
            if let known, links[known].hello == hello.words[0] {
                // The same hello once more: our flight was lost, or is on its way.
                receive(&datagram, at: known, to: local, now: now)
            } else {
                begin(with: &datagram, hello, from: source, to: local, known: known, now: now)
            }
        }
    }

    /// Lets the cookie exchange decide about a hello, and sends its reply.
    private mutating func decide(
        _ datagram: borrowing RawSpan, from source: Endpoint, to local: IPAddress, now: Instant
    ) -> CookieExchange.Decision {
        var cookieReply: [UInt8] = []
        let decision = withScratch(byteCount: CookieExchange.replySize) { reply in
            let decision = side.cookies.handle(datagram, from: source, now: now, reply: &reply)
            if case .reply(let length) = decision { cookieReply = reply.bytes.extracting(first: length).copied() }
            return decision
        }
        guard case .reply(let length) = decision else { return decision }
        output.sendShared(nil, listener: 0, to: source, from: local, maximum: length, mayFragment: true) {
            $0.write(cookieReply.bytes, at: 0) ? length : nil
        }
        return decision
    }

    private mutating func begin(
        with datagram: inout MutableRawSpan, _ hello: AuthenticationTag, from source: Endpoint, to local: IPAddress,
        known: Int32?, now: Instant
    ) {
        guard !isDraining || known != nil, makeRoomForHandshake(besides: known, now: now),
            let association = makeAssociation(with: source, now: now)
        else {
            members[0].counters.dropRecord(.limit)
            return
        }
        let link = known ?? addLink(to: source, now: now)
        // The server's datagrams leave from the address that the hello came to.
        links[link].localAddress = local
        links[link].hello = hello.words[0]
        if known != nil, isHandshaking(link) { members[0].counters.failedHandshakes += 1 }
        if links[link].establishedAt == nil {
            endKeys(.current, of: link)
            links[link].keys.begin(association)
        } else {
            endSuccessor(of: link)
            links[link].keys.beginNext(association)
            side.successors += 1
        }
        receive(&datagram, at: link, to: local, now: now)
        attend(link)
    }

    private mutating func addLink(to peer: Endpoint, now: Instant) -> Int32 {
        let link = addLink(in: .handshaking, use: .dedicated(flow: -1), now: now)
        links[link].peer = peer
        links[link].state = .handshaking
        side.peers.insert(peer, at: link)
        return link
    }

    /// Whether a handshake is under way at this link, be it the first one or one beside its association.
    private func isHandshaking(_ link: Int32) -> Bool {
        links[link].keys.hasNext || links[link].establishedAt == nil
    }

    private mutating func endSuccessor(of link: Int32) {
        guard links[link].keys.hasNext else { return }
        side.successors -= 1
        endKeys(.next, of: link)
    }

    private mutating func makeRoomForHandshake(besides known: Int32?, now: Instant) -> Bool {
        // A handshake that replaces another at the same address takes no more room.
        if let known, isHandshaking(known) { return true }
        guard links.count(in: .handshaking) + side.successors >= limits.maximumHandshakes else { return true }
        guard let (oldest, _) = links.oldest(in: .handshaking) else {
            tellLimit(.handshakes, member: 0, evicted: nil, now: now)
            return false
        }
        tellLimit(.handshakes, member: 0, evicted: peer(of: oldest), now: now)
        members[0].counters.evictions += 1
        members[0].counters.failedHandshakes += 1
        remove(oldest)
        return true
    }

    // MARK: Life of associations

    /// Takes a link to its next state.
    mutating func follow(_ event: LinkEvent, now: Instant) {
        switch event {
        case .established(let link, let generation, let description):
            establish(link, generation, description, now: now)
        case .ended(let link, let generation, let end): finish(link, generation, end, now: now)
        case .worn, .retryDue:
            // Only a client begins handshakes.
            break
        }
    }

    private mutating func establish(
        _ link: Int32, _ generation: KeyGeneration, _ description: AssociationDescription, now: Instant
    ) {
        let isShared = description.applicationProtocol == SharedFrame.applicationProtocol
        let member = isShared ? 0 : member(named: description.serverName)
        let source = peer(of: link)
        if let denial = denial(of: description.peer, at: source.address, isShared ? nil : member) {
            tell(.refused(peer: source, description.peer, by: denial), link: link)
            _ = links[link].keys.with(generation) { $0.refuse() }
            return
        }
        guard isShared || sharing != .always else {
            tell(.cannotShare(peer: source), link: link)
            _ = links[link].keys.with(generation) { $0.close() }
            return
        }
        if generation == .next {
            replaceKeys(of: link, isShared: isShared, member: member, by: description.peer, now: now)
        } else {
            guard makeRoomForAssociation(now: now) else {
                links[link].keys.current?.value.dropFinished(.limit)
                links[link].keys.current?.value.close()
                return
            }
        }
        guard isShared || links[link].flow != nil || addFlow(to: link, of: member, now: now) else {
            links[link].keys.current?.value.close()
            return
        }
        members[member].counters.handshakes += 1
        members[member].counters.handshakeTimes.add(description.handshakeDuration)
        links[link].member = Int32(truncatingIfNeeded: member)
        links[link].state = .established
        if links[link].establishedAt == nil { side.established += 1 }
        links[link].establishedAt = now
        if isShared {
            links[link].use = .common
            links[link].channel = UniqueBox(Channel())
            arm(.common, at: now + limits.flowTimeout)
        }
        tell(.established(peer: source, sender: nil, description), link: link)
        links.move(link, to: isShared ? .common : .dedicated, now: now)
        if let flow = links[link].flow { flows.touch(flow, now: now) }
        accept(link, now: now)
    }

    /// The tunnel that a client in dedicated mode gets: the one that it names, or the first.
    private func member(named name: String?) -> Int {
        members.firstIndex { $0.settings.serverName != nil && $0.settings.serverName == name } ?? 0
    }

    /// Puts the keys of a handshake beside the association in its place. A dedicated link keeps its flow, and its old
    /// keys for a while, if the tunnel and the authenticated peer are still the same: whoever else calls from that
    /// address must not hear what the application tells the first (RFC 6347 §4.2.8 replaces, it does not continue).
    private mutating func replaceKeys(
        of link: Int32, isShared: Bool, member: Int, by identity: PeerIdentity, now: Instant
    ) {
        let old = links[link].keys.description?.peer
        let isSamePeer = old == identity && identity.isAuthenticated
        if !isSamePeer, links[link].keys.isEstablished {
            tell(.ended(peer: peer(of: link), old, .replaced(by: identity), retryIn: nil), link: link)
            _ = links[link].keys.current?.value.close()
            transmit(.current, of: link)
        }
        let wasShared = links[link].channel != nil
        let goesOn = isSamePeer && !isShared && !wasShared && Int(links[link].member) == member
        // A shared association's flows end with it; their numbers mean nothing to the next one.
        if !goesOn { endFlows(of: link) }
        side.successors -= 1
        promoteKeys(of: link, keepingOld: goesOn && links[link].keys.isEstablished, now: now)
    }

    /// Gives a dedicated link its flow, with a socket to the tunnel's target; false if there can be none.
    private mutating func addFlow(to link: Int32, of member: Int, now: Instant) -> Bool {
        guard let flow = openFlow(of: member, in: .dedicated(of: member), now: now) else { return false }
        flows[flow].link = link
        links[link].use = .dedicated(flow: flow)
        return true
    }

    /// Adds a flow with a socket to its tunnel's target; nil if there can be none.
    mutating func openFlow(of member: Int, in queue: AgeQueue, now: Instant) -> Int32? {
        refreshAddress(of: member, now: now)
        guard flows.hasRoom, let address = members[member].address else { return nil }
        let flow = addFlow(of: member, in: queue, now: now)
        if output.open(flows.id(flow), to: address) { return flow }
        tell(.noSocket(address), member: member)
        flows.remove(flow)
        return nil
    }

    /// What keeps a peer out of this member or, if that is nil, out of all of them; nil if it is let in.
    func denial(of peer: PeerIdentity, at source: IPAddress, _ member: Int?) -> AccessDenial? {
        if let member { return members[member].settings.access.denial(of: peer, at: source) }
        let denials = members.compactMap { $0.settings.access.denial(of: peer, at: source) }
        guard denials.count == members.count else { return nil }
        // If one tunnel allows its identity, its address is what is wrong.
        return denials.contains(.source) ? .source : .identity
    }

    /// Has a target's name resolved again if it was last asked for some time ago.
    mutating func refreshAddress(of member: Int, now: Instant) {
        guard case .name = members[member].settings.target else { return }
        if let askedAt = members[member].askedAt, now - askedAt < Self.resolutionInterval { return }
        members[member].askedAt = now
        output.resolve(member)
    }

    static var resolutionInterval: Duration { .seconds(5) }

    private mutating func makeRoomForAssociation(now: Instant) -> Bool {
        guard side.established >= limits.maximumAssociations else { return true }
        guard let (oldest, touchedAt) = oldestAssociation,
            now - touchedAt >= min(TunnelLimits.idleBeforeEviction, limits.flowTimeout / 2)
        else {
            tellLimit(.associations, member: 0, evicted: nil, now: now)
            return false
        }
        tellLimit(.associations, member: 0, evicted: peer(of: oldest), now: now)
        members[Int(links[oldest].member)].counters.evictions += 1
        remove(oldest)
        return true
    }

    /// The established association that has been idle the longest.
    private var oldestAssociation: (link: Int32, touchedAt: Instant)? {
        var oldest = links.oldest(in: .common).map { (link: $0.place, touchedAt: $0.touchedAt) }
        for member in members.indices {
            guard let (flow, touchedAt) = flows.oldest(in: .dedicated(of: member)) else { continue }
            if oldest.map({ touchedAt < $0.touchedAt }) ?? true { oldest = (flows[flow].link, touchedAt) }
        }
        return oldest
    }

    private mutating func finish(_ link: Int32, _ generation: KeyGeneration, _ end: AssociationEnd, now: Instant) {
        let source = peer(of: link)
        if case .handshakeFailed(let failure) = end {
            members[0].counters.failedHandshakes += 1
            tell(.handshakeFailed(peer: source, failure, retryIn: nil), link: link)
        } else if end != .closed {
            let identity = links[link].keys.with(generation) { $0.description?.peer } ?? nil
            tell(.ended(peer: source, identity, end, retryIn: nil), link: link)
        }
        if generation == .next {
            endSuccessor(of: link)
            links[link].hello = 0
        } else if links[link].keys.hasNext {
            // A client that closes before its next handshake is done continues with that handshake.
            goOnHandshaking(link, now: now)
        } else {
            remove(link)
        }
    }

    /// Makes the handshake that was under way beside a link's association, which is over, the link's first.
    private mutating func goOnHandshaking(_ link: Int32, now: Instant) {
        pings.answer(links.id(link), .ended)
        endFlows(of: link)
        side.successors -= 1
        let rekeys = links[link].rekeys
        promoteKeys(of: link, keepingOld: false, now: now)
        links[link].rekeys = rekeys
        if links[link].state == .established { side.established -= 1 }
        links[link].establishedAt = nil
        links[link].state = .handshaking
        links[link].member = 0
        links.move(link, to: .handshaking, now: now)
        attend(link)
    }

    /// Ends a link, with its flows.
    mutating func remove(_ link: Int32) {
        endFlows(of: link)
        if links[link].keys.hasNext { side.successors -= 1 }
        endAssociations(of: link)
        if links[link].establishedAt != nil { side.established -= 1 }
        side.peers.remove(peer(of: link))
        links.remove(link)
    }
}
