// A daemon without sockets of its own, whose control server answers with what a test gives it. It plays an administrator's
// ordinary day: syslog goes out to a collector, branches ask a RADIUS server, and an old CoAP peer does not answer.

import Control
import Foundation
import Synchronization
import TestSupport

/// What the daemon knows.
struct DaemonFacts: Sendable {
    var status: DaemonStatus
    var tunnels: [TunnelStatus]
    var associations: [AssociationStatus]
    var flows: [FlowStatus]
    var events: [ControlEvent] = []
    var reload = ReloadResult()
    /// Added to counters at each look, so that there are rates.
    var step: UInt64 = 0

    /// The ordinary day.
    static func ordinary(now: Date = Date()) -> DaemonFacts {
        let syslog = syslogTunnel
        let radius = radiusTunnel
        let coap = coapTunnel(now: now)
        let tunnels = [syslog, radius, coap]
        var status = DaemonStatus(
            version: "1.2.3", processID: 4242, startedAt: now - 273_900, uptimeSeconds: 273_900.5, workers: 2,
            openSSL: "OpenSSL 3.0.17", logLevel: "info")
        status.configuration = "/etc/culvert/culvert.toml"
        status.memoryBytes = 24_536_678
        status.tunnels = tunnels.map { tunnel in
            var summary = DaemonStatus.Summary(
                name: tunnel.name, role: tunnel.role, listen: tunnel.listen, forward: tunnel.forward,
                state: tunnel.state)
            summary.mode = tunnel.mode
            return summary
        }
        status.tunnels[0].protocols = ["DTLS 1.2"]
        status.tunnels[0].ciphers = ["ECDHE-ECDSA-AES128-GCM-SHA256"]
        status.tunnels[0].peers = 1
        status.tunnels[0].peerIdentities = ["DNS:collector.example.net"]
        status.tunnels[1].protocols = ["DTLS 1.2"]
        status.tunnels[1].ciphers = ["ECDHE-ECDSA-AES256-GCM-SHA384"]
        status.tunnels[1].peers = 2
        status.tunnels[1].peerIdentities = ["CN=branch-7", "CN=branch-9"]
        status.tunnels[2].problem = """
            198.51.100.40:5684 has not answered yet: check that it runs, its address and port, the firewalls between, \
            and a pre-shared key at both ends (for 4 minutes)
            """
        let associations = associations(now: now)
        status.associations = associations.count
        let flows = flows(now: now)
        status.flows = flows.count
        return DaemonFacts(
            status: status, tunnels: tunnels, associations: associations, flows: flows, events: events(now: now))
    }

    private static var syslogTunnel: TunnelStatus {
        var tunnel = TunnelStatus(
            name: "syslog", role: .client, listen: "udp://127.0.0.1:5514", forward: "dtls://collector.example.net:6514")
        tunnel.state = .up
        tunnel.mode = .shared
        tunnel.associations = ["established": 1]
        tunnel.flows = 2
        tunnel.datagrams = .init(in: 0, out: 1_845_020)
        tunnel.bytes = .init(in: 0, out: 402_214_000)
        return tunnel
    }

    private static var radiusTunnel: TunnelStatus {
        var tunnel = TunnelStatus(
            name: "radius", role: .server, listen: "dtls://[::]:2083", forward: "udp://127.0.0.1:1812")
        tunnel.state = .up
        tunnel.mode = .plain
        tunnel.associations = ["established": 2]
        tunnel.flows = 2
        tunnel.datagrams = .init(in: 8_120, out: 8_117)
        tunnel.bytes = .init(in: 1_461_600, out: 730_530)
        return tunnel
    }

    private static func coapTunnel(now: Date) -> TunnelStatus {
        var tunnel = TunnelStatus(
            name: "coap", role: .client, listen: "udp://[::1]:5683", forward: "dtls://198.51.100.40:5684")
        tunnel.state = .down
        tunnel.associations = ["reconnecting": 1]
        tunnel.flows = 1
        tunnel.certificate = CertificateStatus(subject: "CN=edge-7", notAfter: now + 5.5 * 86_400)
        return tunnel
    }

    private static func associations(now: Date) -> [AssociationStatus] {
        func association(
            _ id: String, _ tunnel: String, _ role: AssociationStatus.Role, _ peer: String, _ identity: String,
            _ cipher: String, rtt: Double, path: Int
        ) -> AssociationStatus {
            var one = AssociationStatus(id: id, tunnel: tunnel, role: role, state: .established, peerAddress: peer)
            one.peerIdentity = identity
            one.cipher = cipher
            one.establishedAt = now - 8_070
            one.heartbeat = .init(negotiated: true, localMode: "peer_allowed_to_send")
            one.heartbeat?.roundTrip = .init(last: rtt * 1.1, min: rtt * 0.9, mean: rtt)
            one.pathMTU = .init(out: path, state: "complete", probes: 12, maximumDatagram: path - 65)
            return one
        }
        var syslog = association(
            "syslog-0-0-1", "syslog", .client, "192.0.2.7:6514", "DNS:collector.example.net",
            "ECDHE-ECDSA-AES128-GCM-SHA256", rtt: 12.4, path: 1500)
        syslog.mode = .shared
        syslog.flows = 2
        syslog.datagrams = .init(in: 0, out: 1_845_020)
        var branch7 = association(
            "radius-1-0-1", "radius", .server, "203.0.113.77:40112", "CN=branch-7", "ECDHE-ECDSA-AES256-GCM-SHA384",
            rtt: 31.8, path: 1420)
        branch7.datagrams = .init(in: 5_100, out: 5_099)
        var branch9 = association(
            "radius-1-1-1", "radius", .server, "[2001:db8:9::2]:40000", "CN=branch-9", "ECDHE-ECDSA-AES256-GCM-SHA384",
            rtt: 0.42, path: 1280)
        branch9.datagrams = .init(in: 3_020, out: 3_018)
        branch9.dropped = ["replayed": 2]
        let coap = AssociationStatus(
            id: "coap-2-0-4", tunnel: "coap", role: .client, state: .reconnecting, peerAddress: "198.51.100.40:5684")
        return [syslog, branch7, branch9, coap]
    }

    private static func flows(now: Date) -> [FlowStatus] {
        func flow(
            _ id: String, _ tunnel: String, _ association: String, _ role: AssociationStatus.Role, _ sender: String,
            _ peer: String, _ state: FlowStatus.State
        ) -> FlowStatus {
            var one = FlowStatus(
                id: id, tunnel: tunnel, service: tunnel, role: role, mode: .plain, state: state, since: now - 8_000)
            one.association = association
            one.sender = sender
            one.peerAddress = peer
            one.idleMilliseconds = 4_200
            return one
        }
        var first = flow("syslog-0-0-2", "syslog", "syslog-0-0-1", .client, "127.0.0.1:48812", "192.0.2.7:6514", .open)
        first.mode = .shared
        first.flowID = 1
        first.datagrams = .init(in: 0, out: 1_840_000)
        return [
            first, flow("coap-2-0-4", "coap", "coap-2-0-4", .client, "[::1]:40001", "198.51.100.40:5684", .waiting),
        ]
    }

    private static func events(now: Date) -> [ControlEvent] {
        var established = ControlEvent(
            id: 1, time: Date(timeIntervalSince1970: 1_790_000_000), type: .established, level: "info",
            message: "established with 192.0.2.7:6514")
        established.tunnel = "syslog"
        established.tunnels = ["syslog"]
        var failed = ControlEvent(
            id: 2, time: Date(timeIntervalSince1970: 1_790_000_003), type: .handshakeFailed, level: "warning",
            message: "no answer from 198.51.100.40:5684")
        failed.tunnel = "coap"
        failed.tunnels = ["coap"]
        return [established, failed]
    }
}

/// The source of a control server.
final class FakeDaemon: ControlSource {
    /// What it knows; a test may change it.
    let facts: Mutex<DaemonFacts>
    /// What it was told to do, in order.
    let actions = Mutex<[String]>([])
    private let directory: TemporaryDirectory
    private let server = Mutex<ControlServer?>(nil)

    init(_ facts: DaemonFacts = .ordinary()) throws {
        self.facts = Mutex(facts)
        directory = try TemporaryDirectory()
        try start()
    }

    /// Serves, again after `stop`.
    func start() throws {
        let server = try ControlServer.start(path: socket, source: self)
        self.server.withLock { $0 = server }
    }

    func stop() {
        server.withLock { server in
            server?.stop()
            server = nil
        }
    }

    deinit { server.withLock { $0?.stop() } }

    /// The control socket.
    var socket: String { directory("control.sock") }

    private func note(_ action: String) { actions.withLock { $0.append(action) } }

    private func outcome<Value>(
        for id: String, _ value: (AssociationStatus) -> Value
    ) -> ControlOutcome<Value> {
        guard let one = facts.withLock({ $0.associations.first { $0.id == id } }) else { return .notFound }
        guard one.state == .established else { return .refused("The association is not established.") }
        return .done(value(one))
    }

    // MARK: ControlSource

    func readiness(_ give: @escaping @Sendable (Readiness) -> Void) { give(.ready) }

    func status(_ give: @escaping @Sendable (DaemonStatus) -> Void) { give(facts.withLock { $0.status }) }

    func tunnels(_ give: @escaping @Sendable ([TunnelStatus]) -> Void) {
        give(
            facts.withLock { facts in
                for index in facts.tunnels.indices where facts.tunnels[index].state == .up {
                    facts.tunnels[index].datagrams.out += facts.step
                }
                return facts.tunnels
            })
    }

    func associations(_ query: PageQuery, _ give: @escaping @Sendable (Page<AssociationStatus>) -> Void) {
        let list = facts.withLock { facts in
            for index in facts.associations.indices { facts.associations[index].datagrams.out += facts.step }
            return facts.associations
        }
        let candidates = list.filter { query.tunnel == nil || $0.tunnels.contains(query.tunnel ?? "") }
        give(query.page(of: candidates, id: { $0.id }, make: { $0 }))
    }

    func association(_ id: String, _ give: @escaping @Sendable (AssociationStatus?) -> Void) {
        give(facts.withLock { $0.associations.first { $0.id == id } })
    }

    func flows(_ query: PageQuery, _ give: @escaping @Sendable (Page<FlowStatus>) -> Void) {
        let candidates = facts.withLock { $0.flows }.filter { query.tunnel == nil || $0.tunnel == query.tunnel }
        give(query.page(of: candidates, id: { $0.id }, make: { $0 }))
    }

    func configuration(_ give: @escaping @Sendable ([UInt8]) -> Void) { give(Array("{\"daemon\":{}}\n".utf8)) }

    func metrics(associations: Bool, _ give: @escaping @Sendable (String) -> Void) {
        give("culvert_tunnel_up{tunnel=\"syslog\"} 1\n" + (associations ? "culvert_association_up 1\n" : ""))
    }

    func subscribe(after: UInt64?, _ listener: @escaping @Sendable (ControlEvent) -> Void) -> ControlSubscription {
        if let after { for event in facts.withLock({ $0.events }) where event.id > after { listener(event) } }
        return ControlSubscription {}
    }

    func close(association id: String, _ give: @escaping @Sendable (ControlOutcome<AssociationAction>) -> Void) {
        note("close \(id)")
        give(outcome(for: id) { AssociationAction(id: $0.id) })
    }

    func ping(association id: String, _ give: @escaping @Sendable (ControlOutcome<PingResult>) -> Void) {
        note("ping \(id)")
        give(
            outcome(for: id) { one in
                PingResult(
                    id: one.id, peerAddress: one.peerAddress,
                    roundTripMilliseconds: one.heartbeat?.roundTrip?.mean ?? 1, pathMTU: one.pathMTU)
            })
    }

    func rekey(association id: String, _ give: @escaping @Sendable (ControlOutcome<AssociationAction>) -> Void) {
        note("rekey \(id)")
        give(outcome(for: id) { AssociationAction(id: $0.id) })
    }

    func reload(_ give: @escaping @Sendable (ControlOutcome<ReloadResult>) -> Void) {
        note("reload")
        give(.done(facts.withLock { $0.reload }))
    }

    func drain(_ give: @escaping @Sendable (ControlOutcome<DrainResult>) -> Void) {
        note("drain")
        give(.done(DrainResult(draining: true, flows: facts.withLock { $0.flows.count })))
    }

    func setLogLevel(
        _ setting: LogLevelSetting, _ give: @escaping @Sendable (ControlOutcome<LogLevelSetting>) -> Void
    ) {
        note("log-level \(setting.level) \(setting.tunnel ?? "-")")
        let isKnown = setting.tunnel.map { name in facts.withLock { $0.tunnels.contains { $0.name == name } } } ?? true
        give(isKnown ? .done(setting) : .notFound)
    }
}
