// All that a worker needs to run one tunnel: checked settings with the keys they name, made once and shared by all
// workers.

import Configuration
import DTLS
import OpenSSL
import Tunnel
import Wire

/// One tunnel as the workers run it.
struct TunnelPlan: Sendable {
    let settings: TunnelSettings
    let context: HandshakeContext

    var name: String { settings.name }

    var limits: TunnelLimits {
        TunnelLimits(
            flowTimeout: settings.flowTimeout, maximumFlows: min(settings.maxFlows, settings.maxAssociations),
            maximumAssociations: settings.maxAssociations, maximumHandshakes: settings.maxHandshakes)
    }

    var access: AccessList {
        AccessList(
            sources: settings.allowFrom,
            peers: settings.allowPeers.map { pattern in
                switch pattern {
                case .dns(let name): .dns(name.lowercased())
                case .commonName(let name): .commonName(name)
                case .ipAddress(let address): .address(address)
                case .publicKey(let hash): .publicKey(hash)
                case .psk(let identity): .psk(identity)
                }
            })
    }

    var policy: ReconnectPolicy {
        ReconnectPolicy(minimum: settings.reconnect.minimum, maximum: settings.reconnect.maximum)
    }

    /// The name or address that the server's certificate has to be for; an IPv6 address stands without brackets.
    var serverName: String {
        switch settings.serverName ?? settings.forward.value.host {
        case .address(let address): "\(address)"
        case .name(let name): name
        }
    }

    var path: TunnelPath {
        let heartbeat = settings.heartbeat
        let mtu = settings.mtu
        let path = PathSettings(
            heartbeat: HeartbeatSettings(
                interval: heartbeat.interval, timeout: heartbeat.timeout, retries: heartbeat.retries,
                answers: heartbeat.answer),
            pathMTU: PathMTUSettings(
                discover: mtu.discover, minimum: mtu.minimum, maximum: mtu.maximum, interval: mtu.interval))
        return TunnelPath(settings: path, oversize: settings.oversize == .fragment ? .fragment : .drop)
    }

    /// Where the datagrams go.
    var target: ForwardTarget {
        switch settings.forward.value.host {
        case .address(let address): .endpoint(Endpoint(address: address, port: settings.forward.value.port))
        case .name(let name): .name(name)
        }
    }
}
