// What happens in a tunnel, told in lines that say who, what, why and what to do.

import Configuration
import Control
import DTLS
import Glibc
import LinuxIO
import Logging
import OpenSSL
import Settings
import Tunnel
import Wire

/// One tunnel's log on one worker: of each event the level, the sentence and the fields.
final class TunnelLog: Sendable {
    private let log: DaemonLog
    private let forward: String
    private let isBoundByAssociations: Bool

    /// The log of one tunnel.
    convenience init(_ plan: TunnelPlan, _ log: DaemonLog) { self.init(of: plan, log.of(tunnel: plan.name)) }

    /// The log of what concerns all tunnels of a group.
    convenience init(_ plan: GroupPlan, _ log: DaemonLog) {
        self.init(of: plan.first, log.of(tunnels: plan.tunnels.map(\.name)))
    }

    private convenience init(of plan: TunnelPlan, _ log: DaemonLog) {
        let limits = plan.settings.limits
        self.init(
            log, forward: "\(plan.settings.forward.value)",
            isBoundByAssociations: limits.maximumAssociations < limits.maximumFlows)
    }

    /// `log` is the tunnel's; `forward` is the name that is resolved. With `isBoundByAssociations` it is `max_associations`
    /// that bounds the flows.
    init(_ log: DaemonLog, forward: String, isBoundByAssociations: Bool) {
        self.log = log
        self.forward = forward
        self.isBoundByAssociations = isBoundByAssociations
    }

    /// Tells how a resolution went.
    func resolved(_ result: Result<[Endpoint], ResolutionError>) {
        switch result {
        case .success(let addresses):
            log.write(.debug, "resolved \(forward): \(addresses.map(\.description).joined(separator: ", "))")
        case .failure(let error):
            log.tell(.unresolved, .warning, "resolution", "cannot resolve \(error)", ["host": error.host])
        }
    }

    /// Tells that nobody listens at `remote`, as ICMP has it, which may be anybody's word.
    func refused(by remote: Endpoint?) {
        guard let remote else { return }
        log.tell(
            .unreachable, .notice, "\(remote)",
            "nothing listens at \(remote), or a firewall refuses (ICMP unreachable)", ["peer": "\(remote)"])
    }

    /// Tells that this host does not send what is to go to `remote`, or to somebody at a listener where that is nil.
    func notSent(_ code: CInt, to remote: Endpoint?) {
        // What ICMP says comes this way, too.
        if code == ECONNREFUSED { return refused(by: remote) }
        let advice =
            switch code {
            case EPERM, EACCES: "this host's firewall refuses it: look at its rules for what goes out"
            case ENETUNREACH, EHOSTUNREACH: "look at this host's routes, and whether its link is up"
            case EINVAL, EADDRNOTAVAIL: "this host's address may have changed"
            default: "look at this host's network"
            }
        let error = SystemError(code, "send", remote.map { "to \($0)" })
        log.tell(
            .unreachable, .warning, "\(remote.map { "\($0)" } ?? "") \(code)", "\(error); \(advice)",
            ["peer": remote.map { "\($0)" } ?? "", "reason": "\(error)"].filter { !$0.value.isEmpty })
    }

    /// Tells that a socket could not be read, and that it is tried again.
    func failedToRead(_ error: SystemError) {
        log.tell(
            .noSocket, .error, "\(error)",
            "cannot read a socket: \(error); it is tried again each second, and datagrams are lost until then",
            ["reason": "\(error)"])
    }

    /// Makes an engine, or tells why there is none.
    func engine<Engine>(_ make: () throws(OpenSSLError) -> Engine) -> Engine? {
        do {
            return try make()
        } catch {
            log.tell(.handshakeUnavailable, .error, "\(error)", "cannot begin a handshake: \(error)")
            return nil
        }
    }

    /// Tells an event; `association` is the id of the association that it is about.
    func tell(_ event: TunnelEvent, association: String? = nil) {
        let log = log.about(association)
        switch event {
        case .established, .handshakeFailed, .unanswered, .refused, .ended, .rekeyed, .dedicatedMode, .cannotShare:
            tellOfAssociation(event, log)
        case .serviceRefused, .serviceAccepted, .serviceDenied: tellOfService(event, log)
        case .unresolved(let name, let retryIn):
            log.tell(
                .unresolved, .warning, "unresolved", "\(event.text); next attempt in \(Self.text(retryIn))",
                ["host": name])
        case .oversize(let sender, let byteCount, let fate):
            tellOversize(sender, byteCount, fate, log)
        case .pathMTUChanged(let peer, let path, let before, let maximumDatagram):
            let change = before.map { "changed from \($0) to \(path.current)" } ?? "is \(path.current)"
            log.tell(
                .pathMTU, before == nil ? .debug : .info, "\(peer) \(path.current)",
                "path MTU to \(peer) \(change) (\(path.state.rawValue)): datagrams of up to \(maximumDatagram) bytes go in one packet",
                ["peer": "\(peer)", "path_mtu": "\(path.current)", "max_datagram": "\(maximumDatagram)"])
        case .expired(let endpoint):
            log.tell(.expired, .debug, "\(endpoint)", "flow of \(endpoint) expired", ["sender": "\(endpoint)"])
        case .limit(let limit, let evicted):
            // In plain mode a client has as many associations as flows; the smaller of the two settings was reached.
            let setting = limit == .flows && isBoundByAssociations ? TunnelLimit.associations : limit
            let effect =
                evicted.map { "\($0), idle for the longest, gave way" } ?? "none is idle, so a new one was refused"
            log.tell(
                .limit, .warning, "\(limit)",
                "\(setting.rawValue) is reached: \(effect); raise it if this load is expected",
                ["limit": setting.rawValue])
        case .noSocket(let remote):
            log.tell(
                .noSocket, .error, "", event.text, ["peer": "\(remote)"])
        }
    }

    /// Tells what becomes of an association.
    private func tellOfAssociation(_ event: TunnelEvent, _ log: DaemonLog) {
        switch event {
        case .established(let peer, let sender, let description):
            let by = sender.map { " for \($0)" } ?? ""
            let milliseconds = description.handshakeDuration.nanoseconds / 1_000_000
            var fields = [
                "peer": "\(peer)", "identity": "\(description.peer)", "cipher": description.cipherSuite,
                "handshake_ms": "\(milliseconds)",
            ]
            fields["sender"] = sender?.description
            // A peer that refuses every time lets every handshake finish.
            log.tell(
                .established, .info, "\(peer)\(by)",
                "association with \(peer) established\(by): \(description.peer), \(description.cipherSuite), \(milliseconds) ms",
                fields)
        case .handshakeFailed(let peer, let failure, let retryIn):
            let next = retryIn.map { "; next attempt in \(Self.text($0))" } ?? ""
            log.tell(
                .handshakeFailed, .warning, "\(peer.address) \(failure.explanation)",
                "\(event.text)\(next)",
                ["peer": "\(peer)", "reason": failure.explanation])
        case .unanswered(let peer):
            log.tell(.handshakeFailed, .warning, "\(peer.address) unanswered", event.text, ["peer": "\(peer)"])
        case .refused(let peer, let identity, let denial):
            log.tell(
                .refused, .warning, "\(denial == .source ? "\(peer.address)" : "\(identity)")", event.text,
                ["peer": "\(peer)", "identity": "\(identity)"])
        case .ended(let peer, let identity, let end, let retryIn):
            var fields = ["peer": "\(peer)", "reason": end.text]
            fields["identity"] = identity?.description
            log.tell(.ended, end.isRefusal ? .warning : .info, "\(peer) \(end)", event.text, fields)
            if let retryIn {
                log.tell(
                    .reconnecting, .info, "\(peer)", "reconnecting to \(peer) in \(Self.text(retryIn))",
                    ["peer": "\(peer)", "retry_in_ms": "\(retryIn.nanoseconds / 1_000_000)"])
            }
        case .rekeyed(let peer, let description):
            log.tell(
                .rekeyed, .info, "\(peer)",
                "association with \(peer) has new keys: \(description.peer), \(description.cipherSuite)",
                ["peer": "\(peer)", "identity": "\(description.peer)", "cipher": description.cipherSuite])
        case .dedicatedMode(let peer):
            log.tell(
                .modeChanged, .info, "\(peer)", "\(peer) has no shared mode: each flow gets an association of its own",
                ["peer": "\(peer)", "mode": "plain"])
        case .cannotShare(let peer):
            log.tell(
                .sharedRefused, .warning, "\(peer.address)",
                event.text,
                ["peer": "\(peer)", "reason": "no shared mode"])
        default: break
        }
    }

    /// Tells whether a service is given.
    private func tellOfService(_ event: TunnelEvent, _ log: DaemonLog) {
        switch event {
        case .serviceRefused(let service, let reason):
            log.tell(
                .serviceRefused, .warning, "\(service) \(reason)",
                "the peer does not give the service '\(service)': \(reason); \(Self.advice(reason))",
                ["service": service, "reason": "\(reason)"])
        case .serviceAccepted(let service):
            log.tell(
                .serviceAccepted, .notice, service, "the peer gives the service '\(service)' now", ["service": service])
        case .serviceDenied(let peer, let identity, let service, let reason):
            var fields = ["peer": "\(peer)", "service": service, "reason": "\(reason)"]
            fields["identity"] = identity?.description
            let who = identity.map { " (\($0))" } ?? ""
            log.tell(
                .serviceDenied, .warning, "\(peer.address) \(reason)",
                "denied \(peer)\(who) the service '\(service)': \(reason)", fields)
        default: break
        }
    }

    private func tellOversize(
        _ sender: Endpoint, _ byteCount: Int, _ fate: DatagramFate, _ log: DaemonLog
    ) {
        let (what, limit) =
            switch fate {
            case .whole: ("carried", byteCount)
            case .fragmented(let limit): ("fragmented", limit)
            case .dropped(let limit): ("dropped", limit)
            }
        let reason =
            limit == RecordHeader.maximumPlaintextLength
            ? "a DTLS record carries at most" : "one packet of the path carries"
        log.tell(
            .oversize, .warning, "\(sender)",
            "\(what) a datagram of \(byteCount) bytes from \(sender): \(reason) \(limit); make the application send at most that",
            ["sender": "\(sender)", "datagram": "\(byteCount)", "max_datagram": "\(limit)", "fate": what])
    }

    private static func advice(_ reason: CloseReason) -> String {
        switch reason {
        case .unknownService: "set 'service' here to a name that the peer has, or add the tunnel there"
        case .forbidden: "the peer's allow_peers or allow_from has to let this end in"
        case .limit: "the peer's max_flows is reached"
        case .unreachable: "the peer cannot reach its application"
        default: "ask the peer's administrator"
        }
    }

    private static func text(_ duration: Duration) -> String {
        let milliseconds = duration.nanoseconds / 1_000_000
        return milliseconds < 1000 ? "\(milliseconds) ms" : "\((milliseconds + 500) / 1000) s"
    }
}
