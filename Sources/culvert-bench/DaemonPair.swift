// A pair of daemons to be measured: how each end is configured. One tunnel is used; others may stand beside it that have nothing
// to do, to show what they cost.

import LinuxIO
import Wire

/// What a pair of daemons is made of.
struct DaemonPair {
    /// What its files begin with; no other pair of the workspace has the same.
    var name: String
    /// The daemon's program.
    var program: String
    /// `sharing` of every tunnel.
    var sharing = "never"
    /// Tunnels at the client's end; the last one is used.
    var tunnels = 1
    /// Tunnels at the server's end, on one listen address; the last one is used.
    var services = 1

    /// The most tunnels that an end may have.
    static let maximumTunnels = 10_000

    /// The client's tunnels: the one that is used listens at 127.0.0.1, the others have 127.3.0.1 and on.
    func clientTunnels(listen entry: UInt16, forward: UInt16) -> String {
        (0..<tunnels).map { number in
            let isUsed = number == tunnels - 1
            let address = isUsed ? IPAddress.loopbackIPv4 : IPAddress(ipv4: 0x7f03_0001 + UInt32(number))
            return tunnel(
                isUsed ? nil : number, listen: "udp://\(Endpoint(address: address, port: entry))",
                forward: "dtls://127.0.0.1:\(forward)")
        }.joined(separator: "\n")
    }

    /// The server's tunnels, which are its services in shared mode.
    func serverTunnels(listen: UInt16, forward target: Endpoint) -> String {
        (0..<services).map { number in
            tunnel(
                number == services - 1 ? nil : number, listen: "dtls://127.0.0.1:\(listen)", forward: "udp://\(target)")
        }.joined(separator: "\n")
    }

    private func tunnel(_ number: Int?, listen: String, forward: String) -> String {
        """
        [[tunnel]]
        name = "\(number.map { "idle-\($0)" } ?? "bench")"
        listen = "\(listen)"
        sharing = "\(sharing)"
        forward = "\(forward)"

        """
    }
}

/// A pair of daemons that runs, with the one flow that its measurements use.
final class RunningPair {
    let client: ChildProcess
    let server: ChildProcess
    let sender: Sender

    /// Starts both and waits until they carry datagrams to the sink.
    init(_ pair: DaemonPair, sink: Sink, workspace: Workspace) throws {
        let (processes, entry) = try workspace.start(pair, to: sink.endpoint)
        (client, server) = (processes[0], processes[1])
        sender = try Sender(to: entry)
        guard try sender.reaches(sink, through: processes, seconds: 60) else {
            throw BenchError("no datagram came through\(workspace.lastWords(of: pair.name))")
        }
    }
}
