// Who may do what. On the control socket everybody who can open it may read; changes are for root, for the daemon's own
// user and for members of its own group, by the credentials that the kernel keeps for the peer (unix(7)), which no
// client can forge. Over TCP clients cannot be told apart, so nothing may be changed there. A page of another site in a
// user's browser must not read either: a name that the site makes resolve to this address (DNS rebinding) is not one
// that requests may name.

internal import Glibc
internal import NIOCore
internal import NIOHTTP1

/// Whose requests are answered.
enum Admission: Sendable {
    /// The peers of a Unix socket.
    case localPeers(PeerRule)
    /// Anybody who can connect, for requests that name an address, `localhost` or this host.
    case readers(host: String)

    /// What is wrong with a request, whatever it asks for.
    func problem(with head: HTTPRequestHead) -> Problem? {
        guard case .readers(let host) = self else { return nil }
        let fields = head.headers["Host"]
        // Every browser names a host; old programs need not.
        if fields.isEmpty, head.version == .http1_0 { return nil }
        guard fields.count == 1 else { return .badRequest("A request names one host.") }
        guard let name = Self.name(ofHost: fields[0]) else { return .badRequest("This is not a host.") }
        if name == "localhost" || name == host.lowercased() || Self.isAddress(name) { return nil }
        return Problem(
            status: 421, title: "Misdirected Request",
            detail: "This server answers to its address, to localhost and to the name in metrics_listen.")
    }

    /// Whether the peer may change things.
    func mayChange(_ channel: any Channel) -> EventLoopFuture<Bool> {
        guard case .localPeers(let rule) = self, let options = channel as? any SocketOptionProvider else {
            return channel.eventLoop.makeSucceededFuture(false)
        }
        return options.peerCredentials().flatMap { peer in
            if rule.allows(user: peer.user, group: peer.group) {
                return channel.eventLoop.makeSucceededFuture(true)
            }
            return options.peerGroups().map { groups in rule.allows(groups: groups) }
                .flatMapErrorThrowing { _ in false }
        }
    }

    /// What a peer that may not change things is told.
    static let forbidden = Problem(
        status: 403, title: "Forbidden",
        detail: "Only root, the daemon's own user and members of its group may change things; try sudo.")

    /// The host of a Host field (RFC 9110 §7.2) in lower case, without the port; an IPv6 address without its brackets.
    private static func name(ofHost field: String) -> String? {
        var rest = field[...]
        let name: Substring
        if rest.first == "[" {
            guard let end = rest.firstIndex(of: "]") else { return nil }
            name = rest[rest.index(after: rest.startIndex)..<end]
            rest = rest[rest.index(after: end)...]
        } else {
            name = rest.prefix { $0 != ":" }
            rest = rest[name.endIndex...]
        }
        guard rest.isEmpty || (rest.first == ":" && rest.dropFirst().utf8.allSatisfy { 0x30...0x39 ~= $0 }) else {
            return nil
        }
        return name.isEmpty ? nil : name.lowercased()
    }

    private static func isAddress(_ name: String) -> Bool {
        (try? SocketAddress(ipAddress: name, port: 0)) != nil
    }
}

/// Which local users may change things.
struct PeerRule: Sendable {
    /// The daemon's user.
    var user: UInt32
    /// The daemon's group.
    var group: UInt32

    /// The rule for this process.
    static var ownProcess: PeerRule { PeerRule(user: geteuid(), group: getegid()) }

    /// Whether this user, or its primary group, is enough.
    func allows(user: UInt32, group: UInt32) -> Bool {
        user == 0 || user == self.user || group == self.group
    }

    /// Whether one of the supplementary groups is enough. Group 0 never is: a list of groups ends in zeros.
    func allows(groups: PeerGroups) -> Bool {
        guard group != 0 else { return false }
        return groups.indices.contains { groups[$0] == group }
    }
}

/// Supplementary groups, zeros after the last. A peer with more has none, which errs on the safe side.
typealias PeerGroups = [1024 of UInt32]

extension SocketOptionProvider {
    /// SO_PEERCRED: who connected.
    fileprivate func peerCredentials() -> EventLoopFuture<(process: Int32, user: UInt32, group: UInt32)> {
        // `struct ucred` of unix(7): three numbers of 32 bits each.
        unsafeGetSocketOption(level: .socket, name: .init(rawValue: SO_PEERCRED))
    }

    /// SO_PEERGROUPS: in which other groups.
    fileprivate func peerGroups() -> EventLoopFuture<PeerGroups> {
        // Not among Glibc's constants that Swift sees on every version; the number is the kernel's interface.
        unsafeGetSocketOption(level: .socket, name: .init(rawValue: 59))
    }
}
