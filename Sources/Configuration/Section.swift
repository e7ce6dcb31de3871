// The keys of each section: what may stand where. It serves the search for unknown keys and the hints about them.

/// A kind of table in the configuration.
enum Section: CaseIterable {
    case root, daemon, identity, trust, tunnel, reconnect, heartbeat, mtu

    /// Every key that the section knows.
    var keys: [String] {
        switch self {
        case .root: ["daemon", "identity", "trust", "tunnel"]
        case .daemon: ["workers", "control_socket", "metrics_listen", "log_level", "log_format"]
        case .identity: ["certificate", "private_key", "psk_identity", "psk_file"]
        case .trust: ["ca", "crl", "pins", "psk_file"]
        case .tunnel:
            [
                "name", "listen", "forward", "identity", "trust", "server_name", "cookie_exchange",
                "require_client_certificate", "ciphers", "require_extended_master_secret", "allow_from", "allow_peers",
                "flow_timeout", "max_flows", "max_associations", "max_handshakes", "oversize", "reconnect",
                "heartbeat", "mtu", "sharing", "service", "connect", "log_level",
            ]
        case .reconnect: ["minimum", "maximum"]
        case .heartbeat: ["interval", "timeout", "retries", "answer"]
        case .mtu: ["discover", "minimum", "maximum", "interval"]
        }
    }

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
