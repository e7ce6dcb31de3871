// The tables of tunnels, associations and flows: which columns there are, and which matter least when room is short.

import Control
import FoundationEssentials

/// Lists of the control API as tables.
enum StatusTables {
    /// All tunnels.
    static func tunnels(_ list: [TunnelStatus]) -> Table {
        var table = Table([
            .init("NAME", least: 8), .init("STATE"), .init("ROLE", rank: 5), .init("LISTEN", least: 22),
            .init("FORWARD", least: 22), .init("MODE", rank: 4), .init("PEERS", isNumeric: true, rank: 2),
            .init("FLOWS", isNumeric: true, rank: 3), .init("IN", isNumeric: true), .init("OUT", isNumeric: true),
            .init("BYTES IN", isNumeric: true, rank: 6), .init("BYTES OUT", isNumeric: true, rank: 6),
            .init("DROPPED", isNumeric: true, rank: 1),
        ])
        for one in list {
            table.add([
                .init(one.name), .init(one.state.rawValue, one.state.ink), .init(one.role.rawValue), .init(one.listen),
                .init(one.forward), .init(one.mode?.rawValue), .init("\(one.associations["established"] ?? 0)"),
                .init("\(one.flows)"), .init(Figures.count(one.datagrams.in)), .init(Figures.count(one.datagrams.out)),
                .init(Figures.bytes(one.bytes.in)), .init(Figures.bytes(one.bytes.out)), dropped(one.dropped),
            ])
        }
        return table
    }

    /// All associations.
    static func associations(_ list: [AssociationStatus], now: Date) -> Table {
        var table = Table([
            .init("ID"), .init("TUNNEL", rank: 3, least: 8), .init("STATE", rank: 4), .init("PEER", least: 21),
            .init("IDENTITY", rank: 2, least: 12), .init("RTT", isNumeric: true, rank: 1),
            .init("MTU", isNumeric: true, rank: 5), .init("IN", isNumeric: true), .init("OUT", isNumeric: true),
            .init("DROPPED", isNumeric: true, rank: 6), .init("FLOWS", isNumeric: true, rank: 8),
            .init("MODE", rank: 9), .init("UP", isNumeric: true, rank: 7), .init("CIPHER", rank: 10, least: 12),
        ])
        for one in list {
            table.add([
                .init(one.id), .init(one.tunnels.joined(separator: ",")), .init(one.state.rawValue, one.state.ink),
                .init(one.peerAddress), .init(one.peerIdentity),
                .init(one.heartbeat?.roundTrip.map { Figures.milliseconds($0.mean) }),
                .init(one.pathMTU.map { "\($0.out)" }), .init(Figures.count(one.datagrams.in)),
                .init(Figures.count(one.datagrams.out)), dropped(one.dropped), .init("\(one.flows)"),
                .init(one.mode.rawValue),
                .init(one.establishedAt.map { Figures.duration(now.timeIntervalSince($0)) }), .init(one.cipher),
            ])
        }
        return table
    }

    /// All flows.
    static func flows(_ list: [FlowStatus]) -> Table {
        var table = Table([
            .init("ID"), .init("TUNNEL", least: 8), .init("STATE"), .init("SENDER", least: 15),
            .init("PEER", rank: 2, least: 15), .init("IN", isNumeric: true), .init("OUT", isNumeric: true),
            .init("DROPPED", isNumeric: true, rank: 3), .init("IDLE", isNumeric: true, rank: 1),
            .init("ASSOCIATION", rank: 4), .init("SERVICE", rank: 5, least: 8), .init("MODE", rank: 7),
            .init("NUMBER", isNumeric: true, rank: 8), .init("BYTES IN", isNumeric: true, rank: 6),
            .init("BYTES OUT", isNumeric: true, rank: 6),
        ])
        for one in list {
            table.add([
                .init(one.id), .init(one.tunnel), .init(one.state.rawValue, one.state.ink), .init(one.sender),
                .init(one.peerAddress), .init(Figures.count(one.datagrams.in)),
                .init(Figures.count(one.datagrams.out)), dropped(one.dropped),
                .init(Figures.duration(Double(one.idleMilliseconds) / 1000)), .init(one.association),
                .init(one.service), .init(one.mode.rawValue), .init(one.flowID.map { "\($0)" }),
                .init(Figures.bytes(one.bytes.in)), .init(Figures.bytes(one.bytes.out)),
            ])
        }
        return table
    }

    private static func dropped(_ reasons: [String: UInt64]) -> Table.Cell {
        let total = reasons.total
        return Table.Cell(Figures.count(total), total > 0 ? .warning : .plain)
    }
}

extension [String: UInt64] {
    /// All reasons together.
    var total: UInt64 { values.reduce(0) { $0 &+ $1 } }
}

extension TunnelStatus.State {
    var ink: Ink {
        switch self {
        case .up: .good
        case .connecting: .warning
        case .idle: .plain
        case .down: .bad
        }
    }
}

extension AssociationStatus.State {
    var ink: Ink {
        switch self {
        case .established: .good
        case .resolving, .handshaking: .warning
        case .reconnecting: .bad
        case .idle: .plain
        }
    }
}

extension FlowStatus.State {
    var ink: Ink {
        switch self {
        case .open: .good
        case .opening, .waiting: .warning
        case .refused: .bad
        }
    }
}
