// Shared mode at a client's end: one link, the common one, carries the flows of all tunnels.
//
// A datagram of a flow:
//   1. waits while the link is not up, or while earlier ones of its flow wait for their turn;
//   2. is framed under the flow's number, asking for the service until the peer has answered, and sealed;
//   3. under pressure, when datagrams come faster than they can be sent, joins its flow's queue; the flows take turns.
//      A record from the peer says which flow its datagram is for, or that a flow is open or over.

import ContainersPreview
public import DTLS
import Wire

extension ClientGroup where Output: ~Copyable {
    // MARK: The channel

    /// Makes an established link carry every flow that has no dedicated link with an association.
    mutating func share(_ link: Int32, now: Instant) {
        if link != common, common >= 0, core.links[common].channel != nil {
            // Another link's handshake was quicker; this one's flow joins that one.
            let flow = core.links[link].flow
            core.links[link].use = .dedicated(flow: -1)
            remove(link: link)
            if let flow {
                core.flows[flow].link = -1
                join(flow, now: now)
            }
            return
        }
        if link != common {
            let flow = core.links[link].flow
            // The common link that is not established, or is a spare one, is no longer needed.
            if common >= 0 {
                for flow in core.flows.living where core.flows[flow].link == common { core.flows[flow].link = -1 }
                remove(link: common)
            }
            core.links[link].use = .common
            core.links[link].member = 0
            core.links.move(link, to: .common, now: now)
            common = link
            if let flow { core.flows[flow].link = -1 }
        }
        mode = .shared
        core.links[link].use = .common
        core.links[link].channel = UniqueBox(Channel())
        core.links[link].failures = 0
        for member in core.members.indices { core.members[member].askAgainAt = nil }
        accept(link, now: now)
        for flow in core.flows.living { join(flow, now: now) }
    }

    /// Makes a flow use the channel, unless its dedicated link has an association.
    private mutating func join(_ flow: Int32, now: Instant) {
        let own = core.flows[flow].link
        if own >= 0, own != common, core.links[own].flow == flow {
            guard core.links[own].keys.current == nil else { return }
            core.links[own].use = .dedicated(flow: -1)
            remove(link: own)
        }
        core.flows[flow].link = common
        sendWaiting(of: flow, now: now)
    }

    /// To be called when a link's association is over or replaced; its flows live on and wait for the next one.
    mutating func unshare(_ link: Int32) {
        guard core.links[link].channel != nil else { return }
        core.discardPieces(of: link)
        core.links[link].channel = nil
        for flow in core.flows.living where core.flows[flow].link == link {
            let dropped = backlog.remove(flow)
            if dropped > 0 { core.countDrop(.closed, dropped, flow: flow) }
            core.flows[flow].number = 0
            core.flows[flow].isOpen = false
        }
    }

    /// Takes a flow out of the channel, and tells the peer unless `now` is nil.
    mutating func leaveChannel(_ flow: Int32, telling now: Instant?) {
        let dropped = backlog.remove(flow)
        if dropped > 0 { core.countDrop(.closed, dropped, flow: flow) }
        let (link, number) = (core.flows[flow].link, core.flows[flow].number)
        guard link >= 0, number != 0 else { return }
        core.forget(number, at: link)
        guard let now else { return }
        core.sendClose(number, .done, isAnswer: false, at: link, &output, now: now)
    }

    // MARK: To the peer

    /// Sends a datagram through the channel, or makes it wait for its flow's turn.
    mutating func carry(_ datagram: borrowing RawSpan, of flow: Int32, now: Instant) {
        let member = Int(core.flows[flow].member)
        if let askAgainAt = core.members[member].askAgainAt {
            guard now >= askAgainAt else { return core.countDrop(.service, flow: flow) }
            core.members[member].askAgainAt = nil
        }
        arrivals += 1
        if isPressed && hasOtherFlows || !backlog.isEmpty && backlog.holds(flow) {
            let dropped = backlog.append(datagram, of: flow)
            if dropped > 0 { core.countDrop(.queueFull, dropped, flow: flow) }
            return
        }
        sendThroughChannel(datagram, of: flow, now: now)
    }

    private var hasOtherFlows: Bool { common >= 0 && core.links[common].channel.read { $0.value.flowCount } ?? 0 > 1 }

    private mutating func sendThroughChannel(_ datagram: borrowing RawSpan, of flow: Int32, now: Instant) {
        let link = core.flows[flow].link
        guard link >= 0, core.links[link].keys.isEstablished else { return core.countDrop(.closed, flow: flow) }
        if core.flows[flow].number == 0 {
            core.flows[flow].number = core.links[link].channel?.value.open(at: flow) ?? 0
        }
        if core.flows[flow].isOpen {
            core.sendShared(datagram, of: flow, opening: nil, &output, now: now)
        } else {
            let service = core.members[Int(core.flows[flow].member)].service
            core.sendShared(datagram, of: flow, opening: service, &output, now: now)
        }
    }

    /// Notes whether more datagrams wait at a listener than were read in one go.
    public mutating func setPressure(_ isPressed: Bool) { self.isPressed = isPressed }

    /// Lets the flows take turns after each batch of datagrams. All that wait are sent, but under pressure only half as
    /// many as have come, so that reading stays ahead of sending, and the excess is dropped here, where it is known
    /// whose it is, and not in the kernel.
    public mutating func finishBatch(now: Instant) {
        defer { arrivals = 0 }
        guard !backlog.isEmpty else { return }
        var budget = isPressed ? max(arrivals / 2, Self.minimumTurns) : .max
        while budget > 0, let (flow, datagram) = backlog.next() {
            budget -= 1
            sendThroughChannel(datagram.bytes, of: flow, now: now)
        }
        settle(now: now)
    }

    private static var minimumTurns: Int { 16 }

    // MARK: From the peer

    /// Takes one record for the channel.
    mutating func takeFrame(_ record: borrowing RawSpan, at link: Int32, now: Instant) {
        switch SharedFrame(record) {
        case .datagram(let number, let payload):
            guard let flow = core.flow(ofNumber: number, at: link, &output, now: now) else { return }
            confirm(flow)
            core.takeDatagram(payload, of: flow, in: record, at: link, &output, now: now)
        case .fragment(let number, let fragment):
            guard let flow = core.flow(ofNumber: number, at: link, &output, now: now) else { return }
            confirm(flow)
            core.takeFragment(fragment, of: flow, in: record, at: link, &output, now: now)
        case .opened(let number):
            guard let flow = core.flow(ofNumber: number, at: link, &output, now: now) else { return }
            core.countControl(record, at: link, flow: flow)
            confirm(flow)
        case .close(let number, let reason):
            core.countControl(record, at: link)
            closed(number, reason, at: link, now: now)
        case .open, .openFragment, .unknown, nil:
            // A server opens no flows.
            core.links[link].keys.drop(.frame)
        }
    }

    /// Notes that the peer knows the flow.
    private mutating func confirm(_ flow: Int32) {
        guard !core.flows[flow].isOpen else { return }
        core.flows[flow].isOpen = true
        let member = Int(core.flows[flow].member)
        guard core.members[member].refusal != nil else { return }
        core.members[member].refusal = nil
        core.tell(.serviceAccepted(core.members[member].settings.service), flow: flow)
    }

    private mutating func closed(_ number: UInt64, _ reason: CloseReason, at link: Int32, now: Instant) {
        guard let flow = core.links[link].channel?.value.place(of: number) ?? nil else { return }
        core.forget(number, at: link)
        // Its next datagram gets a new number: the old one may still be under way.
        core.flows[flow].number = 0
        core.flows[flow].isOpen = false
        if [.done, .unknownFlow, .shuttingDown].contains(reason) { return }
        let member = Int(core.flows[flow].member)
        core.members[member].askAgainAt = now + Self.refusalPause
        guard core.members[member].refusal?.reason != reason else { return }
        core.members[member].refusal = ServiceRefusal(reason: reason, since: now)
        core.tell(.serviceRefused(core.members[member].settings.service, reason), flow: flow)
    }

    /// How long a service that the peer refuses is not asked for again.
    private static var refusalPause: Duration { .seconds(1) }

    // MARK: Snapshots

    /// What this member has carried and dropped in all. Drops of an association that tunnels share count for the first
    /// of them.
    public func counters(of member: Int = 0) -> TunnelCounters { core.tallies()[member].counters }

    /// What each tunnel has done in all, and what state it is in.
    public func tallies() -> [MemberTally] { core.tallies() }

    /// A page of associations, those not yet established included, and how many there are in all.
    public func snapshots(_ page: SnapshotPage = SnapshotPage()) -> (page: [AssociationSnapshot], total: Int) {
        core.snapshots(page)
    }

    /// A page of flows, and how many there are in all.
    public func flowSnapshots(_ page: SnapshotPage = SnapshotPage()) -> (page: [FlowSnapshot], total: Int) {
        core.flowSnapshots(page)
    }
}
