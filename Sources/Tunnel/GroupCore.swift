// What both ends of a group have: its links and flows, and the one driver for links.
//
// 1. An input (a datagram, a timer, a command) changes a link in place. A link that then has something to send or to
//    tell goes on a list; nothing else happens yet, so nothing calls back.
// 2. At the end of the input the list is drained once (`nextEvent`): what an association has to send is sent, what it has to tell
//    is told or counted, and its timer is armed.
// 3. What client and server decide differently comes out as a `LinkEvent`: an association is up or over, its keys are
//    worn, or a retry is due.
//
// The rest is in GroupCore+Datagrams.swift, GroupCore+Frames.swift (shared mode) and GroupCore+Snapshots.swift (for a
// status).

import ContainersPreview
import DTLS
import Settings
import Wire

/// What has happened to a link and is for the client or the server to decide about.
enum LinkEvent {
    /// The handshake of a generation of keys is done.
    case established(Int32, KeyGeneration, AssociationDescription)
    /// The association of a generation of keys is over.
    case ended(Int32, KeyGeneration, AssociationEnd)
    /// The keys have protected as many records as they should.
    case worn(Int32)
    /// It is time for another attempt.
    case retryDue(Int32)
}

/// A tunnel's part of the group's state.
struct MemberState {
    var settings: GroupMember
    let service: [UInt8]
    /// What its flows have carried, drops that belong to no association, and what was counted by associations that are
    /// over.
    var counters = TunnelCounters()
    var toldLimits: [TunnelLimit: Instant] = [:]

    /// Client: why the peer refuses the service, as last reported; nil once the peer has accepted it.
    var refusal: ServiceRefusal?
    /// Client: until when a peer that has refused the service is not asked again.
    var askAgainAt: Instant?

    /// Server: where the target is.
    var address: Endpoint?
    /// Server: when the target's name was last asked for.
    var askedAt: Instant?

    init(_ settings: GroupMember) {
        self.settings = settings
        service = Array(settings.service.utf8)
    }
}

/// The links and flows of one end of a group on one worker.
struct GroupCore<Engine: HandshakeEngine>: ~Copyable {
    /// Which end it is.
    enum Side {
        /// Each link has an own socket; flows are told apart at the listeners.
        case client
        /// Each flow has an own socket; links are told apart at the listener.
        case server
    }

    let side: Side
    let path: PathSettings
    var members: [MemberState]
    var links: AgedTable<Link<Engine>>
    var flows: AgedTable<Flow>
    var random: SplitMix64
    var notices: [TunnelNotice] = []
    var pings = PingAnswers()

    /// Of links, by their ids; and of queues of ages, for the idle timeout of the oldest in them.
    private var timers = DeadlineQueue<PlaceID>()
    /// By a queue's number: when its timer is armed for.
    private var armedQueues: [Instant?]
    private var dueQueues: [AgeQueue] = []
    private var attention: [PlaceID] = []
    /// How many links and flows there have been: each kind is numbered from 1.
    private var serials = (links: UInt64(0), flows: UInt64(0))

    init(_ members: [GroupMember], side: Side, path: PathSettings, seed: UInt64) {
        precondition(!members.isEmpty, "a group has a tunnel")
        self.side = side
        self.path = path
        self.members = members.map { MemberState($0) }
        links = AgedTable(members: members.count, granularity: members.granularity)
        flows = AgedTable(members: members.count, granularity: members.granularity)
        armedQueues = Array(repeating: nil, count: AgeQueue.count(members: members.count))
        random = SplitMix64(seed: seed)
    }

    // MARK: Links and flows

    /// Adds a link.
    mutating func addLink(in queue: AgeQueue, use: LinkUse, now: Instant) -> Int32 {
        let link = links.insert(in: queue, now: now)
        serials.links += 1
        links[link].serial = serials.links
        links[link].use = use
        return link
    }

    /// Adds a flow of the tunnel number `member`, without a link.
    mutating func addFlow(of member: Int, in queue: AgeQueue, now: Instant) -> Int32 {
        let flow = flows.insert(in: queue, now: now)
        serials.flows += 1
        flows[flow].serial = serials.flows
        flows[flow].member = Int32(truncatingIfNeeded: member)
        flows[flow].beganAt = now
        arm(queue, at: now + timeout(of: queue))
        return flow
    }

    /// The link of this serial.
    func link(ofSerial serial: UInt64) -> Int32? {
        links.living.first { links[$0].serial == serial }
    }

    /// Takes settings that have changed; the members are the same in number and order.
    mutating func update(_ settings: [GroupMember], now: Instant) {
        for (member, settings) in settings.enumerated() where member < members.count {
            members[member].settings = settings
        }
        links.setGranularity(settings.granularity)
        flows.setGranularity(settings.granularity)
        for number in armedQueues.indices {
            let queue = AgeQueue(number: number)
            guard let (_, touchedAt) = oldest(in: queue) else { continue }
            arm(queue, at: touchedAt + timeout(of: queue))
        }
    }

    // MARK: Time

    /// When ``handleTimers(now:)`` has to be called next.
    var deadline: Instant? { timers.earliest }

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

    private func oldest(in queue: AgeQueue) -> (place: Int32, touchedAt: Instant)? {
        if queue.member != nil { return flows.oldest(in: queue) }
        return side == .server && queue == .common ? links.oldest(in: queue) : nil
    }

    private func timeout(of queue: AgeQueue) -> Duration { members[queue.member ?? 0].settings.limits.flowTimeout }

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
    mutating func nextEvent(_ output: inout some DatagramOutput & ~Copyable, now: Instant) -> LinkEvent? {
        while let id = attention.last {
            guard let link = links.place(of: id) else {
                attention.removeLast()
                continue
            }
            if let event = advance(link, id, &output, now: now) { return event }
            attention.removeLast()
            links[link].isListed = false
            if let deadline = links[link].deadline {
                timers.arm(id, at: deadline, armed: &links[link].armed)
            }
        }
        return nil
    }

    private mutating func advance(
        _ link: Int32, _ id: PlaceID, _ output: inout some DatagramOutput & ~Copyable, now: Instant
    ) -> LinkEvent? {
        if links[link].state == .waiting, let retryAt = links[link].retryAt, now >= retryAt {
            links[link].retryAt = nil
            return .retryDue(link)
        }
        for generation in [KeyGeneration.current, .next] {
            _ = links[link].keys.with(generation) { $0.needsAttention = false }
            transmit(generation, of: link, &output)
            while let event = links[link].keys.with(generation, { $0.pollEvent() }) ?? nil {
                if let event = follow(event, generation, link, id) { return event }
            }
        }
        // What came late is answered, too: nobody else would take the answers away.
        links[link].keys.skipOldEvents()
        transmit(.previous, of: link, &output)
        return nil
    }

    private mutating func follow(
        _ event: Association<Engine>.Event, _ generation: KeyGeneration, _ link: Int32, _ id: PlaceID
    ) -> LinkEvent? {
        switch event {
        case .established(let description): return .established(link, generation, description)
        case .ended(let end): return .ended(link, generation, end)
        case .worn: return .worn(link)
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
        _ generation: KeyGeneration, of link: Int32, _ output: inout some DatagramOutput & ~Copyable
    ) {
        while let transmit = links[link].keys.with(generation, { $0.pollTransmit() }) ?? nil {
            let datagram = transmit.datagram
            send(maximum: datagram.count, mayFragment: transmit.mayFragment, at: link, &output) { buffer, _ in
                buffer.write(datagram.bytes, at: 0) ? datagram.count : nil
            }
        }
    }

    /// Ends the associations of a link with a close_notify, and forgets what they have carried.
    mutating func endAssociations(of link: Int32, _ output: inout some DatagramOutput & ~Copyable) {
        pings.answer(links.id(link), .ended)
        for generation in [KeyGeneration.current, .next] {
            _ = links[link].keys.with(generation) { $0.close() }
            transmit(generation, of: link, &output)
        }
        links[link].keys.endAll(counting: &members[Int(links[link].member)].counters)
    }

    /// Makes an association for a handshake with `peer`; nil if there is no engine for it.
    func makeAssociation(
        with peer: Endpoint, engine: (Int) -> Engine?, maximumTimeouts: Int = 6, helloInterval: Duration? = nil,
        seed: UInt64, now: Instant
    ) -> Association<Engine>? {
        guard let engine = engine(peer.datagramSize(linkMTU: 1500)) else { return nil }
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

    // MARK: By hand, and from the system

    /// Sends a heartbeat request; its outcome appears in ``pings`` under the ticket.
    mutating func ping(serial: UInt64, ticket: UInt64, now: Instant) -> PingOutcome {
        guard let link = link(ofSerial: serial) else { return .notFound }
        guard links[link].keys.current?.value.ping(now: now) == true else { return .refused }
        pings.add(ticket, at: links.id(link))
        attend(link)
        return .sent
    }

    /// Counts datagrams that the system did not send.
    mutating func handleSendFailure(_ origin: DatagramOrigin, _ failure: SendFailure, count: Int, now: Instant) {
        let (linkID, flowID): (PlaceID?, PlaceID?) =
            switch (side, origin) {
            case (.client, .own(let id)): (id, nil)
            case (.client, .shared(let id)): (nil, id)
            case (.server, .own(let id)): (nil, id)
            case (.server, .shared(let id)): (id, nil)
            }
        if let link = linkID.flatMap({ links.place(of: $0) }) {
            guard links[link].keys.current != nil else {
                return members[Int(links[link].member)].counters.drops.add(failure.reason, count)
            }
            links[link].keys.current?.value.handleSendFailure(failure, count: count, now: now)
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

    // MARK: Telling

    /// The peer of a link, for messages.
    func peer(of link: Int32) -> Endpoint { links[link].peer ?? Endpoint(address: .anyIPv6, port: 0) }

    /// Tells something about a link, which may concern all tunnels.
    mutating func tell(_ event: TunnelEvent, link: Int32) {
        let isOfOne = members.count == 1 || links[link].flow != nil || (side == .server && !links[link].isCommon)
        let member = isOfOne ? Int(links[link].member) : nil
        notices.append(TunnelNotice(member: member, association: links[link].serial, event))
    }

    /// Tells something about a flow.
    mutating func tell(_ event: TunnelEvent, flow: Int32) {
        let link = flows[flow].link
        let association = link >= 0 ? links[link].serial : nil
        notices.append(TunnelNotice(member: Int(flows[flow].member), association: association, event))
    }

    /// Tells something about a tunnel, or about the group as a whole.
    mutating func tell(_ event: TunnelEvent, member: Int?) {
        notices.append(TunnelNotice(member: member, event))
    }

    /// Tells that a limit has been reached, at most once in ten seconds.
    mutating func tellLimit(_ limit: TunnelLimit, member: Int, evicted: Endpoint?, now: Instant) {
        if let told = members[member].toldLimits[limit], now - told < .seconds(10) { return }
        members[member].toldLimits[limit] = now
        tell(.limit(limit, evicted: evicted), member: member)
    }

    /// Tells that a flow's datagram is too large, at most once a minute.
    mutating func tellOversize(_ byteCount: Int, _ fate: DatagramFate, flow: Int32, now: Instant) {
        guard let local = flows[flow].sender ?? members[Int(flows[flow].member)].address else { return }
        if let told = flows[flow].toldOversizeAt, now - told < .seconds(60) { return }
        flows[flow].toldOversizeAt = now
        tell(.oversize(from: local, byteCount: byteCount, fate), flow: flow)
    }

    /// Counts datagrams of a flow that go no further.
    mutating func countDrop(_ reason: DropReason, _ count: Int = 1, flow: Int32) {
        members[Int(flows[flow].member)].counters.drops.add(reason, count)
        flows[flow].counters.dropped &+= UInt64(truncatingIfNeeded: count)
    }
}
