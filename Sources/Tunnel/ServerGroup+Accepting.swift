// How a server's end takes on associations, and how they end.
//
// A hello passes the cookie exchange, and begins a handshake; what the handshake tells of the peer decides:
//   1. who may not come is told so, and forgotten;
//   2. a shared association waits for its peer to open flows, one in plain mode gets its one flow's socket at once;
//   3. an association beside an older one at the same address takes its place, with its flow.

import DTLS
import Settings
import Wire

extension ServerGroup {
    // MARK: Hellos

    func handleHello(
        _ datagram: inout MutableRawSpan, from source: Endpoint, to local: IPAddress, known: Int32?, now: Instant
    ) {
        guard members.contains(where: { $0.settings.access.allows(source.address) }) else {
            members[0].counters.dropRecord(.sourceNotAllowed)
            return
        }
        let decision = withScratch(byteCount: CookieExchange<Key>.replySize) { reply in
            let decision = cookies.handle(datagram.bytes, from: source, now: now, reply: &reply)
            if case .reply(let length) = decision {
                let bytes = reply.bytes.extracting(0..<length)
                output.sendShared(nil, listener: 0, to: source, from: local, maximum: length, mayFragment: true) {
                    $0.write(bytes, at: 0) ? length : nil
                }
            }
            return decision
        }
        switch decision {
        case .reply:
            members[0].counters.records &+= 1
            members[0].counters.control &+= 1
        case .drop(let reason):
            // A later fragment of a hello whose first one has already been let in.
            if let known, reason == .noAssociation, handshaking(known) != nil {
                deliver(&datagram, to: known, at: local, now: now)
            } else {
                members[0].counters.dropRecord(reason)
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
        guard !isDraining || known != nil, makeRoomForHandshake(besides: known, now: now),
            let engine = makeEngine(source.datagramSize(linkMTU: 1500))
        else {
            members[0].counters.dropRecord(.limit)
            return
        }
        let association = Association(
            engine: engine, path: path, headers: source.headerSize, seed: random.next(), now: now)
        let index: Int32
        if let known {
            index = known
            if let replaced = handshaking(known) {
                replaced.abandon()
                members[0].counters.add(replaced)
                members[0].counters.failedHandshakes += 1
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
            tellLimit(.handshakes, 0, evicted: nil, now: now)
            return false
        }
        tellLimit(.handshakes, 0, evicted: peer(of: oldest), now: now)
        members[0].counters.evictions += 1
        members[0].counters.failedHandshakes += 1
        remove(oldest)
        return true
    }

    // MARK: Life of associations

    func establish(
        _ index: Int32, _ association: Association<Engine>, _ description: AssociationDescription, now: Instant
    ) {
        let isShared = association.isShared
        let name = description.serverName
        let named =
            isShared ? nil : members.firstIndex { $0.settings.serverName != nil && $0.settings.serverName == name }
        let member = named ?? 0
        let source = peer(of: index)
        if let denial = denial(of: description.peer, at: source.address, isShared ? nil : member) {
            tell(.refused(peer: source, description.peer, by: denial), index)
            return refuse(association, index)
        }
        guard isShared || sharing != .always else {
            tell(.cannotShare(peer: source), index)
            association.close()
            return transmit(association, index)
        }
        let isSuccessor = flows[index].successor === association
        if isSuccessor {
            if let before = flows[index].predecessor { retire(before, index) }
            flows[index].predecessor = nil
            if let old = flows[index].association {
                // A shared association's flows end with it; their numbers mean nothing to the next one.
                if !isShared, !old.isShared, Int(flows[index].member) == member, old.isEstablished {
                    flows[index].predecessor = old
                } else {
                    retire(old, index)
                }
            }
            flows[index].rekeys += 1
            if flows[index].channel != nil { dropCarried(by: index) }
            setSuccessor(nil, index)
            flows[index].association = association
            repeatPing(by: association, index, now: now)
        } else {
            guard makeRoomForAssociation(now: now) else {
                association.dropFinished(.limit)
                association.close()
                transmit(association, index)
                return
            }
            established += 1
        }
        if isShared {
            output.close(flows.id(index))
        } else if !isSuccessor || flows[index].channel != nil || Int(flows[index].member) != member {
            guard openTarget(of: member, for: index, now: now) else {
                association.close()
                transmit(association, index)
                return
            }
        }
        flows[index].member = Int32(truncatingIfNeeded: member)
        members[member].counters.handshakes += 1
        members[member].counters.handshakeTimes.add(description.handshakeDuration)
        flows[index].establishedAt = now
        flows[index].channel = isShared ? SharedChannel(association) : nil
        tell(.established(peer: source, sender: nil, description), index)
        flows.move(index, to: isShared ? .shared : .flows(of: member), now: now)
        if let channel = flows[index].channel {
            association.accept(now: now) { record in take(record, from: channel, at: index, now: now) }
        } else {
            association.accept(now: now) { forward($0, index) }
        }
    }

    /// Has those who wait for the answer of what `association` has replaced answered by it.
    private func repeatPing(by association: Association<Engine>, _ index: Int32, now: Instant) {
        let id = flows.id(index)
        guard pings.wait(for: id) else { return }
        guard association.ping(now: now) else { return pings.answer(id, .lost) }
        transmit(association, index)
    }

    /// What keeps a peer out of the tunnel number `member`, or, where it is nil, out of all of them.
    func denial(of peer: PeerIdentity, at source: IPAddress, _ member: Int?) -> AccessDenial? {
        if let member { return members[member].settings.access.denial(of: peer, at: source) }
        let denials = members.compactMap { $0.settings.access.denial(of: peer, at: source) }
        guard denials.count == members.count else { return nil }
        // Where one knows its identity, its address is what is wrong.
        return denials.contains(.source) ? .source : .identity
    }

    private func refuse(_ association: Association<Engine>, _ index: Int32) {
        association.refuse()
        transmit(association, index)
    }

    /// Opens a flow's socket to its tunnel's target.
    func openTarget(of member: Int, for index: Int32, now: Instant) -> Bool {
        refreshAddress(of: member, now: now)
        guard let address = members[member].address else { return false }
        guard output.open(flows.id(index), to: address) else {
            events.append(TunnelNotice(member: member, .noSocket(address)))
            return false
        }
        return true
    }

    /// Has a target's name resolved anew when what is known of it is old.
    func refreshAddress(of member: Int, now: Instant) {
        guard case .name = members[member].settings.target else { return }
        if let askedAt = members[member].askedAt, now - askedAt < Self.resolutionInterval { return }
        members[member].askedAt = now
        output.resolve(member)
    }

    static var resolutionInterval: Duration { .seconds(5) }

    private func makeRoomForAssociation(now: Instant) -> Bool {
        guard established >= limits.maximumAssociations else { return true }
        let queues = [FlowTable<Endpoint, Flow>.Queue.shared] + members.indices.map { .flows(of: $0) }
        let oldest = queues.compactMap { flows.oldest(in: $0) }.min { $0.touchedAt < $1.touchedAt }
        guard let oldest, now - oldest.touchedAt >= min(TunnelLimits.idleBeforeEviction, limits.flowTimeout / 2) else {
            tellLimit(.associations, 0, evicted: nil, now: now)
            return false
        }
        tellLimit(.associations, 0, evicted: peer(of: oldest.index), now: now)
        members[Int(flows[oldest.index].member)].counters.evictions += 1
        remove(oldest.index)
        return true
    }

    func finish(_ index: Int32, _ association: Association<Engine>, _ end: AssociationEnd, now: Instant) {
        let source = peer(of: index)
        if case .handshakeFailed(let failure) = end {
            members[0].counters.failedHandshakes += 1
            tell(.handshakeFailed(peer: source, failure, retryIn: nil), index)
        } else if end != .closed {
            tell(.ended(peer: source, association.description?.peer, end, retryIn: nil), index)
        }
        if flows[index].successor === association {
            retire(association, index)
            setSuccessor(nil, index)
            flows[index].hello = nil
            return
        }
        // A client that closes before its next handshake is done goes on with that one.
        if let successor = flows[index].successor {
            pings.answer(flows.id(index), .ended)
            retire(association, index)
            dropCarried(by: index)
            flows[index].channel = nil
            flows[index].association = successor
            setSuccessor(nil, index)
            if flows[index].establishedAt != nil { established -= 1 }
            flows[index].establishedAt = nil
            flows[index].member = 0
            output.close(flows.id(index))
            flows.move(index, to: .handshaking, now: now)
            return
        }
        remove(index)
    }

    func remove(_ index: Int32) {
        let id = flows.id(index)
        pings.answer(flows.id(index), .ended)
        dropCarried(by: index)
        for association in [flows[index].association, flows[index].successor] {
            guard let association else { continue }
            association.close()
            transmit(association, index)
            retire(association, index)
        }
        if let predecessor = flows[index].predecessor { retire(predecessor, index) }
        if flows[index].establishedAt != nil { established -= 1 }
        setSuccessor(nil, index)
        output.close(id)
        flows.remove(index)
    }
}
