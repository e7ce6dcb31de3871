// How a server accepts associations, and how they end.
//
// A hello passes the cookie exchange and begins a handshake. When that is done:
//   1. a peer that is not allowed is told so, and forgotten;
//   2. a shared association waits for its peer to open flows, a dedicated one gets its one flow and the flow's socket
//      at once;
//   3. an association beside an older one at the same address takes its place and, in dedicated mode, its flow.

import ContainersPreview
import DTLS
import Settings
import Wire

extension ServerGroup where Output: ~Copyable {
    // MARK: Hellos

    mutating func handleHello(
        _ datagram: inout MutableRawSpan, from source: Endpoint, to local: IPAddress, known: Int32?, now: Instant
    ) {
        guard core.members.contains(where: { $0.settings.access.allows(source.address) }) else {
            core.members[0].counters.dropRecord(.sourceNotAllowed)
            return
        }
        switch decide(datagram.bytes, from: source, to: local, now: now) {
        case .reply:
            core.members[0].counters.records &+= 1
            core.members[0].counters.control &+= 1
        case .drop(let reason):
            // A later fragment of a hello whose first fragment has been let in.
            if let known, reason == .noAssociation, isHandshaking(known) {
                receive(&datagram, at: known, to: local, now: now)
            } else {
                core.members[0].counters.dropRecord(reason)
            }
        case .proceed(let hello):
            if let known, core.links[known].hello == hello.words[0] {
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
    ) -> CookieExchange<Key>.Decision {
        var cookieReply: [UInt8] = []
        let decision = withScratch(byteCount: CookieExchange<Key>.replySize) { reply in
            let decision = cookies.handle(datagram, from: source, now: now, reply: &reply)
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
        let seed = core.random.next()
        guard !isDraining || known != nil, makeRoomForHandshake(besides: known, now: now),
            let association = core.makeAssociation(with: source, engine: makeEngine, seed: seed, now: now)
        else {
            core.members[0].counters.dropRecord(.limit)
            return
        }
        let link = known ?? addLink(to: source, now: now)
        // The server's datagrams leave from the address that the hello came to.
        core.links[link].localAddress = local
        core.links[link].hello = hello.words[0]
        if known != nil, isHandshaking(link) { core.members[0].counters.failedHandshakes += 1 }
        if core.links[link].establishedAt == nil {
            core.endKeys(.current, of: link)
            core.links[link].keys.begin(association)
        } else {
            endSuccessor(of: link)
            core.links[link].keys.beginNext(association)
            successors += 1
        }
        receive(&datagram, at: link, to: local, now: now)
        core.attend(link)
    }

    private mutating func addLink(to peer: Endpoint, now: Instant) -> Int32 {
        let link = core.addLink(in: .handshaking, use: .dedicated(flow: -1), now: now)
        core.links[link].peer = peer
        core.links[link].state = .handshaking
        peers.insert(peer, at: link)
        return link
    }

    /// Whether a handshake is under way at this link, be it the first one or one beside its association.
    private func isHandshaking(_ link: Int32) -> Bool {
        core.links[link].keys.hasNext || core.links[link].establishedAt == nil
    }

    private mutating func endSuccessor(of link: Int32) {
        guard core.links[link].keys.hasNext else { return }
        successors -= 1
        core.endKeys(.next, of: link)
    }

    private mutating func makeRoomForHandshake(besides known: Int32?, now: Instant) -> Bool {
        // A handshake that replaces another at the same address takes no more room.
        if let known, isHandshaking(known) { return true }
        guard core.links.count(in: .handshaking) + successors >= limits.maximumHandshakes else { return true }
        guard let (oldest, _) = core.links.oldest(in: .handshaking) else {
            core.tellLimit(.handshakes, member: 0, evicted: nil, now: now)
            return false
        }
        core.tellLimit(.handshakes, member: 0, evicted: core.peer(of: oldest), now: now)
        core.members[0].counters.evictions += 1
        core.members[0].counters.failedHandshakes += 1
        remove(oldest)
        return true
    }

    // MARK: Life of associations

    /// Drains the events, and takes each link that has one to its next state.
    mutating func settle(now: Instant) {
        while let event = core.nextEvent(&output, now: now) {
            switch event {
            case .established(let link, let generation, let description):
                establish(link, generation, description, now: now)
            case .ended(let link, let generation, let end): finish(link, generation, end, now: now)
            case .worn, .retryDue:
                // Only a client begins handshakes.
                continue
            }
        }
    }

    private mutating func establish(
        _ link: Int32, _ generation: KeyGeneration, _ description: AssociationDescription, now: Instant
    ) {
        let isShared = description.applicationProtocol == SharedFrame.applicationProtocol
        let member = isShared ? 0 : member(named: description.serverName)
        let source = core.peer(of: link)
        if let denial = denial(of: description.peer, at: source.address, isShared ? nil : member) {
            core.tell(.refused(peer: source, description.peer, by: denial), link: link)
            _ = core.links[link].keys.with(generation) { $0.refuse() }
            return
        }
        guard isShared || sharing != .always else {
            core.tell(.cannotShare(peer: source), link: link)
            _ = core.links[link].keys.with(generation) { $0.close() }
            return
        }
        if generation == .next {
            replaceKeys(of: link, isShared: isShared, member: member, now: now)
        } else {
            guard makeRoomForAssociation(now: now) else {
                core.links[link].keys.current?.value.dropFinished(.limit)
                core.links[link].keys.current?.value.close()
                return
            }
        }
        guard isShared || core.links[link].flow != nil || addFlow(to: link, of: member, now: now) else {
            core.links[link].keys.current?.value.close()
            return
        }
        core.members[member].counters.handshakes += 1
        core.members[member].counters.handshakeTimes.add(description.handshakeDuration)
        core.links[link].member = Int32(truncatingIfNeeded: member)
        core.links[link].state = .established
        if core.links[link].establishedAt == nil { established += 1 }
        core.links[link].establishedAt = now
        if isShared {
            core.links[link].use = .common
            core.links[link].channel = UniqueBox(Channel())
            core.arm(.common, at: now + limits.flowTimeout)
        }
        core.tell(.established(peer: source, sender: nil, description), link: link)
        core.links.move(link, to: isShared ? .common : .dedicated, now: now)
        if let flow = core.links[link].flow { core.flows.touch(flow, now: now) }
        accept(link, now: now)
    }

    /// The tunnel that a client in dedicated mode gets: the one that it names, or the first.
    private func member(named name: String?) -> Int {
        core.members.firstIndex { $0.settings.serverName != nil && $0.settings.serverName == name } ?? 0
    }

    /// Puts the keys of a handshake beside the association in its place. A dedicated link keeps its flow if the tunnel
    /// is still the same.
    private mutating func replaceKeys(of link: Int32, isShared: Bool, member: Int, now: Instant) {
        let wasShared = core.links[link].channel != nil
        let goesOn = !isShared && !wasShared && Int(core.links[link].member) == member
        // A shared association's flows end with it; their numbers mean nothing to the next one.
        if !goesOn { endFlows(of: link) }
        successors -= 1
        core.promoteKeys(of: link, keepingOld: goesOn && core.links[link].keys.isEstablished, now: now)
    }

    /// Gives a dedicated link its flow, with a socket to the tunnel's target; false if there can be none.
    private mutating func addFlow(to link: Int32, of member: Int, now: Instant) -> Bool {
        guard let flow = openFlow(of: member, in: .dedicated(of: member), now: now) else { return false }
        core.flows[flow].link = link
        core.links[link].use = .dedicated(flow: flow)
        return true
    }

    /// Adds a flow with a socket to its tunnel's target; nil if there can be none.
    mutating func openFlow(of member: Int, in queue: AgeQueue, now: Instant) -> Int32? {
        refreshAddress(of: member, now: now)
        guard core.flows.hasRoom, let address = core.members[member].address else { return nil }
        let flow = core.addFlow(of: member, in: queue, now: now)
        if output.open(core.flows.id(flow), to: address) { return flow }
        core.tell(.noSocket(address), member: member)
        core.flows.remove(flow)
        return nil
    }

    /// What keeps a peer out of this member or, if that is nil, out of all of them; nil if it is let in.
    func denial(of peer: PeerIdentity, at source: IPAddress, _ member: Int?) -> AccessDenial? {
        if let member { return core.members[member].settings.access.denial(of: peer, at: source) }
        let denials = core.members.compactMap { $0.settings.access.denial(of: peer, at: source) }
        guard denials.count == core.members.count else { return nil }
        // If one tunnel allows its identity, its address is what is wrong.
        return denials.contains(.source) ? .source : .identity
    }

    /// Has a target's name resolved again if it was last asked for some time ago.
    mutating func refreshAddress(of member: Int, now: Instant) {
        guard case .name = core.members[member].settings.target else { return }
        if let askedAt = core.members[member].askedAt, now - askedAt < Self.resolutionInterval { return }
        core.members[member].askedAt = now
        output.resolve(member)
    }

    static var resolutionInterval: Duration { .seconds(5) }

    private mutating func makeRoomForAssociation(now: Instant) -> Bool {
        guard established >= limits.maximumAssociations else { return true }
        guard let (oldest, touchedAt) = oldestAssociation,
            now - touchedAt >= min(TunnelLimits.idleBeforeEviction, limits.flowTimeout / 2)
        else {
            core.tellLimit(.associations, member: 0, evicted: nil, now: now)
            return false
        }
        core.tellLimit(.associations, member: 0, evicted: core.peer(of: oldest), now: now)
        core.members[Int(core.links[oldest].member)].counters.evictions += 1
        remove(oldest)
        return true
    }

    /// The established association that has been idle the longest.
    private var oldestAssociation: (link: Int32, touchedAt: Instant)? {
        var oldest = core.links.oldest(in: .common).map { (link: $0.place, touchedAt: $0.touchedAt) }
        for member in core.members.indices {
            guard let (flow, touchedAt) = core.flows.oldest(in: .dedicated(of: member)) else { continue }
            if oldest.map({ touchedAt < $0.touchedAt }) ?? true { oldest = (core.flows[flow].link, touchedAt) }
        }
        return oldest
    }

    private mutating func finish(_ link: Int32, _ generation: KeyGeneration, _ end: AssociationEnd, now: Instant) {
        let source = core.peer(of: link)
        if case .handshakeFailed(let failure) = end {
            core.members[0].counters.failedHandshakes += 1
            core.tell(.handshakeFailed(peer: source, failure, retryIn: nil), link: link)
        } else if end != .closed {
            let identity = core.links[link].keys.with(generation) { $0.description?.peer } ?? nil
            core.tell(.ended(peer: source, identity, end, retryIn: nil), link: link)
        }
        if generation == .next {
            endSuccessor(of: link)
            core.links[link].hello = 0
        } else if core.links[link].keys.hasNext {
            // A client that closes before its next handshake is done continues with that handshake.
            goOnHandshaking(link, now: now)
        } else {
            remove(link)
        }
    }

    /// Makes the handshake that was under way beside a link's association, which is over, the link's first.
    private mutating func goOnHandshaking(_ link: Int32, now: Instant) {
        core.pings.answer(core.links.id(link), .ended)
        endFlows(of: link)
        successors -= 1
        let rekeys = core.links[link].rekeys
        core.promoteKeys(of: link, keepingOld: false, now: now)
        core.links[link].rekeys = rekeys
        if core.links[link].state == .established { established -= 1 }
        core.links[link].establishedAt = nil
        core.links[link].state = .handshaking
        core.links[link].member = 0
        core.links.move(link, to: .handshaking, now: now)
        core.attend(link)
    }

    /// Ends a link, with its flows.
    mutating func remove(_ link: Int32) {
        endFlows(of: link)
        if core.links[link].keys.hasNext { successors -= 1 }
        core.endAssociations(of: link, &output)
        if core.links[link].establishedAt != nil { established -= 1 }
        peers.remove(core.peer(of: link))
        core.links.remove(link)
    }
}
