// Two hosts with a router between them, each a network namespace of its own. They have names that nobody else has, and are
// removed with the object. A client daemon runs on one host and a server daemon on the other, with the applications.

import Foundation
import Synchronization
import Testing
import TestSupport
import Wire

/// A small network.
final class Lab: Sendable {
    /// Its places.
    enum Host: String, CaseIterable {
        case client, router, server
    }

    /// Whether labs can be made here.
    static let isPossible =
        isRoot && ["ip", "nft", "sysctl"].allSatisfy { Program.isInstalled($0) } && access("/run", W_OK) == 0

    /// The server host's address.
    let serverAddress: IPAddress
    private let name: String
    private let isIPv6: Bool

    /// Makes hosts and links of 1500 bytes, ready to use.
    init(isIPv6: Bool = false) async throws {
        name = "culvert-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        self.isIPv6 = isIPv6
        serverAddress = try #require(IPAddress(isIPv6 ? "fd00:2::2" : "10.77.2.2"))
        func addresses(_ network: Int, _ place: Int) -> String {
            isIPv6 ? "fd00:\(network)::\(place)/64 nodad" : "10.77.\(network).\(place)/24"
        }
        var script = Host.allCases.map { "ip netns add \(space($0)); ip -n \(space($0)) link set lo up" }
        for (network, host) in [(1, Host.client), (2, .server)] {
            script += [
                "ip -n \(space(host)) link add wire type veth peer name to-\(host) netns \(space(.router))",
                "ip -n \(space(host)) addr add \(addresses(network, 2)) dev wire",
                "ip -n \(space(.router)) addr add \(addresses(network, 1)) dev to-\(host)",
                "ip -n \(space(host)) link set wire up; ip -n \(space(.router)) link set to-\(host) up",
                "ip -n \(space(host)) route add default via \(addresses(network, 1).prefix { $0 != "/" })",
            ]
        }
        script.append(
            "ip netns exec \(space(.router)) sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 \\\n"
                + "net.ipv6.conf.all.keep_addr_on_down=1")
        try await run(script.joined(separator: "\n"))
        try await rules(
            """
            table inet lab {
                set cut { type inet_service; }
                chain own { type filter hook output priority 0; }
                chain through {
                    type filter hook forward priority 0;
                    udp dport @cut counter drop
                    udp sport @cut counter drop
                }
            }
            """)
    }

    deinit {
        // By a shell of its own: the daemons may still be ending, and a namespace without a name goes with its last process.
        let script = Host.allCases.map { "ip netns del \(space($0))" }.joined(separator: "; ")
        guard let shell = try? Program(["sh", "-c", script]) else { return }
        for _ in 0..<1000 where shell.isRunning { usleep(2000) }
    }

    /// What executes a program on a host.
    func on(_ host: Host) -> [String] { ["ip", "netns", "exec", space(host)] }

    /// Sets the MTU of the link between the router and the server's host, at both of its ends.
    func setMTU(_ mtu: Int) async throws {
        try await run(
            """
            ip -n \(space(.router)) link set to-server mtu \(mtu)
            ip -n \(space(.server)) link set wire mtu \(mtu)
            """)
    }

    /// Sets the largest packet that the router passes on to a host, without touching the other direction.
    func setMTU(_ mtu: Int, to host: Host) async throws {
        let network = host == .client ? 1 : 2
        let destination = isIPv6 ? "fd00:\(network)::2/128" : "10.77.\(network).2/32"
        try await run(
            "ip -n \(space(.router)) \(isIPv6 ? "-6" : "-4") route replace \(destination) dev to-\(host) mtu lock \(mtu)"
        )
    }

    /// Has the router say nothing about packets that are too large.
    func filterICMP() async throws {
        try await rules(
            """
            add rule inet lab own icmp type destination-unreachable drop
            add rule inet lab own icmpv6 type packet-too-big drop
            """)
    }

    /// Cuts off the port of a server, or lets it be reached again.
    func cut(_ port: UInt16, _ isCut: Bool) async throws {
        try await rules("\(isCut ? "add" : "delete") element inet lab cut { \(port) }")
    }

    /// Has the client's host refuse to send UDP, or send it again.
    func setFirewall(isClosed: Bool) async throws {
        let rule =
            isClosed
            ? "add table inet own; add chain inet own out { type filter hook output priority 0; }; add rule inet own out udp dport 6514 drop"
            : "delete table inet own"
        try await run("ip netns exec \(space(.client)) nft '\(rule)'")
    }

    /// Takes the link between the router and the server's host down, or up again.
    func setLink(isUp: Bool) async throws {
        try await run("ip -n \(space(.router)) link set to-server \(isUp ? "up" : "down")")
    }

    /// Gives the client's host another IPv4 address in the place of the one that it has, as a new lease does.
    func replaceClientAddress() async throws {
        let ip = "ip -n \(space(.client))"
        try await run(
            """
            \(ip) addr del 10.77.1.2/24 dev wire
            \(ip) addr add 10.77.1.3/24 dev wire
            \(ip) route replace default via 10.77.1.1
            """)
    }

    /// Opens a socket on a host.
    func peer(on host: Host, _ local: Endpoint, connectedTo remote: Endpoint? = nil) async throws -> Peer {
        let path = "/run/netns/\(space(host))"
        let result: Result<Peer, any Error> = await withCheckedContinuation { done in
            Thread.detachNewThread {
                done.resume(
                    returning: Result {
                        let file = open(path, O_RDONLY | O_CLOEXEC)
                        defer { close(file) }
                        guard let symbol = dlsym(nil, "setns") else { throw Unusable("there is no setns(2)") }
                        let setns = unsafeBitCast(symbol, to: (@convention(c) (CInt, CInt) -> CInt).self)
                        let newNetwork: CInt = 0x4000_0000  // CLONE_NEWNET
                        guard file >= 0, setns(file, newNetwork) == 0 else { throw Unusable("setns to \(path)") }
                        return try Peer(local, connectedTo: remote)
                    })
            }
        }
        return try result.get()
    }

    private func space(_ host: Host) -> String { "\(name)-\(host)" }

    private func rules(_ text: String) async throws {
        try await run("ip netns exec \(space(.router)) nft -f - <<'end'\n\(text)\nend")
    }

    private func run(_ script: String) async throws {
        let (status, said) = try await Program.run(["sh", "-ec", script])
        guard status == 0 else { throw Unusable("\(script)\n\(said)") }
    }
}

/// A client daemon and a server daemon at the two ends of a ``Lab``, with one tunnel, and the applications beside them.
final class LabPair {
    let lab: Lab
    let bench: Bench
    let client: Daemon
    private(set) var server: Daemon
    /// The application behind the server.
    let target: Peer
    /// The application before the client.
    let sender: Peer

    /// `settings` go into both ends' tunnels, and those of `client` into the client's; `prepare` is done to the network first.
    init(
        isIPv6: Bool = false, _ settings: String, client clientSettings: String = "", sharing: String? = "never",
        prepare: (Lab) async throws -> Void = { _ in }
    ) async throws {
        lab = try await Lab(isIPv6: isIPv6)
        try await prepare(lab)
        bench = try await Bench()
        let exit = Endpoint(address: lab.serverAddress, port: 6514)
        let entrance = Endpoint(address: .loopbackIPv4, port: 5514)
        target = try await lab.peer(on: .server, Endpoint(address: .loopbackIPv4, port: 514))
        try bench.configure(
            "server", sharing: sharing,
            tunnels: Self.tunnel("dtls://\(exit)", "udp://\(target.endpoint)", settings))
        try bench.configure(
            "client", sharing: sharing,
            tunnels: Self.tunnel(
                "udp://\(entrance)", "dtls://\(exit)", "server_name = \"localhost\"\n\(settings)\n\(clientSettings)"))
        server = try await bench.start("server", prefix: lab.on(.server))
        client = try await bench.start("client", prefix: lab.on(.client))
        sender = try await lab.peer(
            on: .client, Endpoint(address: .loopbackIPv4, port: 0), connectedTo: entrance)
    }

    /// Starts another server where one was.
    func restartServer() async throws {
        server = try await bench.start("server", prefix: lab.on(.server))
    }

    /// What the logs say, for messages.
    var logs: String { "client: \(client.log.suffix(3000))\nserver: \(server.log.suffix(3000))" }

    static func tunnel(_ listen: String, _ forward: String, _ settings: String) -> String {
        """
        [[tunnel]]
        name = "lab"
        listen = "\(listen)"
        forward = "\(forward)"
        \(settings)
        """
    }
}
