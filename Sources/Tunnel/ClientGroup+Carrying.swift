// Shared mode at a client's end: one association, the channel, carries the flows of all tunnels.
//
// A datagram of a carried flow:
//   1. waits while the association is not up, or while the flow has others waiting for their turn;
//   2. is framed under the flow's number, asking for the service until the peer has answered, and sealed;
//   3. under pressure, when datagrams come faster than they can be sent, joins a queue of its flow; the flows take turns.
// A record of the peer's says whose datagram it holds, or that a flow is open, or over.

public import DTLS
import Wire

extension ClientGroup {
    // MARK: The channel

    /// Makes an association that has just been established the channel of every flow.
    func share(_ association: Association<Engine>, at index: Int32, now: Instant) {
        if let channel, channel.association !== association {
            // Another flow's handshake has been quicker; this flow goes with that one.
            let waiting = takeWaiting(index)
            association.close()
            transmit(association, flows.id(index))
            account(for: association, index)
            output.close(flows.id(index))
            flows[index].association = nil
            flows[index].establishedAt = nil
            flows[index].state = .idle
            flows[index].isCarried = true
            carriages.begin(index)
            for datagram in waiting { carry(datagram.bytes, index, by: channel, now: now) }
            return
        }
        if index != link {
            // One that was to be shared and waits for a flow, or for its next attempt, has become superfluous.
            if let link { remove(link, now: nil) }
            promote(index, now: now)
        }
        mode = .shared
        let channel = SharedChannel(association)
        self.channel = channel
        flows[index].failures = 0
        for member in members.indices { members[member].askAgainAt = nil }
        association.accept(now: now) { record in take(record, from: channel, now: now) }
        for flow in flows.living where flow != index {
            if flows[flow].association == nil, !flows[flow].isCarried {
                flows[flow].isCarried = true
                carriages.begin(flow)
            }
            guard flows[flow].isCarried else { continue }
            flows[flow].state = .idle
            for datagram in takeWaiting(flow) { carry(datagram.bytes, flow, by: channel, now: now) }
        }
    }

    /// The association is over; its flows live on and wait for the next one.
    func unshare() {
        discardPieces()
        channel = nil
        for index in flows.living where flows[index].isCarried {
            let dropped = backlog.remove(index)
            if dropped > 0 { countDrop(.closed, dropped, index) }
            carriages[index].wireID = 0
            carriages[index].isOpen = false
        }
    }

    /// Gives up the datagrams that have come in part only, at the association's end.
    func discardPieces() {
        guard let channel else { return }
        channel.discardAll()
        countIncomplete(channel)
    }

    /// Ends a carried flow, telling the peer unless this end is closing altogether.
    func uncarry(_ index: Int32, telling now: Instant?) {
        let dropped = backlog.remove(index)
        if dropped > 0 { countDrop(.closed, dropped, index) }
        guard let channel, carriages[index].wireID != 0 else { return }
        channel.forget(carriages[index].wireID)
        countIncomplete(channel)
        guard let now, let link else { return }
        let id = flows.id(link)
        channel.sendClose(carriages[index].wireID, .done, isAnswer: false, now: now) { maximum, write in
            output.send(id, maximum: maximum, mayFragment: false, write: write)
        }
    }

    // MARK: To the peer

    func carry(_ datagram: borrowing RawSpan, _ index: Int32, by channel: SharedChannel<Engine>, now: Instant) {
        let member = Int(flows[index].member)
        if let askAgainAt = members[member].askAgainAt {
            guard now >= askAgainAt else { return countDrop(.service, 1, index) }
            members[member].askAgainAt = nil
        }
        arrivals += 1
        if (isPressed && channel.flowCount > 1) || backlog.holds(index) {
            let dropped = backlog.append(datagram, of: index)
            if dropped > 0 { countDrop(.queueFull, dropped, index) }
            return
        }
        send(datagram, index, by: channel, now: now)
    }

    private func send(_ datagram: borrowing RawSpan, _ index: Int32, by channel: SharedChannel<Engine>, now: Instant) {
        guard let link, channel.association.isEstablished else { return countDrop(.closed, 1, index) }
        if carriages[index].wireID == 0 { carriages[index].wireID = channel.open(at: index) }
        let member = Int(flows[index].member)
        let id = flows.id(link)
        let fate = channel.send(
            datagram, of: carriages[index].wireID, opening: carriages[index].isOpen ? nil : members[member].service,
            members[member].settings.oversize
        ) { maximum, write in
            output.send(id, maximum: maximum, mayFragment: false, write: write)
        }
        if case .dropped = fate {
            countDrop(.oversize, 1, index)
            if channel.association.isPathSettled { tellOversize(datagram.byteCount, fate, index, now: now) }
            return
        }
        members[member].counters.datagramsOut &+= 1
        members[member].counters.bytesOut &+= UInt64(datagram.byteCount)
        carriages[index].counters.datagramsOut &+= 1
        carriages[index].counters.bytesOut &+= UInt64(datagram.byteCount)
        if channel.association.needsAttention { serve(link, now: now) }
    }

    /// Notes whether more datagrams wait at the listening sockets than were taken in one go.
    public func setPressure(_ isPressed: Bool) { self.isPressed = isPressed }

    /// Lets the flows take turns, after each batch of datagrams: all that wait, but under pressure only half as many as
    /// have come, so that reading stays ahead of sending and what is too much is dropped here, where it is known whose
    /// it is, and not in the kernel.
    public func finishBatch(now: Instant) {
        defer { arrivals = 0 }
        guard !backlog.isEmpty, let channel else { return }
        var budget = isPressed ? max(arrivals / 2, Self.minimumTurns) : .max
        while budget > 0, let (index, datagram) = backlog.next() {
            budget -= 1
            send(datagram.bytes, index, by: channel, now: now)
            guard self.channel === channel else { return }
        }
    }

    private static var minimumTurns: Int { 16 }

    // MARK: From the peer

    /// Takes one record of the channel's.
    func take(_ record: borrowing RawSpan, from channel: SharedChannel<Engine>, now: Instant) {
        switch SharedFrame(record) {
        case .datagram(let wireID, let payload):
            guard let index = place(of: wireID, record, channel, now: now) else { return }
            hand(record.extracting(payload), to: index, now: now)
        case .fragment(let wireID, let fragment):
            guard let index = place(of: wireID, record, channel, now: now) else { return }
            let (datagram, isFirst) = channel.take(fragment, of: wireID, in: record, now: now)
            if !isFirst { members[Int(flows[index].member)].counters.control &+= 1 }
            if let datagram { hand(datagram.bytes, to: index, now: now) }
            countIncomplete(channel)
            channel.association.needsAttention = true
        case .opened(let wireID):
            guard let index = place(of: wireID, record, channel, now: now) else { return }
            members[Int(flows[index].member)].counters.control &+= 1
            accept(index)
        case .close(let wireID, let reason):
            members[0].counters.control &+= 1
            closed(wireID, reason, channel, now: now)
        case .open, .openFragment, .unknown, nil:
            // A server opens nothing.
            channel.association.dropDelivered(.frame, byteCount: record.byteCount)
        }
    }

    private func place(
        of wireID: UInt64, _ record: borrowing RawSpan, _ channel: SharedChannel<Engine>, now: Instant
    ) -> Int32? {
        if let index = channel.place(of: wireID) { return index }
        channel.association.dropDelivered(.unknownFlow, byteCount: record.byteCount)
        guard let link else { return nil }
        let id = flows.id(link)
        channel.sendClose(wireID, .unknownFlow, isAnswer: true, now: now) { maximum, write in
            output.send(id, maximum: maximum, mayFragment: false, write: write)
        }
        return nil
    }

    private func hand(_ datagram: borrowing RawSpan, to index: Int32, now: Instant) {
        accept(index)
        let member = Int(flows[index].member)
        members[member].counters.datagramsIn &+= 1
        members[member].counters.bytesIn &+= UInt64(datagram.byteCount)
        carriages[index].counters.datagramsIn &+= 1
        carriages[index].counters.bytesIn &+= UInt64(datagram.byteCount)
        // Data from the peer keeps the flow too: a subscriber may only listen.
        flows.touch(index, now: now)
        reply(datagram, index)
    }

    /// The peer knows the flow.
    private func accept(_ index: Int32) {
        guard !carriages[index].isOpen else { return }
        carriages[index].isOpen = true
        let member = Int(flows[index].member)
        guard members[member].refusal != nil else { return }
        members[member].refusal = nil
        tell(.serviceAccepted(members[member].settings.service), index)
    }

    private func closed(_ wireID: UInt64, _ reason: CloseReason, _ channel: SharedChannel<Engine>, now: Instant) {
        guard let index = channel.place(of: wireID) else { return }
        channel.forget(wireID)
        countIncomplete(channel)
        // Its next datagram gets a new number: the old one may still be under way.
        carriages[index].wireID = 0
        carriages[index].isOpen = false
        if [.done, .unknownFlow, .shuttingDown].contains(reason) { return }
        let member = Int(flows[index].member)
        members[member].askAgainAt = now + Self.refusalPause
        guard members[member].refusal?.reason != reason else { return }
        members[member].refusal = ServiceRefusal(reason: reason, since: now)
        tell(.serviceRefused(members[member].settings.service, reason), index)
    }

    func countIncomplete(_ channel: SharedChannel<Engine>) {
        for wireID in channel.takeIncomplete() {
            if let index = channel.place(of: wireID) {
                countDrop(.reassembly, 1, index)
            } else {
                members[0].counters.drops.add(.reassembly)
            }
        }
    }

    /// How long a peer that refuses a service is not asked for it again.
    private static var refusalPause: Duration { .seconds(1) }
}
