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
        for tunnel in tunnels {
            if let place = groups.firstIndex(where: { $0[0].shares(with: tunnel) }) {
                groups[place].append(tunnel)
            } else {
                groups.append([tunnel])
            }
        }
        return groups
    }
}

extension TunnelSettings {
    /// Whether both are of one group.
    func shares(with other: TunnelSettings) -> Bool {
        guard role == other.role else { return false }
        if role == .server { return listen.value == other.listen.value }
        return sharing != .never && forward.value == other.forward.value && differences(from: other).isEmpty
    }

    /// The keys that concern associations and in which the two differ: tunnels of one group must not.
    func differences(from other: TunnelSettings) -> [String] {
        var keys: [String] = []
        func compare<Value: Equatable>(_ key: String, _ value: (TunnelSettings) -> Value) {
            if value(self) != value(other) { keys.append(key) }
        }
        compare("identity") { $0.identity?.name }
        compare("trust") { $0.trust?.name }
        compare("sharing", \.sharing)
        compare("ciphers", \.ciphers)
        compare("require_extended_master_secret", \.requireExtendedMasterSecret)
        compare("heartbeat", \.heartbeat)
        compare("mtu", \.mtu)
        switch role {
        case .client:
            compare("server_name", \.serverName)
            compare("allow_peers", \.access.peers)
            compare("reconnect", \.reconnect)
            compare("connect", \.connect)
        case .server:
            compare("cookie_exchange", \.cookieExchange)
            compare("require_client_certificate", \.requireClientCertificate)
            compare("max_associations", \.limits.maximumAssociations)
            compare("max_handshakes", \.limits.maximumHandshakes)
        }
        return keys
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
        let differences = tunnel.differences(from: first)
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
