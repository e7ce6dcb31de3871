// One end of a group of tunnels: its links and flows, and what client and server do alike.
//
// 1. An input (a datagram, a timer, a command) changes a link in place. A link that then has something to send or to
//    tell goes on a list; nothing else happens yet, so nothing calls back.
// 2. At the end of the input (`settle`) the list is drained once: what an association has to send is sent, what it has
//    to tell is told or counted, and its timer is armed (GroupEnd+Driver.swift).
// 3. What client and server decide differently goes to the side as a `LinkEvent`: an association is up or over, its keys
//    are worn, or a retry is due (ClientGroup.swift, ServerGroup.swift).
//
// The rest is in GroupEnd+Datagrams.swift, GroupEnd+Frames.swift (shared mode) and GroupEnd+Snapshots.swift (for
// a status).

import ContainersPreview
public import DTLS
public import Settings
public import Wire

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
    /// Why it does not work; nil once it does.
    var problem: TunnelProblem?

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

/// What client and server do differently, and what only one of them keeps.
public protocol GroupSide {
    /// Whether it is the client: then each link has an own socket, and flows are told apart at the listeners. At a
    /// server each flow has an own socket, and links are told apart at the listener.
    static var isClient: Bool { get }
    /// Whether datagrams wait for their turn to be sent.
    var hasBacklog: Bool { get }
    /// Drains the list of links that have something to send or to tell, and takes each to its next state.
    static func settle<Engine, Output: ~Copyable>(_ group: inout GroupEnd<Engine, Self, Output>, now: Instant)
    /// Ends what has been idle for its timeout.
    static func endIdle<Engine, Output: ~Copyable>(of group: inout GroupEnd<Engine, Self, Output>, now: Instant)
    /// Takes one record of a link's channel.
    static func takeFrame<Engine, Output: ~Copyable>(
        _ record: borrowing RawSpan, at link: Int32, of group: inout GroupEnd<Engine, Self, Output>, now: Instant)
    /// Sends what has waited for the end of a batch of datagrams.
    static func finishBatch<Engine, Output: ~Copyable>(of group: inout GroupEnd<Engine, Self, Output>, now: Instant)
}

/// One end of a group of tunnels on one worker. It has no socket and no clock: its owner brings datagrams and time, and
/// does what ``DatagramOutput`` and the events say.
public struct GroupEnd<Engine: HandshakeEngine, Side: GroupSide, Output: DatagramOutput & ~Copyable>: ~Copyable {
    /// Where its datagrams go.
    public var output: Output
    /// What only this side keeps.
    var side: Side
    let path: PathSettings
    let sharing: SharingPolicy
    let makeEngine: (Int) -> Engine?
    var members: [MemberState]
    var links: AgedTable<Link<Engine>>
    var flows: AgedTable<Flow>
    var random: SplitMix64
    var notices: [TunnelNotice] = []
    /// How many of them ``noteProblems(now:)`` has looked at.
    var noted = 0
    var pings = PingAnswers()
    /// Whether nothing new is accepted any more.
    private(set) var isDraining = false

    /// Of links, by their ids; and of queues of ages, for the idle timeout of the oldest in them.
    var timers = DeadlineQueue<PlaceID>()
    /// By a queue's number: when its timer is armed for.
    var armedQueues: [Instant?]
    var dueQueues: [AgeQueue] = []
    /// Links that have something to send or to tell.
    var attention: [PlaceID] = []
    /// How many links and flows there have been: each kind is numbered from 1.
    private var serials = (links: UInt64(0), flows: UInt64(0))

    init(
        _ members: [GroupMember], side: Side, path: PathSettings, sharing: SharingPolicy, output: consuming Output,
        seed: UInt64, makeEngine: @escaping (Int) -> Engine?
    ) {
        precondition(!members.isEmpty, "a group has a tunnel")
        self.output = output
        self.side = side
        self.path = path
        self.sharing = sharing
        self.makeEngine = makeEngine
        self.members = members.map { MemberState($0) }
        links = AgedTable(members: members.count, granularity: members.granularity)
        flows = AgedTable(members: members.count, granularity: members.granularity)
        armedQueues = Array(repeating: nil, count: AgeQueue.count(members: members.count))
        random = SplitMix64(seed: seed)
    }

    // MARK: Input

    /// Counts datagrams that the system did not send.
    public mutating func handleSendFailure(
        _ origin: DatagramOrigin, _ failure: SendFailure, count: Int, now: Instant
    ) {
        countFailure(origin, failure, count: count, now: now)
        settle(now: now)
    }

    /// Counts datagrams that came cut short, from the peer or from programs of the tunnel number `member`.
    public mutating func countTruncated(_ count: Int, fromPeer: Bool, member: Int = 0) {
        members[member].counters.countTruncated(count, fromPeer: fromPeer)
    }

    /// Does what is due at ``deadline``.
    public mutating func handleTimeout(now: Instant) {
        handleTimers(now: now)
        Side.endIdle(of: &self, now: now)
        finishBatch(now: now)
        settle(now: now)
    }

    /// Sends what has waited for the end of a batch of datagrams.
    public mutating func finishBatch(now: Instant) { Side.finishBatch(of: &self, now: now) }

    /// To be called at the end of every input.
    mutating func settle(now: Instant) {
        Side.settle(&self, now: now)
        noteProblems(now: now)
    }

    // MARK: By hand

    /// Accepts no new associations and flows from now on.
    public mutating func drain() { isDraining = true }

    /// Whether there is an association with this serial.
    public func has(serial: UInt64) -> Bool { link(ofSerial: serial) != nil }

    /// Sends a heartbeat request; its outcome is among the ping answers, under the ticket.
    public mutating func ping(serial: UInt64, ticket: UInt64, now: Instant) -> PingOutcome {
        guard let link = link(ofSerial: serial) else { return .notFound }
        guard links[link].keys.current?.value.ping(now: now) == true else { return .refused }
        pings.add(ticket, at: links.id(link))
        attend(link)
        settle(now: now)
        return .sent
    }

    // MARK: Output

    /// When ``handleTimeout(now:)`` has to be called next.
    public var deadline: Instant? {
        // Datagrams that wait for their turn are sent as soon as the ready sockets have been read.
        side.hasBacklog ? Instant(nanoseconds: 0) : timers.earliest
    }

    /// Everything to tell since the last call, in order.
    public mutating func takeEvents() -> [TunnelNotice] {
        guard !notices.isEmpty else { return [] }
        defer { (notices, noted) = ([], 0) }
        return notices
    }

    /// The outcomes of pings since the last call.
    public mutating func takePingAnswers() -> [(ticket: UInt64, answer: PingAnswer)] { pings.takeAll() }

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
    mutating func take(_ settings: [GroupMember], now: Instant) {
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

    // MARK: Telling

    /// The peer of a link, for messages.
    func peer(of link: Int32) -> Endpoint { links[link].peer ?? Endpoint(address: .anyIPv6, port: 0) }

    /// Tells something about a link, which may concern all tunnels.
    mutating func tell(_ event: TunnelEvent, link: Int32) {
        let isOfOne = members.count == 1 || links[link].flow != nil || (!Side.isClient && !links[link].isCommon)
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
