// One line of `allow_peers` as text. Parser and printer are side by side; matching is in `Tunnel`, which knows what a
// peer has proven.

public import Settings
import Wire

extension PeerRule {
    /// Why a text is not a rule.
    public struct ParseError: Error, Hashable {
        /// What is wrong and what to do.
        public let message: String
    }
}

extension PeerRule: CustomStringConvertible {
    /// Reads `DNS:*.example.net`, `CN:edge-7`, `IP:192.0.2.1`, `sha256:…` or `psk:branch-7`.
    public init(parsing text: String) throws(ParseError) {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2 else {
            throw ParseError(message: "\(quoted(text)) lacks its kind; write DNS:, CN:, IP:, sha256: or psk: in front")
        }
        guard !parts[1].isEmpty else { throw ParseError(message: "nothing follows the kind in \(quoted(text))") }
        guard !text.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) else {
            throw ParseError(message: "\(quoted(text)) holds a control character")
        }
        switch parts[0].lowercased() {
        case "dns": self = .dns(try Self.dnsName(parts[1]))
        case "cn": self = .commonName(String(parts[1]))
        case "ip":
            guard let address = IPAddress(parts[1]) else {
                throw ParseError(message: "\(quoted(parts[1])) is not an IP address")
            }
            self = .address(address)
        case "sha256":
            guard let bytes = PublicKeyPin.bytes(text) else {
                throw ParseError(message: "\(quoted(text)) is not a pin: \(PublicKeyPin.form)")
            }
            self = .publicKey(bytes)
        case "psk":
            guard parts[1].utf8.count <= IdentitySettings.maximumPSKIdentityLength else {
                throw ParseError(
                    message: "a PSK identity has at most \(IdentitySettings.maximumPSKIdentityLength) bytes")
            }
            self = .psk(String(parts[1]))
        default:
            throw ParseError(message: "unknown kind \(quoted(parts[0])); it is DNS, CN, IP, sha256 or psk")
        }
    }

    /// The form that `init(parsing:)` reads.
    public var description: String {
        switch self {
        case .dns(let name): "DNS:\(name)"
        case .commonName(let name): "CN:\(name)"
        case .address(let address): "IP:\(address)"
        case .publicKey(let bytes): PublicKeyPin.text(bytes)
        case .psk(let identity): "psk:\(identity)"
        }
    }

    private static func dnsName(_ text: Substring) throws(ParseError) -> String {
        let hasWildcard = text.hasPrefix("*.")
        let rest = String(hasWildcard ? text.dropFirst(2) : text)
        guard !rest.contains("*") else {
            let rule = "'*' may only be the whole first label, as in DNS:*.example.net"
            throw ParseError(message: "\(quoted(text)) is not supported: \(rule)")
        }
        guard let host = try? TransportAddress.Host(parsing: rest), case .name(let name) = host else {
            throw ParseError(message: "\(quoted(text)) is not a DNS name")
        }
        return hasWildcard ? "*.\(name)" : name
    }
}
