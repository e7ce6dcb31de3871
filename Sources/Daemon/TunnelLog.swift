// What happens in a tunnel, told in lines that say who, what, why and what to do.

import Configuration
import DTLS
import LinuxIO
import Logging
import OpenSSL
import Synchronization
import Tunnel
import Wire

/// One tunnel's log on one worker.
final class TunnelLog: Sendable {
    private let log: DaemonLog
    private let forward: String
    private let isBoundByAssociations: Bool
    private let throttle = Mutex(LogThrottle())

    init(_ plan: TunnelPlan, _ log: DaemonLog) {
        self.log = log.of(tunnel: plan.name)
        forward = "\(plan.settings.forward.value)"
        isBoundByAssociations = plan.settings.maxAssociations < plan.settings.maxFlows
    }

    /// Tells of everything that a core has to tell.
    func tell(_ events: [TunnelEvent]) {
        for event in events { tell(event) }
    }

    /// Tells how a resolution went.
    func resolved(_ result: Result<[Endpoint], ResolutionError>) {
        switch result {
        case .success(let addresses):
            log.write(.debug, "resolved \(forward): \(addresses.map(\.description).joined(separator: ", "))")
        case .failure(let error):
            say(.warning, "resolution", "cannot resolve \(error)")
        }
    }

    /// Tells that nobody listens at `remote`, as ICMP has it, which may be anybody's word.
    func refused(by remote: Endpoint?) {
        guard let remote else { return }
        say(.notice, "refused \(remote)", "nothing listens at \(remote), or a firewall refuses (ICMP unreachable)")
    }

    /// Makes an engine, or tells why there is none.
    func engine<Engine>(_ make: () throws(OpenSSLError) -> Engine) -> Engine? {
        do {
            return try make()
        } catch {
            say(.error, "engine", "cannot begin a handshake: \(error)")
            return nil
        }
    }

    private func tell(_ event: TunnelEvent) {
        switch event {
        case .established(let peer, let sender, let description):
            let by = sender.map { " for \($0)" } ?? ""
            let milliseconds = description.handshakeDuration.nanoseconds / 1_000_000
            // A peer that refuses every time lets every handshake finish.
            say(
                .info, "established \(peer) \(by)",
                "association with \(peer) established\(by): \(description.peer), \(description.cipherSuite), \(milliseconds) ms",
                ["event": "established", "peer": "\(peer)", "identity": "\(description.peer)"])
        case .handshakeFailed(let peer, let failure, let retryIn):
            let next = retryIn.map { "; next attempt in \(Self.text($0))" } ?? ""
            say(
                .warning, "failed \(peer.address) \(failure)", "handshake with \(peer) failed: \(failure)\(next)",
                ["event": "handshake_failed", "peer": "\(peer)"])
        case .refused(let peer, let identity):
            say(
                .warning, "refused \(identity)",
                "refused \(peer): \(identity) is not in allow_peers; add it there if it should be let in",
                ["event": "refused", "peer": "\(peer)", "identity": "\(identity)"])
        case .ended(let peer, let identity, let end):
            let who = identity.map { " (\($0))" } ?? ""
            log.write(
                .info, "association with \(peer)\(who) ended: \(Self.text(end))",
                ["event": "ended", "peer": "\(peer)"])
        case .unresolved(let name, let retryIn):
            say(.warning, "unresolved", "no address for \(name); next attempt in \(Self.text(retryIn))")
        case .oversize(let sender, let byteCount, let fate):
            tellOversize(sender, byteCount, fate)
        case .pathMTUChanged(let peer, let path, let before, let maximumDatagram):
            let change = before.map { "changed from \($0) to \(path.current)" } ?? "is \(path.current)"
            log.write(
                before == nil ? .debug : .info,
                "path MTU to \(peer) \(change) (\(path.state.rawValue)): datagrams of up to \(maximumDatagram) bytes go in one packet",
                ["event": "path_mtu", "peer": "\(peer)", "path_mtu": "\(path.current)"])
        case .expired(let endpoint):
            log.write(.debug, "flow of \(endpoint) expired", ["event": "expired", "flow": "\(endpoint)"])
        case .limit(let limit, let evicted):
            // In plain mode a client has as many associations as flows; the smaller of the two settings was reached.
            let setting = limit == .flows && isBoundByAssociations ? TunnelLimit.associations : limit
            let effect =
                evicted.map { "\($0), idle for the longest, gave way" } ?? "none is idle, so a new one was refused"
            say(
                .warning, "limit \(limit)",
                "\(setting.rawValue) is reached: \(effect); raise it if this load is expected",
                ["event": "limit"])
        case .noSocket(let remote):
            say(.error, "socket", "cannot open a socket to \(remote): out of file descriptors, or no route to it")
        }
    }

    private func tellOversize(_ sender: Endpoint, _ byteCount: Int, _ fate: DatagramFate) {
        let (what, limit) =
            switch fate {
            case .whole: ("carried", byteCount)
            case .fragmented(let limit): ("fragmented", limit)
            case .dropped(let limit): ("dropped", limit)
            }
        // Of the datagrams alone, the subject makes one line a flow and minute.
        let reason =
            limit == RecordHeader.maximumPlaintextLength
            ? "a DTLS record carries at most" : "one packet of the path carries"
        say(
            .warning, "oversize \(sender)",
            "\(what) a datagram of \(byteCount) bytes from \(sender): \(reason) \(limit); make the application send at most that",
            ["event": "oversize"])
    }

    private func say(
        _ level: LogLevel, _ subject: String, _ text: @autoclosure () -> String, _ fields: [String: String] = [:]
    ) {
        let now = Instant(nanoseconds: MonotonicClock.now)
        guard let line = throttle.withLock({ $0.admit(subject, text(), now: now) }) else { return }
        log.write(level, line, fields)
    }

    private static func text(_ duration: Duration) -> String {
        let milliseconds = duration.nanoseconds / 1_000_000
        return milliseconds < 1000 ? "\(milliseconds) ms" : "\((milliseconds + 500) / 1000) s"
    }

    private static func text(_ end: AssociationEnd) -> String {
        switch end {
        case .handshakeFailed(let failure): "\(failure)"
        case .closedByPeer: "the peer closed it"
        case .alert(let alert): "the peer sent alert \(alert)"
        case .closed: "closed by this end"
        case .exhausted: "all sequence numbers are used"
        case .unanswered: "the peer is gone: it answers no heartbeats"
        }
    }
}
