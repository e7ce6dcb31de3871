// Which tunnels share what. One DTLS endpoint serves a group: at a server's end all tunnels on one listen address, which
// are its services; at a client's end all tunnels to one peer whose association could be one and the same.

import Settings
import Wire

/// Tunnels that share associations, in the order of the configuration; at least one.
public typealias TunnelGroup = [TunnelSettings]

extension Configuration {
    /// The tunnels in groups, in the order of the groups' first tunnels.
    public var groups: [TunnelGroup] {
        var groups: [TunnelGroup] = []
        var places: [GroupBond: Int] = [:]
        for tunnel in tunnels {
            let bond = GroupBond(of: tunnel)
            if let place = bond.flatMap({ places[$0] }) {
                groups[place].append(tunnel)
            } else {
                if let bond { places[bond] = groups.count }
                groups.append([tunnel])
            }
        }
        return groups
    }
}

/// What the tunnels of one group have in common.
private enum GroupBond: Hashable {
    case client(TransportAddress, [String: EffectiveConfiguration.Value])
    case server(Endpoint)

    /// The bond of a tunnel; nil for one that is alone in its group.
    init?(of tunnel: TunnelSettings) {
        switch tunnel.role {
        case .server: self = .server(tunnel.listen.value)
        case .client where tunnel.sharing == .never: return nil
        case .client: self = .client(tunnel.forward.value, tunnel.agreements.table(of: tunnel).flat)
        }
    }
}

extension TunnelSettings {
    /// The keys that concern associations: tunnels of one group must not differ in them.
    fileprivate var agreements: [SettingKey<TunnelSettings>] { KeyTable.tunnel.filter { $0.agreeing.contains(role) } }

    /// Those in which the two differ.
    fileprivate func disagreements(with other: TunnelSettings) -> [String] {
        agreements.filter { [$0].table(of: self) != [$0].table(of: other) }.map(\.name)
    }
}

/// Checks within groups.
enum GroupChecks {
    static func run(_ tunnels: [TunnelSettings], log: DiagnosticLog) {
        let servers = Dictionary(grouping: tunnels.filter { $0.role == .server }, by: \.listen.value)
        for group in servers.values where group.count > 1 {
            for (place, tunnel) in group.enumerated().dropFirst() {
                check(tunnel, against: group[..<place], log: log)
            }
        }
    }

    private static func check(_ tunnel: TunnelSettings, against others: ArraySlice<TunnelSettings>, log: DiagnosticLog)
    {
        guard let first = others.first else { return }
        let at = tunnel.locatedName.location
        let differences = tunnel.disagreements(with: first)
        if !differences.isEmpty {
            let keys = differences.map { "'\($0)'" }.joined(separator: ", ")
            log.error(
                "tunnel '\(tunnel.name)' and tunnel '\(first.name)' (\(first.locatedName.location)) share \(tunnel.listen.value), and so must have the same \(keys)",
                at: at)
        }
        if let twin = others.first(where: { $0.service == tunnel.service }) {
            log.error(
                "tunnel '\(tunnel.name)' has the same 'service' on \(tunnel.listen.value) as tunnel '\(twin.name)' (\(twin.locatedName.location))",
                at: at)
        }
        if let name = tunnel.serverName, let twin = others.first(where: { $0.serverName == name }) {
            log.error(
                "tunnel '\(tunnel.name)' has the same 'server_name' on \(tunnel.listen.value) as tunnel '\(twin.name)' (\(twin.locatedName.location))",
                at: at)
        }
        if tunnel.sharing == .never, tunnel.serverName == nil {
            log.warning(
                "nobody can reach tunnel '\(tunnel.name)': without sharing, clients on \(tunnel.listen.value) get '\(first.name)' unless they name another; give 'server_name'",
                at: at)
        }
    }
}
