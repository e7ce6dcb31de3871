// All that a worker needs to run one tunnel: checked settings with the keys they name, made once and shared by all
// workers.

import Configuration
import DTLS
import OpenSSL
import Settings
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
            service: settings.service, target: target, limits: settings.limits, access: settings.access,
            oversize: settings.oversize, serverName: settings.role == .server ? settings.requestedName : nil)
    }

    var path: PathSettings { PathSettings(heartbeat: settings.heartbeat, pathMTU: settings.mtu) }

    /// The name or address that the server's certificate has to be for; an IPv6 address without brackets.
    var serverName: String {
        switch settings.serverName ?? settings.forward.value.host {
        case .address(let address): "\(address)"
        case .name(let name): name
        }
    }

    /// Where the datagrams go.
    private var target: ForwardTarget {
        switch settings.forward.value.host {
        case .address(let address): .endpoint(Endpoint(address: address, port: settings.forward.value.port))
        case .name(let name): .name(name)
        }
    }
}

extension TunnelSettings {
    /// Server: the name by which a client in dedicated mode asks for the tunnel, in lower case.
    var requestedName: String? {
        guard case .name(let name) = serverName else { return nil }
        return name.lowercased()
    }
}
