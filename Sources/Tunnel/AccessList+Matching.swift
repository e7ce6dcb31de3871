// Who may have an association: by source address before anything is spent on it, by proven identity afterwards.

import DTLS
import Settings
import Wire

extension AccessList {
    func allows(_ source: IPAddress) -> Bool {
        sources.isEmpty || sources.contains { $0.contains(source) }
    }

    func allows(_ peer: PeerIdentity) -> Bool {
        peers.isEmpty || peers.contains { $0.matches(peer) }
    }

    /// What keeps a peer at an address out; nil where it is let in.
    func denial(of peer: PeerIdentity, at source: IPAddress) -> AccessDenial? {
        !allows(peer) ? .identity : !allows(source) ? .source : nil
    }
}

extension PeerRule {
    /// Whether a peer fits the rule.
    func matches(_ peer: PeerIdentity) -> Bool {
        switch self {
        case .dns(let pattern): peer.dnsNames.contains { PeerRule.matches(pattern, name: $0) }
        case .commonName(let name): peer.commonName == name
        case .address(let address): peer.addresses.contains(address)
        case .publicKey(let hash): peer.publicKeyHash == hash
        case .psk(let identity): peer.pskIdentity == identity
        }
    }

    private static func matches(_ pattern: String, name: String) -> Bool {
        guard pattern.hasPrefix("*.") else { return pattern == name }
        guard let dot = name.firstIndex(of: "."), dot != name.startIndex else { return false }
        return name[dot...] == pattern.dropFirst()
    }
}
