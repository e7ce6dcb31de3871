// Two daemons in shared mode, with one tunnel for each service, and the application of each.

import Testing
import TestSupport
import Wire

/// A client daemon, a server daemon, and services that one association carries.
final class SharedPair {
    /// A tunnel at both ends.
    struct Service: Sendable {
        let name: String
        /// Where senders send to.
        let entrance: Endpoint
        /// The application at the far end.
        let target: Peer
    }

    let bench: Bench
    private(set) var server: Daemon
    let client: Daemon
    let services: [Service]
    /// Where the server listens.
    let exit: Endpoint
    private let daemon: String

    /// Starts both daemons. Both have a tunnel for each of `names`, with `settings` for both ends, and those of `client` at the
    /// client's; `server` are those of a service at the server's, which lacks those that it answers nil for. The client
    /// connects to `relay` instead of the server where there is one. One of `workers` keeps the flows of all senders in order
    /// and in one association.
    init(
        _ names: [String], sharing: String = "auto", _ settings: String = "", client clientSettings: String = "",
        server serverSettings: (String) -> String? = { _ in "" }, workers: Int? = nil, exit port: UInt16? = nil,
        relay: UInt16? = nil
    ) async throws {
        daemon = workers.map { "workers = \($0)" } ?? ""
        bench = try await Bench()
        let exit = Endpoint(address: .loopbackIPv4, port: try port ?? FreePorts.next())
        self.exit = exit
        services = try names.map {
            Service(
                name: $0, entrance: Endpoint(address: .loopbackIPv4, port: try FreePorts.next()),
                target: try Peer(Endpoint(address: .ownLoopback(), port: 0)))
        }
        try Self.configureServer(bench, exit, services, daemon: daemon, sharing: sharing) { name in
            serverSettings(name).map { "\(settings)\n\($0)" }
        }
        try bench.configure(
            "client", daemon: daemon, sharing: sharing,
            tunnels: services.map {
                """
                [[tunnel]]
                name = "\($0.name)"
                listen = "udp://\($0.entrance)"
                forward = "dtls://127.0.0.1:\(relay ?? exit.port)"
                \(settings)
                \(clientSettings)

                """
            }.joined())
        server = try await bench.start("server")
        client = try await bench.start("client")
    }

    /// Writes the server's config anew.
    func configureServer(_ settings: (String) -> String?) throws {
        try Self.configureServer(bench, exit, services, daemon: daemon, sharing: "auto", settings)
    }

    private static func configureServer(
        _ bench: Bench, _ exit: Endpoint, _ services: [Service], daemon: String, sharing: String,
        _ settings: (String) -> String?
    ) throws {
        try bench.configure(
            "server", daemon: daemon, sharing: sharing,
            tunnels: services.compactMap { service in
                settings(service.name).map {
                    """
                    [[tunnel]]
                    name = "\(service.name)"
                    listen = "dtls://\(exit)"
                    forward = "udp://\(service.target.endpoint)"
                    \($0)

                    """
                }
            }.joined())
    }

    /// Starts another server where one was.
    func restartServer() async throws { server = try await bench.start("server") }

    /// A sender of a service. Each gets the address of its number: one address has not enough ports for thousands of them.
    func sender(_ service: Service, number: Int = 1) throws -> Peer {
        let address = IPAddress(ipv4: 0x7f05_0000 + UInt32(number))
        return try Peer(Endpoint(address: address, port: 0), connectedTo: service.entrance)
    }

    /// Sends back what has come to the services' targets.
    func echo() {
        for service in services {
            while let asked = service.target.take() { service.target.send(asked.bytes, to: asked.source) }
        }
    }

    /// Both logs, for messages.
    var logs: String { "client:\n\(client.log.suffix(3000))server:\n\(server.log.suffix(3000))" }
}
