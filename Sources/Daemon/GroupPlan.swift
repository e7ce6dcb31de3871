// All that a worker needs to run one group: the plans of its tunnels, which agree in everything that concerns their
// associations.

import Configuration
import DTLS
import OpenSSL
import Settings
import Tunnel

/// One group as the workers run it.
struct GroupPlan: Sendable {
    /// Its tunnels in the order of the config; the settings of the first hold for the associations.
    let tunnels: [TunnelPlan]

    var first: TunnelPlan { tunnels[0] }
    var role: TunnelSettings.Role { first.settings.role }
    var context: HandshakeContext { first.context }
    var members: [GroupMember] { tunnels.map(\.member) }

    /// The tunnels whose addresses are listened on: a server's all have the same.
    var listeners: [TunnelPlan] { role == .server ? [first] : tunnels }

    /// For messages about the group as a whole.
    var name: String { tunnels.map(\.name).joined(separator: ", ") }
}
