// Shared mode at a server's end: a link carries flows of every service that its peer may use.
//
// A record of the peer's:
//   1. that opens a flow names the service; an unknown or forbidden one is answered with CLOSE and a reason;
//   2. of an open flow is sent to the service's target through the flow's own socket;
//   3. of a flow that is not open is answered with CLOSE, so that the client opens a new one. A datagram from the
//      target is framed under the flow's number and sealed for the association.

import ContainersPreview
import DTLS
import Settings
import Wire

extension GroupEnd where Side == ServerSide, Output: ~Copyable {
    /// Takes one record of the link's channel.
    mutating func takeFrame(_ record: borrowing RawSpan, at link: Int32, now: Instant) {
        switch SharedFrame(record) {
        case .datagram(let number, let payload):
            guard let flow = flow(ofNumber: number, at: link, now: now) else { return }
            takeDatagram(payload, of: flow, in: record, at: link, now: now)
        case .open(let number, let service, let payload):
            guard let flow = open(number, service, in: record, at: link, now: now) else { return }
            takeDatagram(payload, of: flow, in: record, at: link, now: now)
        case .fragment(let number, let fragment):
            guard let flow = flow(ofNumber: number, at: link, now: now) else { return }
            takeFragment(fragment, of: flow, in: record, at: link, now: now)
        case .openFragment(let number, let service, let fragment):
            guard let flow = open(number, service, in: record, at: link, now: now) else { return }
            takeFragment(fragment, of: flow, in: record, at: link, now: now)
        case .close(let number, _):
            countControl(record, at: link)
            guard let flow = links[link].channel?.value.place(of: number) ?? nil else { return }
            end(flow: flow, because: nil, now: now)
        case .opened, .unknown, nil:
            // Only a server sends OPENED.
            links[link].keys.drop(.frame)
        }
    }

    // MARK: Flows

    /// The flow that a client opens, new or opened before.
    private mutating func open(
        _ number: UInt64, _ name: Range<Int>, in record: borrowing RawSpan, at link: Int32, now: Instant
    ) -> Int32? {
        let service = record.extracting(name)
        if let known = links[link].channel?.value.place(of: number) ?? nil {
            // A number is given once, so it cannot mean two services.
            guard Self.isEqual(service, members[Int(flows[known].member)].service) else {
                links[link].keys.drop(.frame)
                return nil
            }
            sendOpened(number, at: link)
            return known
        }
        let asked = service.copied()
        guard let member = side.services[asked] else {
            let name = String(decoding: asked, as: UTF8.self)
            return deny(number, name, .unknownService, .service, at: link, now: now)
        }
        let settings = members[member].settings
        let identity = links[link].keys.description?.peer
        guard identity.map({ settings.access.denial(of: $0, at: peer(of: link).address) == nil }) ?? false else {
            return deny(number, settings.service, .forbidden, .service, at: link, now: now)
        }
        guard !isDraining, makeRoomForFlow(of: member, now: now) else {
            return deny(number, settings.service, .limit, .limit, at: link, now: now)
        }
        guard let flow = openFlow(of: member, in: .flows(of: member), now: now) else {
            return deny(number, settings.service, .unreachable, .service, at: link, now: now)
        }
        flows[flow].link = link
        flows[flow].number = number
        links[link].channel?.value.admit(number, at: flow)
        sendOpened(number, at: link)
        return flow
    }

    private static func isEqual(_ bytes: borrowing RawSpan, _ other: [UInt8]) -> Bool {
        guard bytes.byteCount == other.count else { return false }
        for index in other.indices where bytes.uint8(at: index) != other[index] { return false }
        return true
    }

    private mutating func sendOpened(_ number: UInt64, at link: Int32) {
        sendControl(FrameHeader.opened(flow: number), at: link)
    }

    /// Refuses a flow with a reason, and says so in the log once in a while.
    private mutating func deny(
        _ number: UInt64, _ service: String, _ reason: CloseReason, _ drop: DropReason, at link: Int32, now: Instant
    ) -> Int32? {
        links[link].keys.drop(drop)
        sendClose(number, reason, isAnswer: true, at: link, now: now)
        if reason == .limit || reason == .unreachable { return nil }
        if let told = side.toldDenialAt, now - told < .seconds(10) { return nil }
        side.toldDenialAt = now
        let identity = links[link].keys.description?.peer
        tell(.serviceDenied(peer: peer(of: link), identity, service: service, reason), link: link)
        return nil
    }

    private mutating func makeRoomForFlow(of member: Int, now: Instant) -> Bool {
        let limits = members[member].settings.limits
        guard flows.count(in: .flows(of: member)) >= limits.maximumFlows else { return true }
        guard let (oldest, touchedAt) = flows.oldest(in: .flows(of: member)),
            now - touchedAt >= min(TunnelLimits.idleBeforeEviction, limits.flowTimeout / 2)
        else {
            tellLimit(.flows, member: member, evicted: nil, now: now)
            return false
        }
        tellLimit(.flows, member: member, evicted: peer(of: flows[oldest].link), now: now)
        members[member].counters.evictions += 1
        end(flow: oldest, because: .limit, now: now)
        return true
    }

    /// Ends a flow of a common link; with a reason, the peer is told.
    mutating func end(flow: Int32, because reason: CloseReason?, now: Instant) {
        let (link, number) = (flows[flow].link, flows[flow].number)
        forget(number, at: link)
        if let reason { sendClose(number, reason, isAnswer: false, at: link, now: now) }
        output.close(flows.id(flow))
        flows.remove(flow)
    }

    /// Ends every flow of a link, whose association is over or replaced.
    mutating func endFlows(of link: Int32) {
        var places = links[link].channel?.value.livingPlaces ?? []
        if let flow = links[link].flow { places.append(flow) }
        discardPieces(of: link)
        links[link].channel = nil
        links[link].use = .dedicated(flow: -1)
        for flow in places {
            output.close(flows.id(flow))
            flows.remove(flow)
        }
    }
}
