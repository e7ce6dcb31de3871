// What a client's end has carried, and how its associations and flows stand.

import DTLS

extension ClientGroup {
    /// What the tunnel number `member` has carried and dropped in all. What was dropped of an association that tunnels share
    /// counts for the first of them.
    public func counters(of member: Int = 0) -> TunnelCounters { tallies()[member].counters }

    /// What each tunnel has done in all, and how it stands.
    public func tallies() -> [MemberTally] {
        var tallies = members.map { MemberTally(counters: $0.counters, refusal: $0.refusal) }
        for index in flows.living {
            let member = Int(flows[index].member)
            if index != link { tallies[member].flows += 1 }
            let association = flows[index].association
            if let association { tallies[member].counters.add(association) }
            if let successor = flows[index].successor { tallies[member].counters.add(successor) }
            guard !flows[index].isCarried else { continue }
            let state = flows[index].state
            if index == link {
                for other in tallies.indices { tallies[other].add(association, state, isShared: mode != .plain) }
            } else {
                tallies[member].add(association, state, isShared: false)
            }
        }
        return tallies
    }

    /// Why the peer refuses the service of the tunnel number `member`, if it does.
    public func refusal(of member: Int) -> ServiceRefusal? { members[member].refusal }

    /// Associations, and flows that are to have one of their own; and how many there are in all.
    public func snapshots(_ page: SnapshotPage = SnapshotPage()) -> (page: [AssociationSnapshot], total: Int) {
        var selection = PageSelection(page)
        for index in flows.living where !flows[index].isCarried {
            guard page.member == nil || index == link || Int(flows[index].member) == page.member else { continue }
            selection.add(serial: flows[index].serial, place: index)
        }
        return (selection.places.map(snapshot), selection.total)
    }

    private func snapshot(_ index: Int32) -> AssociationSnapshot {
        let flow = flows[index]
        var snapshot = AssociationSnapshot(
            of: flow.association, serial: flow.serial, state: flow.state, peer: flow.remote, sender: sender(index),
            establishedAt: flow.establishedAt)
        snapshot.member = index == link ? nil : Int(flow.member)
        snapshot.isShared = index == link && mode != .plain
        snapshot.rekeys = flow.rekeys
        snapshot.flowCount = index == link ? channel?.flowCount ?? 0 : 1
        return snapshot
    }

    /// Flows; and how many there are in all.
    public func flowSnapshots(_ page: SnapshotPage = SnapshotPage()) -> (page: [FlowSnapshot], total: Int) {
        var selection = PageSelection(page)
        for index in flows.living where index != link {
            guard page.member == nil || Int(flows[index].member) == page.member else { continue }
            selection.add(serial: flows[index].serial, place: index)
        }
        return (selection.places.map(flowSnapshot), selection.total)
    }

    private func flowSnapshot(_ index: Int32) -> FlowSnapshot {
        let flow = flows[index]
        let carrier = flow.isCarried ? link : index
        let carriage = flow.isCarried ? carriages[index] : nil
        let isUp = carrier.map { flows[$0].state == .established } ?? false
        return FlowSnapshot(
            serial: flow.serial, member: Int(flow.member), association: carrier.map { flows[$0].serial },
            isShared: flow.isCarried, wireID: carriage.flatMap { $0.wireID == 0 ? nil : $0.wireID },
            state: !isUp ? .waiting : carriage?.isOpen == false ? .opening : .open, sender: sender(index),
            peer: carrier.flatMap { flows[$0].remote },
            counters: carriage?.counters ?? flow.association.map { FlowCounters($0.counters) } ?? FlowCounters(),
            beganAt: flow.beganAt, touchedAt: flows.touchedAt(index))
    }
}
