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

    /// The tunnel as a member of its group.
    var member: GroupMember {
        GroupMember(
            service: settings.service, target: target, limits: limits, access: access,
            oversize: settings.oversize == .fragment ? .fragment : .drop,
            serverName: settings.role == .server ? requestedName : nil)
    }

    /// Server: the name by which a client in plain mode asks for the tunnel.
    private var requestedName: String? {
        guard case .name(let name) = settings.serverName else { return nil }
        return name.lowercased()
    }

    private var limits: TunnelLimits {
        TunnelLimits(
            flowTimeout: settings.flowTimeout, maximumFlows: settings.maxFlows,
            maximumAssociations: settings.maxAssociations, maximumHandshakes: settings.maxHandshakes)
    }

    private var access: AccessList {
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

    var path: PathSettings {
        let heartbeat = settings.heartbeat
        let mtu = settings.mtu
        return PathSettings(
            heartbeat: HeartbeatSettings(
                interval: heartbeat.interval, timeout: heartbeat.timeout, retries: heartbeat.retries,
                answers: heartbeat.answer),
            pathMTU: PathMTUSettings(
                discover: mtu.discover, minimum: mtu.minimum, maximum: mtu.maximum, interval: mtu.interval))
    }

    /// Where the datagrams go.
    private var target: ForwardTarget {
        switch settings.forward.value.host {
        case .address(let address): .endpoint(Endpoint(address: address, port: settings.forward.value.port))
        case .name(let name): .name(name)
        }
    }
}
