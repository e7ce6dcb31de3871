// What holds for a group after every input, whatever it was.

import Wire

@testable import DTLS
@testable import Tunnel

extension GroupEnd where Output: ~Copyable {
    /// Links and flows refer to each other, nothing is left to be seen to, and every timer is armed.
    mutating func checkTables() {
        let (livingLinks, livingFlows) = (Set(links.living), Set(flows.living))
        for flow in livingFlows {
            let (link, number) = (flows[flow].link, flows[flow].number)
            guard link >= 0 else {
                precondition(Side.isClient && number == 0, "a flow without a link has no number")
                continue
            }
            precondition(livingLinks.contains(link), "a flow's link lives")
            guard number != 0 else { continue }
            let place = links[link].channel?.value.place(of: number) ?? nil
            precondition(place == flow, "a number leads to its flow")
        }
        for link in livingLinks {
            precondition(!links[link].isListed, "every link has been seen to")
            if let deadline = links[link].deadline {
                precondition(links[link].armed.map { $0 <= deadline } ?? false, "a link's timer is armed")
            }
            if let flow = links[link].flow {
                precondition(livingFlows.contains(flow) && flows[flow].link == link, "a link's flow has that link")
            }
            for flow in links[link].channel?.value.livingPlaces ?? [] {
                precondition(livingFlows.contains(flow) && flows[flow].link == link && flows[flow].number != 0)
            }
            precondition(links[link].use != .dedicated(flow: -1) || links[link].establishedAt == nil)
        }
    }
}

extension GroupEnd where Side == ServerSide, Output: ~Copyable {
    mutating func check(_ limits: TunnelBounds) {
        checkTables()
        var (beside, up) = (0, 0)
        for link in links.living {
            if links[link].keys.hasNext { beside += 1 }
            if links[link].establishedAt != nil { up += 1 }
            precondition(side.peers.place(of: peer(of: link)) == link, "an address leads to its link")
        }
        precondition(beside == side.successors && up == side.established, "what is counted is there")
        precondition(up <= limits.associations, "max_associations")
        precondition(links.count(in: .handshaking) + side.successors <= limits.handshakes, "max_handshakes")
        for member in members.indices {
            precondition(flows.count(in: .flows(of: member)) <= limits.flows, "max_flows")
        }
        for flow in flows.living { precondition(flows[flow].link >= 0, "a server's flow has a link") }
    }
}

extension GroupEnd where Side == ClientSide, Output: ~Copyable {
    mutating func check(_ limits: TunnelBounds) {
        checkTables()
        for link in links.living {
            precondition(link == side.common || links[link].flow != nil, "a link is somebody's")
        }
        precondition(side.common < 0 || links.living.contains(side.common), "the common link lives")
        for member in members.indices {
            precondition(flows.count(in: .flows(of: member)) <= limits.flows, "max_flows")
        }
    }
}

/// The largest limits that a group has had.
struct TunnelBounds {
    var flows = 0
    var associations = 0
    var handshakes = 0
}

/// What came to a group, for the balance of what became of it (Tests/SimulatorTests/SimulatedTunnels.swift has the same).
struct Arrivals {
    var plaintext: UInt64 = 0
    var datagrams: UInt64 = 0
    var records: UInt64 = 0

    mutating func take(_ datagram: [UInt8]) {
        datagrams += 1
        var offset = 0
        while let header = RecordHeader(datagram.bytes, at: offset) {
            records += 1
            offset += RecordHeader.size + header.length
        }
        if offset < datagram.count || datagram.isEmpty { records += 1 }
    }

    /// Nothing may be counted twice; nor vanish without a count, once nothing waits any more.
    func check(_ tallies: [MemberTally], isClosed: Bool) {
        var counters = TunnelCounters()
        for tally in tallies { counters.add(tally.counters) }
        precondition((counters.receivedOut, counters.receivedIn) == (plaintext, datagrams))
        precondition(counters.records <= records, "\(counters.records) of \(records) records")
        let accounted =
            counters.datagramsIn + counters.datagramsOut + counters.control + counters.drops.beforeCarried
        let all = plaintext + counters.records
        let reasons = DropReason.allCases.filter { counters.drops[$0] > 0 }.map { "\($0.name) \(counters.drops[$0])" }
        precondition(
            isClosed ? accounted == all : accounted <= all,
            """
            \(plaintext) datagrams and \(counters.records) records came, \(accounted) are accounted for: in \
            \(counters.datagramsIn), out \(counters.datagramsOut), control \(counters.control), \(reasons)
            """)
    }
}
