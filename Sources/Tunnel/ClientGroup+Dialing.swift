// How a client gets its associations, and what it does when they end.
//
// A group with sharing has a common link, from its start or its first datagram on:
//   1. if the peer has shared mode, it carries every flow (ClientGroup+Sharing.swift);
//   2. if not, it is for the first flow that comes, and each later one gets a dedicated link. A peer that gains or
//      loses shared mode is followed with the next handshake, because each one asks for it.

import ContainersPreview
import DTLS
import Settings
import Wire

extension GroupEnd where Side == ClientSide, Output: ~Copyable {
    // MARK: Attempts

    /// Makes sure that the flow's link is up, or that an attempt is under way.
    mutating func wakeLink(of flow: Int32, now: Instant) {
        let own = flows[flow].link
        if own >= 0, links[own].flow == flow {
            if links[own].state == .idle { connect(own, now: now) }
        } else if sharing != .never, side.mode == .unknown, side.asks, side.common < 0 {
            if side.question == .none { side.question = .wanted }
        } else if sharing != .never, side.mode != .dedicated {
            wakeCommon(now: now)
            flows[flow].link = side.common
        } else {
            let link = addLink(in: .dedicated, use: .dedicated(flow: flow), now: now)
            bind(flow, to: link)
            connect(link, now: now)
        }
    }

    /// Makes sure that the common link is up, or that an attempt is under way.
    mutating func wakeCommon(now: Instant) {
        if side.common < 0 { side.common = addLink(in: .common, use: .common, now: now) }
        if links[side.common].state == .idle { connect(side.common, now: now) }
    }

    /// Makes a link the dedicated link of a flow.
    mutating func bind(_ flow: Int32, to link: Int32) {
        flows[flow].link = link
        links[link].use = .dedicated(flow: flow)
        links[link].member = flows[flow].member
    }

    /// Begins an attempt for a link that has nothing under way.
    private mutating func connect(_ link: Int32, now: Instant) {
        guard side.addresses.isFresh(now) else {
            links[link].state = .resolving
            side.unresolved.append(links.id(link))
            if side.addresses.ask() { output.resolve(0) }
            return
        }
        begin(link, now: now)
    }

    /// Begins an attempt at the next of the known addresses.
    mutating func begin(_ link: Int32, now: Instant) {
        let remote = side.addresses.all[Int(links[link].attempts) % side.addresses.all.count]
        links[link].attempts += 1
        links[link].peer = remote
        guard output.open(links.id(link), to: remote) else {
            tell(.noSocket(remote), link: link)
            retry(link, now: now)
            return
        }
        // If there are other addresses to try, a silent one is given up sooner.
        guard
            var association = makeAssociation(
                with: remote, maximumTimeouts: side.addresses.all.count > 1 ? 3 : 6,
                helloInterval: side.policy.helloInterval, now: now)
        else {
            retry(link, now: now)
            return
        }
        association.start(now: now)
        links[link].keys.begin(association)
        links[link].state = .handshaking
        attend(link)
    }

    /// Schedules the next attempt after a wait, `fixed` or by the policy; returns the wait.
    @discardableResult
    private mutating func retry(_ link: Int32, after fixed: Duration? = nil, now: Instant) -> Duration {
        output.close(links.id(link))
        links[link].failures += 1
        let failures = Int(links[link].failures)
        let count = max(side.addresses.all.count, 1)
        // Other addresses are tried at once; only when all have failed does the wait grow.
        let wait =
            fixed ?? (failures % count == 0 ? side.policy.wait(failures: failures / count, random: &random) : .zero)
        // Never at once: what fails at once would be tried again and again without end.
        retry(link, at: now + max(wait, .milliseconds(1)))
        return wait
    }

    /// Schedules the next attempt for `deadline`.
    mutating func retry(_ link: Int32, at deadline: Instant) {
        links[link].state = .waiting
        links[link].retryAt = deadline
        attend(link)
    }

    /// Begins a handshake beside the link's association.
    mutating func rekey(_ link: Int32, now: Instant) -> RekeyOutcome {
        guard links[link].state == .established, !links[link].keys.hasNext,
            var next = makeAssociation(with: peer(of: link), now: now)
        else { return .refused }
        next.start(now: now)
        links[link].keys.beginNext(next)
        attend(link)
        return .begun
    }

    // MARK: What happens to links

    /// Takes a link to its next state.
    mutating func follow(_ event: LinkEvent, now: Instant) {
        switch event {
        case .established(let link, let generation, let description):
            establish(link, generation, description, now: now)
        case .ended(let link, .next, let end): endRekeying(link, end)
        case .ended(let link, _, let end): finish(link, end, now: now)
        case .worn(let link): _ = rekey(link, now: now)
        case .retryDue(let link): connect(link, now: now)
        }
    }

    private mutating func establish(
        _ link: Int32, _ generation: KeyGeneration, _ description: AssociationDescription, now: Instant
    ) {
        let (peer, member) = (peer(of: link), Int(links[link].member))
        let isShared = description.applicationProtocol == SharedFrame.applicationProtocol
        guard members[member].settings.access.allows(description.peer) else {
            tell(.refused(peer: peer, description.peer, by: .identity), link: link)
            _ = links[link].keys.with(generation) { $0.refuse() }
            return
        }
        guard sharing != .always || isShared else {
            tell(.cannotShare(peer: peer), link: link)
            _ = links[link].keys.with(generation) { $0.close() }
            return
        }
        members[member].counters.handshakes += 1
        members[member].counters.handshakeTimes.add(description.handshakeDuration)
        if generation == .next { return replaceKeys(of: link, description, isShared: isShared, now: now) }
        tell(
            .established(peer: peer, sender: links[link].flow.flatMap { flows[$0].sender }, description),
            link: link)
        links[link].state = .established
        links[link].establishedAt = now
        // The address that works is tried first the next time.
        links[link].attempts -= 1
        if isShared {
            share(link, now: now)
        } else {
            dedicate(link, now: now)
        }
    }

    /// Uses an association for one flow: the link's, or for the common link the first one that waits.
    private mutating func dedicate(_ link: Int32, now: Instant) {
        var others: [Int32] = []
        if link == side.common {
            tell(.dedicatedMode(peer: peer(of: link)), link: link)
            side.mode = .dedicated
            links[link].use = .spare
            let waiting = flows.living.filter { flows[$0].link == link }
            for flow in waiting { flows[flow].link = -1 }
            others = waiting.filter { !flows[$0].waiting.isEmpty }
            if !others.isEmpty {
                bind(others.removeFirst(), to: link)
                side.common = -1
            }
        }
        if let flow = links[link].flow {
            // The handshake may have taken most of a short idle timeout.
            flows.touch(flow, now: now)
            sendWaiting(of: flow, now: now)
        }
        accept(link, now: now)
        for flow in others { wakeLink(of: flow, now: now) }
    }

    /// Puts new keys in the place of the current ones. The peer does the same, and sends no close_notify for the old
    /// ones.
    private mutating func replaceKeys(
        of link: Int32, _ description: AssociationDescription, isShared: Bool, now: Instant
    ) {
        guard (links[link].channel != nil) == isShared else {
            // The peer has gained or lost shared mode: everything starts afresh.
            endKeys(.next, of: link)
            links[link].keys.current?.value.close()
            attend(link)
            return
        }
        if isShared { unshare(link) }
        // In shared mode the flow numbers in old records no longer mean anything.
        promoteKeys(of: link, keepingOld: !isShared, now: now)
        tell(.rekeyed(peer: peer(of: link), description), link: link)
        if isShared {
            share(link, now: now)
        } else {
            accept(link, now: now)
        }
    }

    /// A handshake for new keys has failed, or its keys were not accepted; the current ones stay in use.
    private mutating func endRekeying(_ link: Int32, _ end: AssociationEnd) {
        endKeys(.next, of: link)
        guard case .handshakeFailed(let failure) = end else { return }
        members[Int(links[link].member)].counters.failedHandshakes += 1
        tell(.handshakeFailed(peer: peer(of: link), failure, retryIn: nil), link: link)
    }

    private mutating func finish(_ link: Int32, _ end: AssociationEnd, now: Instant) {
        let identity = links[link].keys.description?.peer
        let hasReceived = (links[link].keys.current?.value.counters.datagramsIn ?? 0) > 0
        pings.answer(links.id(link), .ended)
        // Only an association that lasted ends a row of failures: a server that refuses a client lets the handshake
        // finish first.
        let hasLasted = links[link].establishedAt.map { now - $0 >= .seconds(10) } ?? false
        if hasLasted { links[link].failures = 0 }
        unshare(link)
        links[link].keys.endAll(counting: &members[Int(links[link].member)].counters)
        links[link].establishedAt = nil
        if links[link].use == .spare { links[link].use = .common }
        let wait = followUp(link, end, hasLasted: hasLasted, hasReceived: hasReceived, now: now)
        switch end {
        case .closed:
            // Refused or closed by this end, which has already been told.
            break
        case .handshakeFailed(let failure):
            members[Int(links[link].member)].counters.failedHandshakes += 1
            tell(.handshakeFailed(peer: peer(of: link), failure, retryIn: wait), link: link)
        default:
            tell(.ended(peer: peer(of: link), identity, end, retryIn: wait), link: link)
        }
        // Every handshake of the common link finds out anew what the peer can do.
        if link == side.common { side.mode = .unknown }
    }

    /// Decides what follows an association's end; returns the wait until the next attempt, nil if none is scheduled.
    private mutating func followUp(
        _ link: Int32, _ end: AssociationEnd, hasLasted: Bool, hasReceived: Bool, now: Instant
    ) -> Duration? {
        switch end {
        case .handshakeFailed(let failure):
            // If the clock was set, nothing is wrong with the peer: try again at once.
            return retry(link, after: failure.reason == .clockStep ? .zero : nil, now: now)
        case .closedByPeer where !hasReceived && !hasLasted:
            // A server without room closes at once; it must not be asked again for each datagram.
            return retry(link, now: now)
        case .closedByPeer where link == side.common && side.mode != .dedicated && isCommonWanted:
            return retry(link, after: .zero, now: now)
        case .closedByPeer:
            // An orderly end: the next datagram begins a new association.
            links[link].state = .idle
            output.close(links.id(link))
            return nil
        case .exhausted, .noAddress:
            return retry(link, after: .zero, now: now)
        case .unanswered:
            // Try again at once, at the next address if there are several: this one has gone silent.
            links[link].attempts += 1
            return retry(link, after: .zero, now: now)
        case .alert, .closed, .replaced:
            return retry(link, now: now)
        }
    }

    /// Whether the common link should be up even if no datagram waits for it.
    private var isCommonWanted: Bool { side.connectPolicy == .start || flowCount > 0 }
}
