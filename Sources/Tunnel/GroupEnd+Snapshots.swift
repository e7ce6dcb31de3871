// What a group has carried, and what state its links and flows are in.

import ContainersPreview
import DTLS

extension GroupEnd where Output: ~Copyable {
    /// What each tunnel has done in all, and what state it is in.
    public func tallies() -> [MemberTally] {
        var tallies = members.map { MemberTally(counters: $0.counters, refusal: $0.refusal, problem: $0.problem) }
        for link in links.living {
            let member = Int(links[link].member)
            links[link].keys.add(to: &tallies[member].counters)
            switch links[link].use {
            case .common: for other in tallies.indices { tallies[other].add(links[link], isShared: true) }
            case .spare: for other in tallies.indices { tallies[other].add(links[link], isShared: false) }
            case .dedicated: tallies[member].add(links[link], isShared: false)
            }
        }
        for flow in flows.living { tallies[Int(flows[flow].member)].flows += 1 }
        return tallies
    }

    /// What this tunnel has carried and dropped in all. What concerns no single tunnel counts for the first.
    public func counters(of member: Int = 0) -> TunnelCounters { tallies()[member].counters }

    /// A page of associations, those not yet established included, and how many there are in all.
    public func snapshots(_ page: SnapshotPage = SnapshotPage()) -> (page: [AssociationSnapshot], total: Int) {
        var selection = PageSelection(page)
        for link in links.living {
            guard page.member == nil || isOfAll(link) || Int(links[link].member) == page.member else { continue }
            selection.add(serial: links[link].serial, place: link)
        }
        return (selection.places.map { snapshot($0) }, selection.total)
    }

    private func snapshot(_ link: Int32) -> AssociationSnapshot {
        var snapshot = AssociationSnapshot(links[link])
        snapshot.member = isOfAll(link) ? nil : Int(links[link].member)
        snapshot.isShared = links[link].isCommon
        snapshot.sender = links[link].flow.flatMap { flows[$0].sender }
        snapshot.flowCount =
            isOfAll(link) ? links[link].channel.read { $0.value.flowCount } ?? 0 : links[link].flow == nil ? 0 : 1
        return snapshot
    }

    private func isOfAll(_ link: Int32) -> Bool { links[link].use == .common || links[link].use == .spare }

    /// A page of flows, and how many there are in all.
    public func flowSnapshots(_ page: SnapshotPage = SnapshotPage()) -> (page: [FlowSnapshot], total: Int) {
        var selection = PageSelection(page)
        for flow in flows.living {
            guard page.member == nil || Int(flows[flow].member) == page.member else { continue }
            selection.add(serial: flows[flow].serial, place: flow)
        }
        return (selection.places.map { snapshot(flow: $0) }, selection.total)
    }

    private func snapshot(flow: Int32) -> FlowSnapshot {
        let link = flows[flow].link >= 0 ? flows[flow].link : nil
        let isUp = link.map { links[$0].state == .established } ?? false
        let number = flows[flow].number
        let isShared = link.map { links[$0].isCommon } ?? false
        let isOpening = Side.isClient && isShared && !flows[flow].isOpen
        return FlowSnapshot(
            serial: flows[flow].serial, member: Int(flows[flow].member), association: link.map { links[$0].serial },
            isShared: isShared, wireID: number == 0 ? nil : number,
            state: !isUp ? .waiting : isOpening ? .opening : .open, sender: flows[flow].sender,
            peer: link.flatMap { links[$0].peer }, counters: flows[flow].counters, beganAt: flows[flow].beganAt,
            touchedAt: flows.touchedAt(flow))
    }
}
