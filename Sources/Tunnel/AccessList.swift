// Who may have an association: by source address before anything is spent on it, by proven identity afterwards.

import DTLS
public import Wire

/// One line of `allow_peers`.
public enum PeerRule: Hashable, Sendable {
    /// A DNS name of the certificate; a leading `*.` stands for exactly one label (RFC 6125 §6.4.3). Lower case.
    case dns(String)
    /// The certificate subject's common name.
    case commonName(String)
    /// An IP address of the certificate.
    case address(IPAddress)
    /// SHA-256 of the certificate's SubjectPublicKeyInfo.
    case publicKey([UInt8])
    /// A pre-shared key's identity.
    case psk(String)

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

/// What keeps a peer out, by the name of the setting.
public enum AccessDenial: String, Sendable {
    /// Its address is in none of the prefixes.
    case source = "allow_from"
    /// Its identity fits none of the rules.
    case identity = "allow_peers"
}

/// Who may have an association. Empty lists allow everybody.
public struct AccessList: Sendable {
    /// Source addresses, one of which has to contain the peer's.
    public var sources: [IPPrefix]
    /// Rules, one of which the peer's identity has to fit.
    public var peers: [PeerRule]

    /// Makes a list.
    public init(sources: [IPPrefix] = [], peers: [PeerRule] = []) {
        self.sources = sources
        self.peers = peers
    }

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
