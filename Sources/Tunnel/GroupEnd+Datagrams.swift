// Datagrams between flows and links.
//
// To the peer: a flow's datagram is sealed for its link's association. In dedicated mode it goes as it is; in shared
// mode it goes behind a frame's header, and in several records if it is larger than the path. From the peer: records
// are pulled from the datagram one by one; data goes to the flow that it is for.

import ContainersPreview
import DTLS
import Settings
import Wire

extension GroupEnd where Output: ~Copyable {
    // MARK: To the peer

    /// Sends a datagram to a link's peer, through the link's own socket or the server's listener; `write` is lent the
    /// link's keys.
    mutating func send(
        maximum: Int, mayFragment: Bool, at link: Int32,
        write: (inout MutableRawSpan, inout KeyGenerations<Engine>) -> Int?
    ) {
        Self.send(&output, &links, maximum: maximum, mayFragment: mayFragment, at: link, write: write)
    }

    private static func send(
        _ output: inout Output, _ links: inout AgedTable<Link<Engine>>, maximum: Int, mayFragment: Bool, at link: Int32,
        write: (inout MutableRawSpan, inout KeyGenerations<Engine>) -> Int?
    ) {
        let id = links.id(link)
        if Side.isClient {
            output.send(id, maximum: maximum, mayFragment: mayFragment) { write(&$0, &links[link].keys) }
        } else if let peer = links[link].peer {
            output.sendShared(
                id, listener: 0, to: peer, from: links[link].localAddress, maximum: maximum, mayFragment: mayFragment
            ) { write(&$0, &links[link].keys) }
        }
    }

    /// Seals a record of data for a link's association and sends it; returns whether it was sent.
    mutating func seal(
        prefix: borrowing RawSpan, payload: borrowing RawSpan, mayFragment: Bool, at link: Int32
    ) -> Bool {
        let maximum = prefix.byteCount + payload.byteCount + (links[link].keys.current?.value.overhead ?? 0)
        var isSealed = false
        send(maximum: maximum, mayFragment: mayFragment, at: link) { buffer, keys in
            let length = keys.current?.value.seal(prefix: prefix, payload: payload, into: &buffer) ?? nil
            isSealed = length != nil
            return length
        }
        return isSealed
    }

    /// Sends a flow's datagram through its dedicated link, whose association is established.
    mutating func sendDedicated(
        _ datagram: borrowing RawSpan, of flow: Int32, now: Instant
    ) {
        let (link, member) = (flows[flow].link, Int(flows[flow].member))
        let policy = members[member].settings.oversize
        let fate = links[link].keys.current?.value.fate(of: datagram.byteCount, policy) ?? .whole
        if fate != .whole {
            // While the search continues, a larger size may be about to be found; but none is larger than a record.
            let isHopeless = datagram.byteCount > links[link].keys.current?.value.maximumPlaintext ?? 0
            if isHopeless || links[link].keys.current?.value.isPathSettled == true {
                tellOversize(datagram.byteCount, fate, flow: flow, now: now)
            }
            if case .dropped = fate {
                links[link].keys.current?.value.dropOffered(.oversize)
                flows[flow].counters.dropped &+= 1
                return
            }
        }
        if seal(prefix: RawSpan(), payload: datagram, mayFragment: fate != .whole, at: link) {
            countSent(datagram.byteCount, flow: flow)
        }
        attendIfNeeded(link)
    }

    /// Sends a flow's datagram through its link's channel, asking for `service` unless that is nil.
    mutating func sendShared(
        _ datagram: borrowing RawSpan, of flow: Int32, opening service: [UInt8]?, now: Instant
    ) {
        let (link, number, member) = (flows[flow].link, flows[flow].number, Int(flows[flow].member))
        guard let header = FrameHeader.datagram(flow: number, opening: service) else {
            return countDrop(.closed, flow: flow)
        }
        let headerSize = header.bytes.byteCount
        let limit = links[link].keys.current?.value.maximumDatagram ?? 0
        if headerSize + datagram.byteCount <= limit {
            guard seal(prefix: header.bytes, payload: datagram, mayFragment: false, at: link) else {
                flows[flow].counters.dropped &+= 1
                return attendIfNeeded(link)
            }
        } else {
            // Nothing is dropped because of an assumption: until the first search has ended there is no limit.
            guard members[member].settings.oversize == .fragment || links[link].keys.current?.value.isPathKnown != true
            else {
                countDrop(.oversize, flow: flow)
                if links[link].keys.current?.value.isPathSettled == true {
                    let fate = DatagramFate.dropped(limit: max(limit - headerSize, 0))
                    tellOversize(datagram.byteCount, fate, flow: flow, now: now)
                }
                return
            }
            guard sendFragments(of: datagram, of: flow, opening: service, limit: limit) else {
                flows[flow].counters.dropped &+= 1
                return attendIfNeeded(link)
            }
        }
        countSent(datagram.byteCount, flow: flow)
        attendIfNeeded(link)
    }

    /// Sends a datagram in fragments; returns whether all of them were sent. The first that is not is counted as
    /// dropped, and nothing follows it.
    private mutating func sendFragments(
        of datagram: borrowing RawSpan, of flow: Int32, opening service: [UInt8]?, limit: Int
    ) -> Bool {
        let (link, flowNumber) = (flows[flow].link, flows[flow].number)
        let number = links[link].channel?.value.numberDatagram() ?? 0
        var offset = 0
        repeat {
            let rest = datagram.byteCount - offset
            let header = { (isLast: Bool) in
                FrameHeader.fragment(
                    flow: flowNumber, opening: service, datagram: number, offset: offset, isLast: isLast)
            }
            let room = limit - (header(false)?.bytes.byteCount ?? 0)
            let count = min(rest, max(room, SharedFrame.minimumFragmentSize))
            guard let front = header(count == rest) else {
                links[link].keys.current?.value.dropOffered(.closed)
                return false
            }
            let part = datagram.extracting(offset..<offset + count)
            guard seal(prefix: front.bytes, payload: part, mayFragment: false, at: link) else { return false }
            offset += count
        } while offset < datagram.byteCount
        return true
    }

    private mutating func countSent(_ byteCount: Int, flow: Int32) {
        let member = Int(flows[flow].member)
        members[member].counters.datagramsOut &+= 1
        members[member].counters.bytesOut &+= UInt64(truncatingIfNeeded: byteCount)
        flows[flow].counters.datagramsOut &+= 1
        flows[flow].counters.bytesOut &+= UInt64(truncatingIfNeeded: byteCount)
    }

    // MARK: From the peer

    /// Takes a datagram for a link; returns whether one of its records was authentic.
    @discardableResult
    mutating func receive(_ datagram: inout MutableRawSpan, at link: Int32, now: Instant) -> Bool {
        if links[link].keys.hasOutdated(now) { endKeys(.previous, of: link) }
        var cursor = RecordCursor()
        let isAuthentic = pull(&datagram, &cursor, at: link, now: now)
        attendIfNeeded(link)
        return isAuthentic
    }

    /// Takes the records that came before the association was accepted.
    mutating func accept(_ link: Int32, now: Instant) {
        for var record in links[link].keys.current?.value.accept() ?? [] {
            record.withMutableBytes { datagram in
                var cursor = RecordCursor.counted
                _ = pull(&datagram, &cursor, at: link, now: now)
            }
        }
    }

    /// Takes the records of a datagram one by one; returns whether one of them was authentic.
    private mutating func pull(
        _ datagram: inout MutableRawSpan, _ cursor: inout RecordCursor, at link: Int32, now: Instant
    ) -> Bool {
        var isAuthentic = false
        while true {
            switch links[link].keys.next(&datagram, &cursor, now: now) {
            case .end: return isAuthentic
            case .handled: continue
            case .control: isAuthentic = true
            case .data(let range):
                isAuthentic = true
                let record = datagram.bytes.extracting(range)
                if links[link].channel == nil {
                    takeDedicated(record, at: link, now: now)
                } else {
                    Side.takeFrame(record, at: link, of: &self, now: now)
                }
            }
        }
    }

    /// Hands a datagram from the peer to the flow's local program.
    mutating func deliver(
        _ datagram: borrowing RawSpan, to flow: Int32, now: Instant
    ) {
        let (id, member, byteCount) = (flows.id(flow), Int(flows[flow].member), datagram.byteCount)
        members[member].counters.datagramsIn &+= 1
        members[member].counters.bytesIn &+= UInt64(truncatingIfNeeded: byteCount)
        flows[flow].counters.datagramsIn &+= 1
        flows[flow].counters.bytesIn &+= UInt64(truncatingIfNeeded: byteCount)
        // Data from the peer keeps the flow alive too: a subscriber may only listen.
        flows.touch(flow, now: now)
        guard let sender = flows[flow].sender else {
            output.send(id, maximum: byteCount, mayFragment: true) { $0.write(datagram, at: 0) ? byteCount : nil }
            return
        }
        output.sendShared(
            id, listener: member, to: sender, from: flows[flow].localAddress, maximum: byteCount, mayFragment: true
        ) { $0.write(datagram, at: 0) ? byteCount : nil }
    }

    /// Takes the data of a dedicated link's record.
    mutating func takeDedicated(
        _ record: borrowing RawSpan, at link: Int32, now: Instant
    ) {
        guard let flow = links[link].flow else {
            // Data on a link that has no flow yet.
            links[link].keys.drop(.noAssociation)
            return
        }
        links[link].keys.countDelivery(record.byteCount)
        deliver(record, to: flow, now: now)
    }
}
