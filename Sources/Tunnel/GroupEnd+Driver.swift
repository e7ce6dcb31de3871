// The one driver for links: time, the list of those that have something to send or to tell, and how their keys follow
// one another.

import ContainersPreview
import DTLS
import Settings
import Wire

extension GroupEnd where Output: ~Copyable {
    // MARK: Time

    /// Does what is due for associations, and notes which queues of ages ``nextIdle(now:)`` has to look at.
    mutating func handleTimers(now: Instant) {
        while let (id, deadline) = timers.popDue(now) {
            if let queue = AgeQueue(timer: id) {
                guard armedQueues[queue.number] == deadline else { continue }
                armedQueues[queue.number] = nil
                dueQueues.append(queue)
            } else if let link = links.place(of: id), links[link].armed == deadline {
                links[link].armed = nil
                handleTimer(of: link, id, now: now)
            }
        }
    }

    private mutating func handleTimer(of link: Int32, _ id: PlaceID, now: Instant) {
        // Most deadlines have moved meanwhile, because of what the peer has sent.
        if let due = links[link].deadline, now < due {
            timers.arm(id, at: due, armed: &links[link].armed)
            return
        }
        links[link].keys.handleTimeout(now: now)
        if links[link].channel != nil {
            links[link].channel?.value.handleTimeout(now: now)
            countIncomplete(of: link)
        }
        attend(link)
    }

    /// The oldest link or flow in one of the queues that are due, if it has been idle for its timeout. The caller
    /// removes it or touches it, and asks again.
    mutating func nextIdle(now: Instant) -> (queue: AgeQueue, place: Int32)? {
        while let queue = dueQueues.last {
            let timeout = timeout(of: queue)
            if let (place, touchedAt) = oldest(in: queue) {
                if now - touchedAt >= timeout { return (queue, place) }
                arm(queue, at: touchedAt + timeout)
            }
            dueQueues.removeLast()
        }
        return nil
    }

    func oldest(in queue: AgeQueue) -> (place: Int32, touchedAt: Instant)? {
        if queue.member != nil { return flows.oldest(in: queue) }
        return !Side.isClient && queue == .common ? links.oldest(in: queue) : nil
    }

    func timeout(of queue: AgeQueue) -> Duration { members[queue.member ?? 0].settings.limits.flowTimeout }

    /// Sets the timer of a queue of ages to `deadline`, if that is sooner.
    mutating func arm(_ queue: AgeQueue, at deadline: Instant) {
        timers.arm(queue.timer, at: deadline, armed: &armedQueues[queue.number])
    }

    // MARK: The driver for links

    /// Puts a link on the list that is drained when the input ends.
    mutating func attend(_ link: Int32) {
        guard !links[link].isListed else { return }
        links[link].isListed = true
        attention.append(links.id(link))
    }

    /// Puts a link on that list if its associations ask for it.
    @inline(__always)
    mutating func attendIfNeeded(_ link: Int32) {
        if links[link].keys.needsAttention { attend(link) }
    }

    /// Attends to the links on the list until there is something to decide about one of them. To be called until it
    /// returns nil.
    mutating func nextEvent(now: Instant) -> LinkEvent? {
        while let id = attention.last {
            guard let link = links.place(of: id) else {
                attention.removeLast()
                continue
            }
            if let event = advance(link, id, now: now) { return event }
            attention.removeLast()
            links[link].isListed = false
            if let deadline = links[link].deadline {
                timers.arm(id, at: deadline, armed: &links[link].armed)
            }
        }
        return nil
    }

    private mutating func advance(
        _ link: Int32, _ id: PlaceID, now: Instant
    ) -> LinkEvent? {
        if links[link].state == .waiting, let retryAt = links[link].retryAt, now >= retryAt {
            links[link].retryAt = nil
            return .retryDue(link)
        }
        for generation in [KeyGeneration.current, .next] {
            _ = links[link].keys.with(generation) { $0.needsAttention = false }
            transmit(generation, of: link)
            while let event = links[link].keys.with(generation, { $0.pollEvent() }) ?? nil {
                if let event = follow(event, generation, link, id) { return event }
            }
        }
        // What came late is answered, too: nobody else would take the answers away.
        links[link].keys.skipOldEvents()
        transmit(.previous, of: link)
        return nil
    }

    private mutating func follow(
        _ event: Association<Engine>.Event, _ generation: KeyGeneration, _ link: Int32, _ id: PlaceID
    ) -> LinkEvent? {
        switch event {
        case .established(let description): return .established(link, generation, description)
        case .ended(let end): return .ended(link, generation, end)
        case .worn: return .worn(link)
        case .unanswered:
            // Whoever calls a server and does not go on is none of its concern.
            if Side.isClient, generation == .current { tell(.unanswered(peer: peer(of: link)), link: link) }
        case .pathMTUChanged(let pathMTU, let before):
            let maximum = links[link].keys.current?.value.maximumDatagram ?? 0
            tell(.pathMTUChanged(peer: peer(of: link), pathMTU, from: before, maximumDatagram: maximum), link: link)
        case .roundTrip(let duration):
            members[Int(links[link].member)].counters.roundTrips.add(duration)
        case .pinged(let duration):
            pings.answer(id, PingAnswer(duration))
        }
        return nil
    }

    /// Sends what an association has to send besides data.
    mutating func transmit(
        _ generation: KeyGeneration, of link: Int32
    ) {
        while let transmit = links[link].keys.with(generation, { $0.pollTransmit() }) ?? nil {
            let datagram = transmit.datagram
            send(maximum: datagram.count, mayFragment: transmit.mayFragment, at: link) { buffer, _ in
                buffer.write(datagram.bytes, at: 0) ? datagram.count : nil
            }
        }
    }

    /// Ends the associations of a link with a close_notify, and forgets what they have carried.
    mutating func endAssociations(of link: Int32) {
        pings.answer(links.id(link), .ended)
        for generation in [KeyGeneration.current, .next] {
            _ = links[link].keys.with(generation) { $0.close() }
            transmit(generation, of: link)
        }
        links[link].keys.endAll(counting: &members[Int(links[link].member)].counters)
    }

    /// Makes an association for a handshake with `peer`; nil if there is no engine for it.
    mutating func makeAssociation(
        with peer: Endpoint, maximumTimeouts: Int = 6, helloInterval: Duration? = nil, now: Instant
    ) -> Association<Engine>? {
        let seed = random.next()
        guard let engine = makeEngine(peer.datagramSize(linkMTU: 1500)) else { return nil }
        return Association(
            engine: engine, path: path, headers: peer.headerSize, seed: seed, maximumTimeouts: maximumTimeouts,
            helloInterval: helloInterval, now: now)
    }

    /// Puts the next keys in the place of the current ones. With `keepingOld` these are kept for records that arrive
    /// late.
    mutating func promoteKeys(of link: Int32, keepingOld: Bool, now: Instant) {
        links[link].keys.promote(
            keepingOld: keepingOld, now: now, counting: &members[Int(links[link].member)].counters)
        links[link].establishedAt = now
        links[link].rekeys += 1
        // Whoever waits for a ping of the replaced association gets the answer from its successor.
        let id = links.id(link)
        guard pings.wait(for: id) else { return }
        if links[link].keys.current?.value.ping(now: now) != true { pings.answer(id, .lost) }
        attend(link)
    }

    /// Ends a generation of a link's keys, and keeps what its association has counted.
    mutating func endKeys(_ generation: KeyGeneration, of link: Int32) {
        links[link].keys.end(generation, counting: &members[Int(links[link].member)].counters)
    }

    // MARK: From the system

    /// Counts datagrams that the system did not send.
    mutating func countFailure(_ origin: DatagramOrigin, _ failure: SendFailure, count: Int, now: Instant) {
        let (linkID, flowID): (PlaceID?, PlaceID?) =
            switch (Side.isClient, origin) {
            case (true, .own(let id)): (id, nil)
            case (true, .shared(let id)): (nil, id)
            case (false, .own(let id)): (nil, id)
            case (false, .shared(let id)): (id, nil)
            }
        if let link = linkID.flatMap({ links.place(of: $0) }) {
            guard links[link].keys.current != nil else {
                return members[Int(links[link].member)].counters.drops.add(failure.reason, count)
            }
            links[link].keys.current?.value.handleSendFailure(failure, count: count, now: now)
            // A client's socket is bound to one address, and a new one is opened with the next attempt.
            if Side.isClient, failure == .noAddress { links[link].keys.current?.value.loseAddress() }
            attendIfNeeded(link)
        } else if let flow = flowID.flatMap({ flows.place(of: $0) }) {
            countDrop(failure.reason, count, flow: flow)
        } else {
            members[0].counters.drops.add(failure.reason, count)
        }
    }

    /// Takes the word of ICMP that no packet of more than `size` bytes reaches the link's peer.
    mutating func handlePathHint(_ size: Int, link: Int32, now: Instant) {
        links[link].keys.current?.value.handlePathHint(size, now: now)
        attendIfNeeded(link)
    }
}
