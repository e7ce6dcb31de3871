// The sections of a file, for the search for unknown keys and the hints about them.

/// A kind of table in the configuration.
enum Section: CaseIterable {
    case root, daemon, identity, trust, tunnel, reconnect, heartbeat, mtu

    /// Every key that the section knows.
    var keys: [String] { Self.allKeys[self] ?? [] }

    private static let allKeys: [Section: [String]] = [
        .root: ["daemon", "identity", "trust", "tunnel"],
        .daemon: KeyTable.daemon.map(\.name),
        .identity: KeyTable.identity.map(\.name),
        .trust: KeyTable.trust.map(\.name),
        .tunnel: KeyTable.tunnel.map(\.name),
        .reconnect: KeyTable.reconnect.map(\.name),
        .heartbeat: KeyTable.heartbeat.map(\.name),
        .mtu: KeyTable.mtu.map(\.name),
    ]

    /// How the section is written in a file.
    var heading: String {
        switch self {
        case .root: "the top level"
        case .daemon: "[daemon]"
        case .identity: "[identity.NAME]"
        case .trust: "[trust.NAME]"
        case .tunnel: "[[tunnel]]"
        case .reconnect: "[tunnel.reconnect]"
        case .heartbeat: "[tunnel.heartbeat]"
        case .mtu: "[tunnel.mtu]"
        }
    }

    /// What to do about `key`, which this section does not know; empty when nothing comes near.
    func hint(forUnknown key: String) -> String {
        let others = Section.allCases.filter { $0 != self }
        let homes = others.filter { $0.keys.contains(key) }.map(\.heading)
        if !homes.isEmpty { return "; \(quoted(key)) belongs in \(homes.joined(separator: " or "))" }
        if let near = SpellingSuggestion.nearest(to: key, among: keys) { return "; did you mean '\(near)'?" }
        for other in others {
            if let near = SpellingSuggestion.nearest(to: key, among: other.keys) {
                return "; did you mean '\(near)', which belongs in \(other.heading)?"
            }
        }
        return ""
    }
}
