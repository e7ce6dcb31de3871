// Whether a tunnel's address is free. The workers share it among themselves (SO_REUSEPORT), and would share it with
// another daemon of the same user just as silently, so it is bound alone first.

import Configuration
import Glibc
import LinuxIO
import Wire

extension GroupPlan {
    /// Makes sure that nobody else has an address that the group listens on.
    func checkFree() throws(WorkerFailure) {
        for tunnel in listeners { try tunnel.checkFree() }
    }
}

extension TunnelPlan {
    /// Makes sure that nobody else has the tunnel's address.
    func checkFree() throws(WorkerFailure) {
        let listen = settings.listen
        do {
            _ = try UDPSocket.bound(to: listen.value)
        } catch {
            let advice =
                switch error.code {
                case EADDRINUSE: "; another program has this port: ss -ulpn 'sport = :\(listen.value.port)'"
                case EACCES: "; ports below 1024 need CAP_NET_BIND_SERVICE, which culvert.service grants"
                case EADDRNOTAVAIL: "; this machine has no such address"
                default: ""
                }
            throw WorkerFailure(description: "\(listen.location): tunnel '\(name)' cannot listen: \(error)\(advice)")
        }
    }
}
