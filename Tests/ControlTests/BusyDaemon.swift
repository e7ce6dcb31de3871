// A daemon that has seen a lot, as metrics and the status page have to show it: a tunnel in each state, peers with hostile
// names, and figures in all fields.

import Foundation

@testable import Control

enum BusyDaemon {
    /// A name that would be markup, and would end a string, if it were taken for more than a name.
    static let hostileName =
        #"CN=</td><script>document.title='taken'</script><img src=x onerror="document.title='taken'">'\"#

    static func status(at now: Date = Date()) -> DaemonStatus {
        var status = DaemonStatus(
            version: "1.0.0", processID: 4242, startedAt: now - 273_900, uptimeSeconds: 273_900, workers: 2,
            openSSL: "OpenSSL 3.0.22", logLevel: "info")
        status.configuration = "/etc/culvert/culvert.toml"
        status.memoryBytes = 23_400_000
        status.cpuSeconds = 1234.5
        status.openFiles = 31
        status.maximumOpenFiles = 524_288
        let tunnels = tunnels(at: now)
        status.ready = false
        status.associations = associations(at: now).count
        status.flows = tunnels.reduce(0) { $0 + $1.flows }
        status.tunnels = tunnels.map { tunnel in
            var summary = DaemonStatus.Summary(
                name: tunnel.name, role: tunnel.role, listen: tunnel.listen, forward: tunnel.forward,
                state: tunnel.state)
            summary.mode = tunnel.mode
            return summary
        }
        status.tunnels[0].protocols = ["DTLS 1.2"]
        status.tunnels[0].ciphers = ["ECDHE-ECDSA-AES128-GCM-SHA256"]
        status.tunnels[0].peers = 2
        status.tunnels[0].peerIdentities = ["DNS:collector.example.net"]
        status.tunnels[1].protocols = ["DTLS 1.2"]
        status.tunnels[1].ciphers = ["ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"]
        status.tunnels[1].peers = 3
        status.tunnels[1].peerIdentities = ["CN=branch-7", "CN=branch-9", hostileName]
        status.tunnels[3].problem = "The peer 203.0.113.40:5684 has not answered for 4 minutes."
        return status
    }

    /// `steps` makes the counters grow, as they do between two looks.
    static func tunnels(at now: Date = Date(), steps: UInt64 = 0) -> [TunnelStatus] {
        var syslog = TunnelStatus(
            name: "syslog", role: .client, listen: "udp://127.0.0.1:5514", forward: "dtls://collector.example.net:6514")
        syslog.state = .up
        syslog.sharing = .auto
        syslog.mode = .shared
        syslog.associations = ["established": 1]
        syslog.flows = 14
        syslog.limits = .init(flows: 4096, associations: 4096, handshakes: 256)
        let swing = wave(steps)
        syslog.datagrams = .init(in: 120 + steps * 90, out: 1_845_020 + steps * 1_200 + swing * 180)
        syslog.bytes = .init(in: 9_400 + steps * 40, out: 402_214_000 + steps * 262_000 + swing * 39_200)
        syslog.dropped = ["queue_full": 310, "oversize": 12]
        syslog.handshakes = 5
        syslog.heartbeatsLost = 2
        for value in [0.0031, 0.0045, 0.0042, 0.0047, 1.2] { syslog.handshakeSeconds.add(value) }
        for value in [0.011, 0.012, 0.0125, 0.0119] { syslog.roundTripSeconds.add(value) }
        syslog.certificate = CertificateStatus(subject: "CN=edge-7", notAfter: now + 203 * 86_400)

        var radius = TunnelStatus(
            name: "radius", role: .server, listen: "dtls://[::]:2083", forward: "udp://127.0.0.1:1812")
        radius.state = .up
        radius.mode = .plain
        radius.associations = ["established": 3, "handshaking": 1]
        radius.flows = 3
        radius.limits = .init(flows: 4096, associations: 4096, handshakes: 256)
        radius.datagrams = .init(in: 88_120 + steps * 60 + swing * 14, out: 88_004 + steps * 20 + swing * 13)
        radius.bytes = .init(in: 11_200_000 + steps * 10_400, out: 8_900_000 + steps * 8_800)
        radius.dropped = [
            "cookie": 48, "replayed": 7, "not_authentic": 3, "no_association": 1_830 + steps, "source_not_allowed": 5,
        ]
        radius.handshakes = 3
        radius.failedHandshakes = 19
        for value in [0.021, 0.034, 0.052] { radius.handshakeSeconds.add(value) }
        for value in [0.031, 0.044, 0.083] { radius.roundTripSeconds.add(value) }
        radius.certificate = CertificateStatus(subject: "CN=edge-7", notAfter: now + 9 * 86_400)

        var snmp = TunnelStatus(
            name: "snmp", role: .client, listen: "udp://127.0.0.1:1161", forward: "dtls://nms.example.net:10161")
        snmp.service = "snmp-read"
        snmp.sharing = .always
        snmp.state = .down
        snmp.serviceRefused = .init(
            reason: "unknown_service", message: "The peer has no service 'snmp-read'.", since: now - 600)
        snmp.dropped = ["closed": 40]

        var coap = TunnelStatus(
            name: "coap", role: .client, listen: "udp://[::1]:5683", forward: "dtls://203.0.113.40:5684")
        coap.state = .connecting
        coap.associations = ["handshaking": 1]
        coap.flows = 1
        coap.dropped = ["queue_full": 4]
        coap.failedHandshakes = 6

        let game = TunnelStatus(
            name: "game \"<b>east</b>\"\\\n1", role: .server, listen: "dtls://0.0.0.0:27015",
            forward: "udp://127.0.0.1:27016")
        return [syslog, radius, snmp, coap, game]
    }

    static func associations(at now: Date = Date(), steps: UInt64 = 0) -> [AssociationStatus] {
        let tunnels = tunnels(at: now, steps: steps)
        var shared = established("syslog-0-0-1", .client, "192.0.2.7:6514", "DNS:collector.example.net", now - 271_000)
        shared.mode = .shared
        shared.applicationProtocol = "culvert/1"
        shared.serverName = "collector.example.net"
        shared.flows = 14
        shared.datagrams = tunnels[0].datagrams
        shared.bytes = tunnels[0].bytes
        shared.dropped = ["queue_full": 310, "oversize": 12]
        shared.pathMTU = .init(out: 1500, state: "complete", probes: 14, maximumDatagram: 1435)

        var branch = established("radius-1-0-4", .server, "198.51.100.23:40112", "CN=branch-7", now - 86_000)
        branch.heartbeat?.roundTrip = .init(last: 31.2, min: 28.8, mean: 32.5)
        branch.datagrams = tunnels[1].datagrams
        branch.bytes = tunnels[1].bytes
        branch.pathMTU = .init(out: 1400, state: "complete", probes: 40, maximumDatagram: 1327)

        var other = established("radius-1-1-9", .server, "[2001:db8:4:12::9]:50001", "CN=branch-9", now - 4_000)
        other.heartbeat = .init(negotiated: false, localMode: "peer_allowed_to_send")
        other.heartbeat?.roundTrip = nil
        other.datagrams = .init(in: 410, out: 409)
        other.pathMTU = .init(out: 1280, state: "disabled", probes: 0, maximumDatagram: 1195)

        var hostile = established("radius-1-1-12", .server, "198.51.100.66:1024", hostileName, now - 75)
        hostile.dropped = ["replayed": 7, "not_authentic": 3]

        let coming = AssociationStatus(
            id: "coap-2-0-2", tunnel: "coap", role: .client, state: .handshaking, peerAddress: "203.0.113.40:5684")
        return [shared, branch, other, hostile, coming]
    }

    /// Grows, now faster and now slower.
    private static func wave(_ steps: UInt64) -> UInt64 {
        let time = Double(steps)
        return UInt64(3 * time + 9 * sin(time / 9) + 5 * sin(time / 3.1) + 20)
    }

    private static func established(
        _ id: String, _ role: AssociationStatus.Role, _ peer: String, _ identity: String, _ since: Date
    ) -> AssociationStatus {
        let tunnel = String(id.prefix { $0 != "-" })
        var one = AssociationStatus(id: id, tunnel: tunnel, role: role, state: .established, peerAddress: peer)
        one.peerIdentity = identity
        one.cipher = "ECDHE-ECDSA-AES128-GCM-SHA256"
        one.establishedAt = since
        one.handshakeMilliseconds = 4.5
        one.heartbeat = .init(negotiated: true, localMode: "peer_allowed_to_send")
        one.heartbeat?.roundTrip = .init(last: 11.9, min: 10.8, mean: 12.1)
        one.heartbeat?.sent = 300
        one.heartbeat?.answered = 298
        one.heartbeat?.lost = 2
        return one
    }
}
