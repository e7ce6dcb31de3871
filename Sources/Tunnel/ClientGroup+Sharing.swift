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

extension GroupEnd where Side == ClientSide, Output: ~Copyable {
    // MARK: The channel

    /// Makes an established link carry every flow that has no dedicated link with an association.
    mutating func share(_ link: Int32, now: Instant) {
        if link != side.common, side.common >= 0, links[side.common].channel != nil {
            // Another link's handshake was quicker; this one's flow joins that one.
            let flow = links[link].flow
            links[link].use = .dedicated(flow: -1)
            remove(link: link)
            if let flow {
                flows[flow].link = -1
                join(flow, now: now)
            }
            return
        }
        if link != side.common {
            let flow = links[link].flow
            // The common link that is not established, or is a spare one, is no longer needed.
            if side.common >= 0 {
                for flow in flows.living where flows[flow].link == side.common { flows[flow].link = -1 }
                remove(link: side.common)
            }
            links[link].use = .common
            links[link].member = 0
            links.move(link, to: .common, now: now)
            side.common = link
            if let flow { flows[flow].link = -1 }
        }
        side.mode = .shared
        links[link].use = .common
        links[link].channel = UniqueBox(Channel())
        links[link].failures = 0
        for member in members.indices { members[member].askAgainAt = nil }
        accept(link, now: now)
        for flow in flows.living { join(flow, now: now) }
    }

    /// Makes a flow use the channel, unless its dedicated link has an association.
    private mutating func join(_ flow: Int32, now: Instant) {
        let own = flows[flow].link
        if own >= 0, own != side.common, links[own].flow == flow {
            guard links[own].keys.current == nil else { return }
            links[own].use = .dedicated(flow: -1)
            remove(link: own)
        }
        flows[flow].link = side.common
        sendWaiting(of: flow, now: now)
    }

    /// To be called when a link's association is over or replaced; its flows live on and wait for the next one.
    mutating func unshare(_ link: Int32) {
        guard links[link].channel != nil else { return }
        discardPieces(of: link)
        links[link].channel = nil
        for flow in flows.living where flows[flow].link == link {
            let dropped = side.backlog.remove(flow)
            if dropped > 0 { countDrop(.closed, dropped, flow: flow) }
            flows[flow].number = 0
            flows[flow].isOpen = false
        }
    }

    /// Takes a flow out of the channel, and tells the peer unless `now` is nil.
    mutating func leaveChannel(_ flow: Int32, telling now: Instant?) {
        let dropped = side.backlog.remove(flow)
        if dropped > 0 { countDrop(.closed, dropped, flow: flow) }
        let (link, number) = (flows[flow].link, flows[flow].number)
        guard link >= 0, number != 0 else { return }
        forget(number, at: link)
        guard let now else { return }
        sendClose(number, .done, isAnswer: false, at: link, now: now)
    }

    // MARK: To the peer

    /// Sends a datagram through the channel, or makes it wait for its flow's turn.
    mutating func carry(_ datagram: borrowing RawSpan, of flow: Int32, now: Instant) {
        let member = Int(flows[flow].member)
        if let askAgainAt = members[member].askAgainAt {
            guard now >= askAgainAt else { return countDrop(.service, flow: flow) }
            members[member].askAgainAt = nil
        }
        side.arrivals += 1
        if side.isPressed && hasOtherFlows || !side.backlog.isEmpty && side.backlog.holds(flow) {
            let dropped = side.backlog.append(datagram, of: flow)
            if dropped > 0 { countDrop(.queueFull, dropped, flow: flow) }
            return
        }
        sendThroughChannel(datagram, of: flow, now: now)
    }

    private var hasOtherFlows: Bool {
        side.common >= 0 && links[side.common].channel.read { $0.value.flowCount } ?? 0 > 1
    }

    private mutating func sendThroughChannel(_ datagram: borrowing RawSpan, of flow: Int32, now: Instant) {
        let link = flows[flow].link
        guard link >= 0, links[link].keys.isEstablished else { return countDrop(.closed, flow: flow) }
        if flows[flow].number == 0 {
            flows[flow].number = links[link].channel?.value.open(at: flow) ?? 0
        }
        if flows[flow].isOpen {
            sendShared(datagram, of: flow, opening: nil, now: now)
        } else {
            let service = members[Int(flows[flow].member)].service
            sendShared(datagram, of: flow, opening: service, now: now)
        }
    }

    /// Notes whether more datagrams wait at a listener than were read in one go.
    public mutating func setPressure(_ isPressed: Bool) { side.isPressed = isPressed }

    /// Lets the flows take turns after each batch of datagrams. All that wait are sent, but under pressure only half as
    /// many as have come, so that reading stays ahead of sending, and the excess is dropped here, where it is known
    /// whose it is, and not in the kernel.
    mutating func serveBacklog(now: Instant) {
        defer { side.arrivals = 0 }
        guard !side.backlog.isEmpty else { return }
        var budget = side.isPressed ? max(side.arrivals / 2, Self.minimumTurns) : .max
        while budget > 0, let (flow, datagram) = side.backlog.next() {
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
            guard let flow = flow(ofNumber: number, at: link, now: now) else { return }
            confirm(flow)
            takeDatagram(payload, of: flow, in: record, at: link, now: now)
        case .fragment(let number, let fragment):
            guard let flow = flow(ofNumber: number, at: link, now: now) else { return }
            confirm(flow)
            takeFragment(fragment, of: flow, in: record, at: link, now: now)
        case .opened(let number):
            guard let flow = flow(ofNumber: number, at: link, now: now) else { return }
            countControl(record, at: link, flow: flow)
            confirm(flow)
        case .close(let number, let reason):
            countControl(record, at: link)
            closed(number, reason, at: link, now: now)
        case .open, .openFragment, .unknown, nil:
            // A server opens no flows.
            links[link].keys.drop(.frame)
        }
    }

    /// Notes that the peer knows the flow.
    private mutating func confirm(_ flow: Int32) {
        guard !flows[flow].isOpen else { return }
        flows[flow].isOpen = true
        let member = Int(flows[flow].member)
        guard members[member].refusal != nil else { return }
        members[member].refusal = nil
        tell(.serviceAccepted(members[member].settings.service), flow: flow)
    }

    private mutating func closed(_ number: UInt64, _ reason: CloseReason, at link: Int32, now: Instant) {
        guard let flow = links[link].channel?.value.place(of: number) ?? nil else { return }
        forget(number, at: link)
        // Its next datagram gets a new number: the old one may still be under way.
        flows[flow].number = 0
        flows[flow].isOpen = false
        if [.done, .unknownFlow, .shuttingDown].contains(reason) { return }
        let member = Int(flows[flow].member)
        members[member].askAgainAt = now + Self.refusalPause
        guard members[member].refusal?.reason != reason else { return }
        members[member].refusal = ServiceRefusal(reason: reason, since: now)
        tell(.serviceRefused(members[member].settings.service, reason), flow: flow)
    }

    /// How long a service that the peer refuses is not asked for again.
    private static var refusalPause: Duration { .seconds(1) }
}
