// Real tunnels run against each other in virtual time: a ClientTunnel and a ServerTunnel with OpenSSL's engines, an
// impaired path between them, plaintext programs at both ends. Nothing waits: time jumps to whatever comes next.
//
// It may be used from one synchronous function only, because OpenSSL's clock is virtual for one thread.

import CVirtualTime
import DTLS
import Impairment
import Testing
import Wire

/// One simulated world. What goes wrong in it without end is stopped and reported as an issue.
final class Simulation {
    /// The monotonic clock.
    private(set) var now = Instant(nanoseconds: 3_600_000_000_000)
    let network: SimulatedNetwork
    private(set) var clients: [ClientNode] = []
    private(set) var servers: [ServerNode] = []

    private var actions: [(at: Instant, run: () -> Void)] = []
    private var stepsAtThisInstant = 0
    private var programs = 0

    init(toServer: Impairment = .good, toClient: Impairment = .good, seed: UInt64 = 1) {
        network = SimulatedNetwork(toServer: toServer, toClient: toClient, seed: seed)
    }

    /// A world where both directions are alike.
    convenience init(_ path: Impairment, seed: UInt64 = 1) {
        self.init(toServer: path, toClient: path, seed: seed)
    }

    // MARK: What is in it

    /// Adds a server's tunnel and the target behind it.
    func addServer(_ options: ServerNode.Options = ServerNode.Options()) throws -> ServerNode {
        let server = try ServerNode(options, number: servers.count, in: self)
        servers.append(server)
        return server
    }

    /// Adds a client's tunnel.
    func addClient(_ options: ClientNode.Options = ClientNode.Options()) throws -> ClientNode {
        let client = try ClientNode(options, number: clients.count, in: self)
        clients.append(client)
        return client
    }

    /// Adds a program that sends into the client's tunnel.
    func addApplication(at client: ClientNode) -> SimulatedApplication {
        programs += 1
        let endpoint = Endpoint(address: client.host.shared.address, port: 50_000 + UInt16(programs))
        return SimulatedApplication(id: programs, endpoint: endpoint, sendingTo: client.host.shared, in: self)
    }

    // MARK: Time

    /// Does something later.
    func schedule(after delay: Duration, _ action: @escaping () -> Void) {
        let time = now + delay
        let place = actions.firstIndex { $0.at > time } ?? actions.endIndex
        actions.insert((time, action), at: place)
    }

    /// Does something at a node whose wall clock, which OpenSSL reads, is so far ahead.
    func perform<Result>(wallClockError: Duration, _ body: () throws -> Result) rethrows -> Result {
        let start = Duration.seconds(1_800_000_000)
        culvert_virtual_time_set((start + wallClockError).nanoseconds + now.nanoseconds)
        defer { culvert_virtual_time_clear() }
        return try body()
    }

    /// When the next thing happens.
    var nextWakeUp: Instant? {
        var times = [network.nextArrival(now: now), actions.first?.at].compactMap { $0 }
        times += clients.compactMap { $0.tunnel.deadline }
        times += servers.compactMap { $0.tunnel.deadline }
        return times.min()
    }

    /// Goes to the next wake-up and does everything that is due then. False, with the time at `limit`, when nothing
    /// happens before.
    func step(by limit: Instant) -> Bool {
        guard let wakeUp = nextWakeUp, wakeUp <= limit else {
            now = max(now, limit)
            return false
        }
        stepsAtThisInstant = wakeUp > now ? 0 : stepsAtThisInstant + 1
        guard stepsAtThisInstant < 10_000 else {
            Issue.record("time stands still at \(now)")
            now = limit
            return false
        }
        now = max(now, wakeUp)
        while let first = actions.first, first.at <= now { actions.removeFirst().run() }
        var delivered = 0
        while delivered < 1_000_000, network.deliverNext(now: now) { delivered += 1 }
        if delivered == 1_000_000 { Issue.record("an exchange without end at \(now)") }
        for client in clients { client.handleTimeout() }
        for server in servers { server.handleTimeout() }
        return true
    }

    /// Lets so much time pass.
    func run(for duration: Duration) {
        let end = now + duration
        while step(by: end) {}
    }

    /// Lets time pass until `condition` holds, at most for `limit`; answers whether it does.
    @discardableResult
    func run(within limit: Duration, until condition: () -> Bool) -> Bool {
        let end = now + limit
        while !condition() {
            if !step(by: end) { return condition() }
        }
        return true
    }

    // MARK: The end

    /// Closes everything and checks what must hold in every simulation: no record number was used twice under a key,
    /// no program got anything twice or damaged, and whatever reached a tunnel was delivered or counted as dropped.
    func finish(sourceLocation: SourceLocation = #_sourceLocation) {
        for client in clients { client.close() }
        run(for: .seconds(120))
        for server in servers { server.close() }
        run(for: .seconds(120))
        for client in clients { client.check(sourceLocation) }
        for server in servers { server.check(sourceLocation) }
    }
}

extension Impairment {
    /// A path with a round trip of 40 milliseconds and no faults.
    static let good = Impairment(delay: .milliseconds(20))

    /// A path of this loss and link MTU.
    static func path(loss: Double = 0, mtu: Int = 1500) -> Impairment {
        Impairment(drop: loss, delay: .milliseconds(20), mtu: mtu)
    }
}
