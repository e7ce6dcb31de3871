// Shared mode at a server's end: an association carries flows of every service that its peer may have.
//
// A record of the peer's:
//   1. that opens a flow names the service; what is unknown or forbidden is answered with CLOSE and a reason;
//   2. of an open flow is sent to the service's target through the flow's own socket;
//   3. of a flow that is not open is answered with CLOSE, so that the client opens another.
// A datagram from the target is framed under the flow's number and sealed for the association.

import DTLS
import Settings
import Wire

extension ServerGroup {
    // MARK: From the peer

    /// Takes one record of the channel's, whose association stands at `carrier`.
    func take(_ record: borrowing RawSpan, from channel: SharedChannel<Engine>, at carrier: Int32, now: Instant) {
        switch SharedFrame(record) {
        case .datagram(let wireID, let payload):
            guard let index = place(of: wireID, record, channel, carrier, now: now) else { return }
            hand(record.extracting(payload), to: index, now: now)
        case .open(let wireID, let service, let payload):
            guard let index = open(wireID, service, in: record, channel, carrier, now: now) else { return }
            hand(record.extracting(payload), to: index, now: now)
        case .fragment(let wireID, let fragment):
            guard let index = place(of: wireID, record, channel, carrier, now: now) else { return }
            take(fragment, of: wireID, in: record, channel, index, now: now)
        case .openFragment(let wireID, let service, let fragment):
            guard let index = open(wireID, service, in: record, channel, carrier, now: now) else { return }
            take(fragment, of: wireID, in: record, channel, index, now: now)
        case .close(let wireID, _):
            members[0].counters.control &+= 1
            if let index = channel.place(of: wireID) { endCarried(index, because: nil, now: now) }
        case .opened, .unknown, nil:
            // A client is told that a flow is open, it does not tell.
            channel.association.dropDelivered(.frame, byteCount: record.byteCount)
        }
    }

    private func take(
        _ fragment: SharedFrame.Fragment, of wireID: UInt64, in record: borrowing RawSpan,
        _ channel: SharedChannel<Engine>, _ index: Int32, now: Instant
    ) {
        let (datagram, isFirst) = channel.take(fragment, of: wireID, in: record, now: now)
        if !isFirst { members[Int(flows[index].member)].counters.control &+= 1 }
        if let datagram { hand(datagram.bytes, to: index, now: now) }
        countIncomplete(channel)
        // The pieces' time has to be watched.
        channel.association.needsAttention = true
    }

    private func hand(_ datagram: borrowing RawSpan, to index: Int32, now: Instant) {
        let member = Int(flows[index].member)
        members[member].counters.datagramsIn &+= 1
        members[member].counters.bytesIn &+= UInt64(datagram.byteCount)
        carriages[index].counters.datagramsIn &+= 1
        carriages[index].counters.bytesIn &+= UInt64(datagram.byteCount)
        flows.touch(index, now: now)
        forward(datagram, index)
    }

    private func place(
        of wireID: UInt64, _ record: borrowing RawSpan, _ channel: SharedChannel<Engine>, _ carrier: Int32, now: Instant
    ) -> Int32? {
        if let index = channel.place(of: wireID) { return index }
        channel.association.dropDelivered(.unknownFlow, byteCount: record.byteCount)
        refuse(wireID, .unknownFlow, channel, carrier, now: now)
        return nil
    }

    private func refuse(
        _ wireID: UInt64, _ reason: CloseReason, _ channel: SharedChannel<Engine>, _ carrier: Int32, now: Instant
    ) {
        channel.sendClose(wireID, reason, isAnswer: true, now: now) { maximum, write in
            send(carrier, maximum: maximum, mayFragment: false, write: write)
        }
    }

    // MARK: Flows

    /// The flow that a client opens, be it new or asked for once more.
    private func open(
        _ wireID: UInt64, _ name: Range<Int>, in record: borrowing RawSpan, _ channel: SharedChannel<Engine>,
        _ carrier: Int32, now: Instant
    ) -> Int32? {
        let service = record.extracting(name)
        let byteCount = record.byteCount
        let known = channel.place(of: wireID)
        let member = members.firstIndex { Self.isEqual(service, $0.service) }
        if let known {
            // Numbers are given once, so that one cannot mean two services.
            guard let member, Int(flows[known].member) == member else {
                channel.association.dropDelivered(.frame, byteCount: byteCount)
                return nil
            }
            answer(wireID, channel, carrier)
            return known
        }
        guard let member else {
            return deny(
                wireID, byteCount, String(decoding: service.copied(), as: UTF8.self), .unknownService, .service,
                channel,
                carrier, now: now)
        }
        let settings = members[member].settings
        let peer = channel.association.description?.peer
        guard settings.access.allows(self.peer(of: carrier).address), peer.map({ settings.access.allows($0) }) ?? false
        else { return deny(wireID, byteCount, settings.service, .forbidden, .service, channel, carrier, now: now) }
        guard !isDraining, makeRoomForFlow(of: member, now: now) else {
            return deny(wireID, byteCount, settings.service, .limit, .limit, channel, carrier, now: now)
        }
        let index = flows.insert(
            nil, Flow(serial: nextSerial, member: Int32(truncatingIfNeeded: member)), in: .carried(of: member),
            now: now)
        nextSerial += 1
        guard openTarget(of: member, for: index, now: now) else {
            flows.remove(index)
            return deny(wireID, byteCount, settings.service, .unreachable, .service, channel, carrier, now: now)
        }
        flows[index].carrier = carrier
        carriages.begin(index)
        carriages[index].wireID = wireID
        flows[index].establishedAt = now
        channel.admit(wireID, at: index)
        answer(wireID, channel, carrier)
        return index
    }

    private static func isEqual(_ bytes: borrowing RawSpan, _ other: [UInt8]) -> Bool {
        guard bytes.byteCount == other.count else { return false }
        for index in other.indices where bytes.uint8(at: index) != other[index] { return false }
        return true
    }

    private func answer(_ wireID: UInt64, _ channel: SharedChannel<Engine>, _ carrier: Int32) {
        channel.sendOpened(wireID) { maximum, write in
            send(carrier, maximum: maximum, mayFragment: false, write: write)
        }
    }

    /// Says no to a flow, and why, once in a while also in the log.
    private func deny(
        _ wireID: UInt64, _ byteCount: Int, _ service: String, _ reason: CloseReason, _ drop: DropReason,
        _ channel: SharedChannel<Engine>, _ carrier: Int32, now: Instant
    ) -> Int32? {
        channel.association.dropDelivered(drop, byteCount: byteCount)
        refuse(wireID, reason, channel, carrier, now: now)
        if reason == .limit || reason == .unreachable { return nil }
        if let told = members[0].toldDenialAt, now - told < .seconds(10) { return nil }
        members[0].toldDenialAt = now
        tell(
            .serviceDenied(
                peer: peer(of: carrier), channel.association.description?.peer, service: service, reason), carrier)
        return nil
    }

    private func makeRoomForFlow(of member: Int, now: Instant) -> Bool {
        let limits = members[member].settings.limits
        guard flows.count(in: .carried(of: member)) >= limits.maximumFlows else { return true }
        guard let (oldest, touchedAt) = flows.oldest(in: .carried(of: member)),
            now - touchedAt >= min(TunnelLimits.idleBeforeEviction, limits.flowTimeout / 2)
        else {
            tellLimit(.flows, member, evicted: nil, now: now)
            return false
        }
        tellLimit(.flows, member, evicted: peer(of: oldest), now: now)
        members[member].counters.evictions += 1
        endCarried(oldest, because: .limit, now: now)
        return true
    }

    /// Ends a carried flow; with a reason, the peer is told.
    func endCarried(_ index: Int32, because reason: CloseReason?, now: Instant) {
        let carrier = flows[index].carrier
        if let channel = flows[carrier].channel {
            channel.forget(carriages[index].wireID)
            if let reason {
                channel.sendClose(carriages[index].wireID, reason, isAnswer: false, now: now) { maximum, write in
                    send(carrier, maximum: maximum, mayFragment: false, write: write)
                }
            }
            countIncomplete(channel)
        }
        output.close(flows.id(index))
        flows.remove(index)
    }

    /// Ends every flow that an association carries, which is over itself.
    func dropCarried(by carrier: Int32) {
        guard let channel = flows[carrier].channel else { return }
        for index in channel.livingPlaces {
            output.close(flows.id(index))
            flows.remove(index)
        }
        channel.discardAll()
        members[0].counters.drops.add(.reassembly, channel.takeIncomplete().count)
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

    // MARK: To the peer

    /// Sends a datagram of the target's to the peer.
    func carry(_ datagram: borrowing RawSpan, _ index: Int32, now: Instant) {
        let carrier = flows[index].carrier
        guard let channel = flows[carrier].channel, channel.association.isEstablished else {
            return countDrop(.noAssociation, 1, index)
        }
        let member = Int(flows[index].member)
        let fate = channel.send(
            datagram, of: carriages[index].wireID, opening: nil, members[member].settings.oversize
        ) { maximum, write in
            send(carrier, maximum: maximum, mayFragment: false, write: write)
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
        if channel.association.needsAttention { serve(carrier, now: now) }
    }
}
