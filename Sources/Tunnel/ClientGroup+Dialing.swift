// How a client gets its associations, and what it does when they end.
//
// A group that shares has one association, the link, from its start or its first datagram on:
//   1. where the peer has shared mode, it becomes the channel of every flow;
//   2. where the peer has not, it serves the first flow that comes, and each later one gets its own.
// A peer that gains or loses shared mode is followed with the next handshake: each one asks for it.

import DTLS
import Settings
import Wire

extension ClientGroup {
    /// Begins an attempt for a flow that has nothing under way, or sees to the association that it shares.
    func connect(_ index: Int32, now: Instant) {
        if flows[index].isCarried { return wakeLink(now: now) }
        guard addresses.isFresh(now) else {
            flows[index].state = .resolving
            unresolved.append(flows.id(index))
            if addresses.ask() { output.resolve(0) }
            return
        }
        begin(index, now: now)
    }

    /// Makes sure that the shared association is up, or an attempt on its way.
    func wakeLink(now: Instant) {
        if let link {
            if flows[link].state == .idle { connect(link, now: now) }
            return
        }
        let index = flows.insert(nil, Flow(serial: nextSerial), in: .shared, now: now)
        nextSerial += 1
        link = index
        connect(index, now: now)
    }

    func begin(_ index: Int32, now: Instant) {
        let id = flows.id(index)
        let remote = addresses.all[Int(flows[index].attempts) % addresses.all.count]
        flows[index].attempts += 1
        flows[index].remote = remote
        guard output.open(id, to: remote) else {
            tell(.noSocket(remote), index)
            retry(index, now: now)
            return
        }
        guard let engine = makeEngine(remote.datagramSize(linkMTU: 1500)) else {
            retry(index, now: now)
            return
        }
        // With other addresses to try, a silent one is given up sooner.
        let association = Association(
            engine: engine, path: path, headers: remote.headerSize, seed: random.next(),
            maximumTimeouts: addresses.all.count > 1 ? 3 : 6, helloInterval: policy.helloInterval, now: now)
        flows[index].association = association
        flows[index].state = .handshaking
        association.start(now: now)
        serve(index, now: now)
    }

    /// Sends and tells what an association has to send and tell, and follows it to its next state.
    func serve(_ index: Int32, now: Instant) {
        let id = flows.id(index)
        let (association, successor) = (flows[index].association, flows[index].successor)
        if let association { serve(association, index, id, now: now) }
        if let successor { serve(successor, index, id, now: now) }
        guard flows.index(of: id) != nil, let deadline = deadline(of: index) else { return }
        arm(index, at: deadline)
    }

    /// When something is due for a flow's associations; nil where it has none.
    func deadline(of index: Int32) -> Instant? {
        guard let association = flows[index].association else { return nil }
        let associations = Instant.earlier(association.deadline, flows[index].successor?.deadline)
        guard let channel, channel.association === association else { return associations }
        return .earlier(associations, channel.deadline)
    }

    private func serve(_ association: Association<Engine>, _ index: Int32, _ id: FlowID, now: Instant) {
        association.needsAttention = false
        // What is done for one association may have been the end of the other.
        guard isCurrent(association, id) else { return }
        transmit(association, id)
        while isCurrent(association, id), let event = association.pollEvent() {
            switch event {
            case .established(let description): establish(index, association, description, now: now)
            case .pathMTUChanged(let pathMTU, let before):
                tell(
                    .pathMTUChanged(
                        peer: remote(of: index), pathMTU, from: before,
                        maximumDatagram: association.maximumDatagram), index)
            case .roundTrip(let duration):
                members[Int(flows[index].member)].counters.roundTrips.add(duration)
            case .pinged(let duration):
                pings.answer(id, PingAnswer(duration))
            case .worn:
                _ = rekey(serial: flows[index].serial, now: now)
            case .ended(let end):
                if flows[index].successor === association {
                    fail(index, association, end)
                } else {
                    finish(index, association, end, now: now)
                }
            }
        }
    }

    private func isCurrent(_ association: Association<Engine>, _ id: FlowID) -> Bool {
        guard let index = flows.index(of: id) else { return false }
        return flows[index].association === association || flows[index].successor === association
    }

    private func establish(
        _ index: Int32, _ association: Association<Engine>, _ description: AssociationDescription, now: Instant
    ) {
        let remote = remote(of: index)
        let member = Int(flows[index].member)
        guard members[member].settings.access.allows(description.peer) else {
            tell(.refused(peer: remote, description.peer, by: .identity), index)
            return refuse(association, index)
        }
        guard sharing != .always || association.isShared else {
            tell(.cannotShare(peer: remote), index)
            association.close()
            return transmit(association, flows.id(index))
        }
        members[member].counters.handshakes += 1
        members[member].counters.handshakeTimes.add(description.handshakeDuration)
        if flows[index].successor === association {
            return succeed(index, association, description, now: now)
        }
        tell(.established(peer: remote, sender: sender(index), description), index)
        flows[index].state = .established
        flows[index].establishedAt = now
        // The address that works is the first to be tried the next time.
        flows[index].attempts -= 1
        if association.isShared {
            share(association, at: index, now: now)
            return
        }
        if index == link {
            mode = .plain
            tell(.plainMode(peer: remote), index)
            yieldLink(now: now)
        } else {
            // A handshake may have taken most of a short timeout.
            flows.touch(index, now: now)
        }
        for datagram in takeWaiting(index) where fits(datagram.count, index, now: now) {
            seal(datagram.bytes, with: association, index, now: now)
        }
        association.accept(now: now) { reply($0, index) }
    }

    /// Puts new keys in the place of the old ones. The peer has done so too, and says no goodbye to what it has forgotten.
    private func succeed(
        _ index: Int32, _ association: Association<Engine>, _ description: AssociationDescription, now: Instant
    ) {
        flows[index].successor = nil
        guard let old = flows[index].association else { return }
        guard old.isShared == association.isShared else {
            // The peer has gained or lost shared mode: everything begins anew.
            association.abandon()
            account(for: association, index)
            old.close()
            return serve(index, now: now)
        }
        account(for: old, index)
        let isChannel = channel?.association === old
        if isChannel { unshare() }
        flows[index].association = association
        flows[index].establishedAt = now
        flows[index].rekeys += 1
        tell(.rekeyed(peer: remote(of: index), description), index)
        repeatPing(by: association, index, now: now)
        if isChannel {
            share(association, at: index, now: now)
        } else {
            association.accept(now: now) { reply($0, index) }
        }
    }

    /// Has those who wait for the answer of what `association` has replaced answered by it.
    private func repeatPing(by association: Association<Engine>, _ index: Int32, now: Instant) {
        let id = flows.id(index)
        guard pings.wait(for: id) else { return }
        guard association.ping(now: now) else { return pings.answer(id, .lost) }
        transmit(association, id)
    }

    /// A handshake for new keys has failed; the old ones stay in use.
    private func fail(_ index: Int32, _ association: Association<Engine>, _ end: AssociationEnd) {
        flows[index].successor = nil
        account(for: association, index)
        guard case .handshakeFailed(let failure) = end else { return }
        members[Int(flows[index].member)].counters.failedHandshakes += 1
        tell(.handshakeFailed(peer: remote(of: index), failure, retryIn: nil), index)
    }

    private func refuse(_ association: Association<Engine>, _ index: Int32) {
        association.refuse()
        transmit(association, flows.id(index))
    }

    func remote(of index: Int32) -> Endpoint {
        flows[index].remote ?? Endpoint(address: .anyIPv6, port: 0)
    }

    // MARK: Plain mode with a peer that was asked for shared mode

    /// Gives the association that was to be shared to the first flow that waits, and has the others get their own.
    private func yieldLink(now: Instant) {
        guard let spare = link else { return }
        let carried = flows.living.filter { flows[$0].isCarried }
        for index in carried { flows[index].isCarried = false }
        guard let first = carried.first(where: { !flows[$0].waiting.isEmpty }), let key = flows.key(first) else {
            return
        }
        let flow = flows[first]
        flows.remove(first)
        adopt(spare, by: key, now: now)
        flows[spare].serial = flow.serial
        flows[spare].beganAt = flow.beganAt
        flows[spare].localAddress = flow.localAddress
        flows[spare].waiting = flow.waiting
        for index in carried where index != first && !flows[index].waiting.isEmpty { connect(index, now: now) }
    }

    /// Makes what was to be shared the association of one flow.
    func adopt(_ spare: Int32, by key: Key, now: Instant) {
        link = nil
        flows.setKey(spare, key)
        flows.move(spare, to: .flows(of: Int(key.member)), now: now)
        flows[spare].member = key.member
    }

    /// Makes a flow's association the shared one: the peer has gained shared mode.
    func promote(_ index: Int32, now: Instant) {
        guard let key = flows.key(index) else { return }
        let flow = flows[index]
        flows.setKey(index, nil)
        flows.move(index, to: .shared, now: now)
        flows[index].waiting = WaitingQueue()
        flows[index].serial = nextSerial
        nextSerial += 1
        link = index
        let moved = flows.insert(
            key, Flow(serial: flow.serial, member: key.member, beganAt: flow.beganAt),
            in: .flows(of: Int(key.member)), now: now)
        flows[moved].isCarried = true
        carriages.begin(moved)
        flows[moved].localAddress = flow.localAddress
        flows[moved].waiting = flow.waiting
    }

    // MARK: Ends

    private func finish(
        _ index: Int32, _ association: Association<Engine>, _ end: AssociationEnd, now: Instant
    ) {
        account(for: association, index)
        pings.answer(flows.id(index), .ended)
        // Only an association that has lasted ends a row of failures: a server that refuses lets the handshake finish.
        let hasLasted = flows[index].establishedAt.map { now - $0 >= .seconds(10) } ?? false
        if hasLasted { flows[index].failures = 0 }
        if let channel, channel.association === association { unshare() }
        dropSuccessor(index)
        flows[index].association = nil
        flows[index].establishedAt = nil
        let remote = remote(of: index)
        var wait: Duration?
        switch end {
        case .handshakeFailed(let failure):
            members[Int(flows[index].member)].counters.failedHandshakes += 1
            // Nothing is wrong with the peer when the clock was set: again, at once.
            let wait = retry(index, after: failure.reason == .clockStep ? .zero : nil, now: now)
            tell(.handshakeFailed(peer: remote, failure, retryIn: wait), index)
        case .closedByPeer where association.counters.datagramsIn == 0 && !hasLasted:
            // A server without room says goodbye at once; it must not be asked again for each datagram.
            wait = retry(index, now: now)
        case .closedByPeer where index == link && mode != .plain && isLinkWanted:
            wait = retry(index, after: .zero, now: now)
        case .closedByPeer:
            // An orderly end: the next datagram begins anew.
            flows[index].state = .idle
            output.close(flows.id(index))
        case .alert, .exhausted:
            wait = retry(index, after: end == .exhausted ? .zero : nil, now: now)
        case .unanswered:
            // At once, and at the next address if there are several: this one has gone silent.
            flows[index].attempts += 1
            wait = retry(index, after: .zero, now: now)
        case .closed:
            // Refused by this end, and told as that.
            retry(index, now: now)
        }
        switch end {
        case .handshakeFailed, .closed: break
        default: tell(.ended(peer: remote, association.description?.peer, end, retryIn: wait), index)
        }
        // What a peer can do is asked anew with every handshake for all.
        if index == link { mode = .unknown }
    }

    /// Whether the shared association is to be there although nothing waits for it.
    private var isLinkWanted: Bool { connectPolicy == .start || flowCount > 0 }

    @discardableResult
    func retry(_ index: Int32, after fixed: Duration? = nil, now: Instant) -> Duration {
        output.close(flows.id(index))
        flows[index].failures += 1
        let count = max(addresses.all.count, 1)
        // Other addresses are tried at once; only a round in vain makes the wait grow.
        let rounds = Int(flows[index].failures) / count
        let wait =
            fixed
            ?? (Int(flows[index].failures) % count == 0 ? policy.wait(failures: rounds, random: &random) : .zero)
        // Never now itself: what fails at once would be tried again and again without an end.
        retry(index, at: now + max(wait, .milliseconds(1)))
        return wait
    }

    func retry(_ index: Int32, at deadline: Instant) {
        flows[index].state = .waiting
        flows[index].retryAt = deadline
        arm(index, at: deadline)
    }
}
