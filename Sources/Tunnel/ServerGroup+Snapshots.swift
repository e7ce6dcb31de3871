// What a server's end has carried, and how its associations and flows stand.

import DTLS

extension ServerGroup {
    /// What the tunnel number `member` has carried and dropped in all. What concerns no tunnel alone counts for the first.
    public func counters(of member: Int = 0) -> TunnelCounters { tallies()[member].counters }

    /// What each tunnel has done in all, and how it stands.
    public func tallies() -> [MemberTally] {
        var tallies = members.map { MemberTally(counters: $0.counters) }
        for index in flows.living {
            let member = Int(flows[index].member)
            guard flows[index].carrier < 0 else {
                tallies[member].flows += 1
                continue
            }
            let association = flows[index].association
            if let association { tallies[member].counters.add(association) }
            if let successor = flows[index].successor { tallies[member].counters.add(successor) }
            if let predecessor = flows[index].predecessor { tallies[member].counters.add(predecessor) }
            let state: AssociationSnapshot.State = flows[index].establishedAt == nil ? .handshaking : .established
            if flows[index].channel != nil {
                for other in tallies.indices { tallies[other].add(association, state, isShared: true) }
            } else {
                tallies[member].add(association, state, isShared: false)
                if state == .established { tallies[member].flows += 1 }
            }
        }
        return tallies
    }

    /// Peers' associations; and how many there are in all.
    public func snapshots(_ page: SnapshotPage = SnapshotPage()) -> (page: [AssociationSnapshot], total: Int) {
        var selection = PageSelection(page)
        for index in flows.living where flows[index].carrier < 0 {
            guard page.member == nil || flows[index].channel != nil || Int(flows[index].member) == page.member else {
                continue
            }
            selection.add(serial: flows[index].serial, place: index)
        }
        return (selection.places.map(snapshot), selection.total)
    }

    private func snapshot(_ index: Int32) -> AssociationSnapshot {
        let flow = flows[index]
        var snapshot = AssociationSnapshot(
            of: flow.association, serial: flow.serial,
            state: flow.establishedAt == nil ? .handshaking : .established, peer: flows.key(index), sender: nil,
            establishedAt: flow.establishedAt)
        snapshot.isShared = flow.channel != nil
        snapshot.rekeys = flow.rekeys
        snapshot.member = flow.channel == nil ? Int(flow.member) : nil
        snapshot.flowCount = flow.channel?.flowCount ?? (flow.establishedAt == nil ? 0 : 1)
        return snapshot
    }

    /// Flows; and how many there are in all.
    public func flowSnapshots(_ page: SnapshotPage = SnapshotPage()) -> (page: [FlowSnapshot], total: Int) {
        var selection = PageSelection(page)
        for index in flows.living where flows[index].establishedAt != nil && flows[index].channel == nil {
            guard page.member == nil || Int(flows[index].member) == page.member else { continue }
            selection.add(serial: flows[index].serial, place: index)
        }
        return (selection.places.map(flowSnapshot), selection.total)
    }

    private func flowSnapshot(_ index: Int32) -> FlowSnapshot {
        let flow = flows[index]
        let isCarried = flow.carrier >= 0
        let carriage = isCarried ? carriages[index] : nil
        return FlowSnapshot(
            serial: flow.serial, member: Int(flow.member),
            association: isCarried ? flows[flow.carrier].serial : flow.serial, isShared: isCarried,
            wireID: carriage?.wireID, state: .open, sender: nil, peer: peer(of: index),
            counters: carriage?.counters ?? flow.association.map { FlowCounters($0.counters) } ?? FlowCounters(),
            beganAt: flow.establishedAt ?? Instant(nanoseconds: 0), touchedAt: flows.touchedAt(index))
    }
}
