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

extension ClientGroup where Output: ~Copyable {
    // MARK: Attempts

    /// Makes sure that the flow's link is up, or that an attempt is under way.
    mutating func wakeLink(of flow: Int32, now: Instant) {
        let own = core.flows[flow].link
        if own >= 0, core.links[own].flow == flow {
            if core.links[own].state == .idle { connect(own, now: now) }
        } else if sharing != .never, mode != .dedicated {
            wakeCommon(now: now)
            core.flows[flow].link = common
        } else {
            let link = core.addLink(in: .dedicated, use: .dedicated(flow: flow), now: now)
            bind(flow, to: link)
            connect(link, now: now)
        }
    }

    /// Makes sure that the common link is up, or that an attempt is under way.
    mutating func wakeCommon(now: Instant) {
        if common < 0 { common = core.addLink(in: .common, use: .common, now: now) }
        if core.links[common].state == .idle { connect(common, now: now) }
    }

    /// Makes a link the dedicated link of a flow.
    mutating func bind(_ flow: Int32, to link: Int32) {
        core.flows[flow].link = link
        core.links[link].use = .dedicated(flow: flow)
        core.links[link].member = core.flows[flow].member
    }

    /// Begins an attempt for a link that has nothing under way.
    private mutating func connect(_ link: Int32, now: Instant) {
        guard addresses.isFresh(now) else {
            core.links[link].state = .resolving
            unresolved.append(core.links.id(link))
            if addresses.ask() { output.resolve(0) }
            return
        }
        begin(link, now: now)
    }

    /// Begins an attempt at the next of the known addresses.
    mutating func begin(_ link: Int32, now: Instant) {
        let remote = addresses.all[Int(core.links[link].attempts) % addresses.all.count]
        core.links[link].attempts += 1
        core.links[link].peer = remote
        guard output.open(core.links.id(link), to: remote) else {
            core.tell(.noSocket(remote), link: link)
            retry(link, now: now)
            return
        }
        let seed = core.random.next()
        // If there are other addresses to try, a silent one is given up sooner.
        guard
            var association = core.makeAssociation(
                with: remote, engine: makeEngine, maximumTimeouts: addresses.all.count > 1 ? 3 : 6,
                helloInterval: policy.helloInterval, seed: seed, now: now)
        else {
            retry(link, now: now)
            return
        }
        association.start(now: now)
        core.links[link].keys.begin(association)
        core.links[link].state = .handshaking
        core.attend(link)
    }

    /// Schedules the next attempt after a wait, `fixed` or by the policy; returns the wait.
    @discardableResult
    private mutating func retry(_ link: Int32, after fixed: Duration? = nil, now: Instant) -> Duration {
        output.close(core.links.id(link))
        core.links[link].failures += 1
        let failures = Int(core.links[link].failures)
        let count = max(addresses.all.count, 1)
        // Other addresses are tried at once; only when all have failed does the wait grow.
        let wait =
            fixed ?? (failures % count == 0 ? policy.wait(failures: failures / count, random: &core.random) : .zero)
        // Never at once: what fails at once would be tried again and again without end.
        retry(link, at: now + max(wait, .milliseconds(1)))
        return wait
    }

    /// Schedules the next attempt for `deadline`.
    mutating func retry(_ link: Int32, at deadline: Instant) {
        core.links[link].state = .waiting
        core.links[link].retryAt = deadline
        core.attend(link)
    }

    /// Begins a handshake beside the link's association.
    mutating func rekey(_ link: Int32, now: Instant) -> RekeyOutcome {
        let seed = core.random.next()
        guard core.links[link].state == .established, !core.links[link].keys.hasNext,
            var next = core.makeAssociation(with: core.peer(of: link), engine: makeEngine, seed: seed, now: now)
        else { return .refused }
        next.start(now: now)
        core.links[link].keys.beginNext(next)
        core.attend(link)
        return .begun
    }

    // MARK: What happens to links

    /// Drains the events, and takes each link that has one to its next state.
    mutating func settle(now: Instant) {
        while let event = core.nextEvent(&output, now: now) {
            switch event {
            case .established(let link, let generation, let description):
                establish(link, generation, description, now: now)
            case .ended(let link, .next, let end): endRekeying(link, end)
            case .ended(let link, _, let end): finish(link, end, now: now)
            case .worn(let link): _ = rekey(link, now: now)
            case .retryDue(let link): connect(link, now: now)
            }
        }
    }

    private mutating func establish(
        _ link: Int32, _ generation: KeyGeneration, _ description: AssociationDescription, now: Instant
    ) {
        let (peer, member) = (core.peer(of: link), Int(core.links[link].member))
        let isShared = description.applicationProtocol == SharedFrame.applicationProtocol
        guard core.members[member].settings.access.allows(description.peer) else {
            core.tell(.refused(peer: peer, description.peer, by: .identity), link: link)
            _ = core.links[link].keys.with(generation) { $0.refuse() }
            return
        }
        guard sharing != .always || isShared else {
            core.tell(.cannotShare(peer: peer), link: link)
            _ = core.links[link].keys.with(generation) { $0.close() }
            return
        }
        core.members[member].counters.handshakes += 1
        core.members[member].counters.handshakeTimes.add(description.handshakeDuration)
        if generation == .next { return replaceKeys(of: link, description, isShared: isShared, now: now) }
        core.tell(
            .established(peer: peer, sender: core.links[link].flow.flatMap { core.flows[$0].sender }, description),
            link: link)
        core.links[link].state = .established
        core.links[link].establishedAt = now
        // The address that works is tried first the next time.
        core.links[link].attempts -= 1
        if isShared {
            share(link, now: now)
        } else {
            dedicate(link, now: now)
        }
    }

    /// Uses an association for one flow: the link's, or for the common link the first one that waits.
    private mutating func dedicate(_ link: Int32, now: Instant) {
        var others: [Int32] = []
        if link == common {
            core.tell(.dedicatedMode(peer: core.peer(of: link)), link: link)
            mode = .dedicated
            core.links[link].use = .spare
            let flows = core.flows.living.filter { core.flows[$0].link == link }
            for flow in flows { core.flows[flow].link = -1 }
            others = flows.filter { !core.flows[$0].waiting.isEmpty }
            if !others.isEmpty {
                bind(others.removeFirst(), to: link)
                common = -1
            }
        }
        if let flow = core.links[link].flow {
            // The handshake may have taken most of a short idle timeout.
            core.flows.touch(flow, now: now)
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
        guard (core.links[link].channel != nil) == isShared else {
            // The peer has gained or lost shared mode: everything starts afresh.
            core.endKeys(.next, of: link)
            core.links[link].keys.current?.value.close()
            core.attend(link)
            return
        }
        if isShared { unshare(link) }
        // In shared mode the flow numbers in old records no longer mean anything.
        core.promoteKeys(of: link, keepingOld: !isShared, now: now)
        core.tell(.rekeyed(peer: core.peer(of: link), description), link: link)
        if isShared {
            share(link, now: now)
        } else {
            accept(link, now: now)
        }
    }

    /// A handshake for new keys has failed, or its keys were not accepted; the current ones stay in use.
    private mutating func endRekeying(_ link: Int32, _ end: AssociationEnd) {
        core.endKeys(.next, of: link)
        guard case .handshakeFailed(let failure) = end else { return }
        core.members[Int(core.links[link].member)].counters.failedHandshakes += 1
        core.tell(.handshakeFailed(peer: core.peer(of: link), failure, retryIn: nil), link: link)
    }

    private mutating func finish(_ link: Int32, _ end: AssociationEnd, now: Instant) {
        let identity = core.links[link].keys.description?.peer
        let hasReceived = (core.links[link].keys.current?.value.counters.datagramsIn ?? 0) > 0
        core.pings.answer(core.links.id(link), .ended)
        // Only an association that lasted ends a row of failures: a server that refuses a client lets the handshake
        // finish first.
        let hasLasted = core.links[link].establishedAt.map { now - $0 >= .seconds(10) } ?? false
        if hasLasted { core.links[link].failures = 0 }
        unshare(link)
        core.links[link].keys.endAll(counting: &core.members[Int(core.links[link].member)].counters)
        core.links[link].establishedAt = nil
        if core.links[link].use == .spare { core.links[link].use = .common }
        let wait = followUp(link, end, hasLasted: hasLasted, hasReceived: hasReceived, now: now)
        switch end {
        case .closed:
            // Refused or closed by this end, which has already been told.
            break
        case .handshakeFailed(let failure):
            core.members[Int(core.links[link].member)].counters.failedHandshakes += 1
            core.tell(.handshakeFailed(peer: core.peer(of: link), failure, retryIn: wait), link: link)
        default:
            core.tell(.ended(peer: core.peer(of: link), identity, end, retryIn: wait), link: link)
        }
        // Every handshake of the common link finds out anew what the peer can do.
        if link == common { mode = .unknown }
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
        case .closedByPeer where link == common && mode != .dedicated && isCommonWanted:
            return retry(link, after: .zero, now: now)
        case .closedByPeer:
            // An orderly end: the next datagram begins a new association.
            core.links[link].state = .idle
            output.close(core.links.id(link))
            return nil
        case .exhausted:
            return retry(link, after: .zero, now: now)
        case .unanswered:
            // Try again at once, at the next address if there are several: this one has gone silent.
            core.links[link].attempts += 1
            return retry(link, after: .zero, now: now)
        case .alert, .closed:
            return retry(link, now: now)
        }
    }

    /// Whether the common link should be up even if no datagram waits for it.
    private var isCommonWanted: Bool { connectPolicy == .start || flowCount > 0 }
}
