// The two kinds of tunnel in a simulation, each with its host, its witnesses and its accounts.

import DTLS
import OpenSSL
import Settings
import Testing
import Tunnel
import Wire

typealias SimulatedClient = ClientGroup<WatchedEngine, SimulatedHost>
typealias SimulatedServer = ServerGroup<WatchedEngine, SimulatedHost>

/// What came to a tunnel, for the balance of what became of it.
struct Arrivals {
    /// Plaintext datagrams.
    private(set) var plaintext: UInt64 = 0
    /// Datagrams from peers.
    private(set) var datagrams: UInt64 = 0
    /// The records in them; what is none counts as one.
    private(set) var records: UInt64 = 0
    /// Records behind a ClientHello in its datagram. A cookie is sent for the datagram, whatever else it holds.
    private var behindHellos: UInt64 = 0

    mutating func takePlaintext() { plaintext += 1 }

    mutating func takeDatagram(_ datagram: [UInt8]) {
        let headers = headers(of: datagram)
        let size = headers.reduce(0) { $0 + RecordHeader.size + $1.length }
        datagrams += 1
        if headers.first?.type == .handshake, datagram.count > RecordHeader.size, datagram[RecordHeader.size] == 1 {
            behindHellos += UInt64(headers.count - 1)
        }
        records += UInt64(headers.count) + (size < datagram.count || datagram.isEmpty ? 1 : 0)
    }

    /// Checks a closed tunnel's counters: nothing may vanish without a count, and nothing be counted twice.
    func check(_ counters: TunnelCounters, _ name: String, _ sourceLocation: SourceLocation) {
        let told = (counters.receivedOut, counters.receivedIn)
        #expect(told == (plaintext, datagrams), "\(name): \(counters.text)", sourceLocation: sourceLocation)
        // Nobody looks for records in what reaches no association: that counts as one.
        let strays: [DropReason] = [.noAssociation, .sourceNotAllowed, .cookie, .limit]
        let fewest = strays.contains { counters.drops[$0] > 0 } ? datagrams : records - behindHellos
        #expect(
            fewest <= counters.records && counters.records <= records,
            "\(name): \(counters.records) of \(records) records: \(counters.text)", sourceLocation: sourceLocation)
        let accounted =
            counters.datagramsIn + counters.datagramsOut + counters.control + counters.drops.beforeCarried
        #expect(
            accounted == plaintext + counters.records,
            "\(name): \(plaintext) datagrams and \(records) records came, \(accounted) are accounted for: \(counters.text)",
            sourceLocation: sourceLocation)
    }
}

extension TunnelCounters {
    /// For messages.
    var text: String {
        let reasons = DropReason.allCases.filter { drops[$0] > 0 }.map { "\($0.name) \(drops[$0])" }
        return "in \(datagramsIn), out \(datagramsOut), control \(control), \(reasons.joined(separator: ", "))"
    }
}

/// A client's tunnel.
final class ClientNode {
    /// What can be chosen.
    struct Options {
        var target = ForwardTarget.endpoint(ServerNode.endpoint(0))
        var limits = TunnelLimits()
        var policy = ReconnectPolicy()
        var access = AccessList()
        var keys = SimulatorKeys.Choice()
        var path = TunnelPath()
        /// What the forward name resolves to.
        var addresses: [Endpoint] = []
        var seed: UInt64 = 1
        var usesIPv6 = false
    }

    let host: SimulatedHost
    private(set) var tunnel: SimulatedClient
    /// How far the machine's wall clock is ahead; an administrator may set it.
    var wallClockError = Duration.zero
    /// Everything it has told.
    private(set) var events: [TunnelEvent] = []
    /// The engines of all its attempts.
    var engines: [WatchedEngine] { box.engines }
    /// What the forward name resolves to from now on.
    var addresses: [Endpoint]
    private(set) var resolutions = 0

    private let options: Options
    private let context: HandshakeContext
    private let box: EngineBox
    private var arrivals = Arrivals()
    private unowned let simulation: Simulation

    init(_ options: Options, number: Int, in simulation: Simulation) throws {
        self.options = options
        self.simulation = simulation
        addresses = options.addresses
        context = try SimulatorKeys.shared.get().clientContext(options.keys)
        box = EngineBox()
        // 192.0.2.1 or 2001:db8:2::1 and on.
        let address =
            options.usesIPv6
            ? IPAddress(high: 0x2001_0db8_0002_0000, low: 1 + UInt64(number))
            : IPAddress(ipv4: 0xc000_0201 + UInt32(number))
        host = SimulatedHost(shared: Endpoint(address: address, port: 5514), in: simulation)
        tunnel = Self.makeTunnel(options, host, context, box)
        bind()
    }

    /// Sum of what it has carried and dropped.
    var counters: TunnelCounters { tunnel.counters() }

    /// How many handshakes it has completed.
    var handshakes: UInt64 { tunnel.counters().handshakes }

    /// Ends the process without a word and starts it anew; its sockets get the ports that `firstPort` begins.
    func restart(firstPort: UInt16) {
        check(balance: false, #_sourceLocation)
        host.closeAll()
        host.nextPort = firstPort
        arrivals = Arrivals()
        tunnel = Self.makeTunnel(options, host, context, box)
    }

    func handleTimeout() {
        if let deadline = tunnel.deadline, deadline <= simulation.now { perform { $0.handleTimeout(now: $1) } }
        events += tunnel.takeEvents().map(\.event)
    }

    func check(balance: Bool = true, _ sourceLocation: SourceLocation) {
        events += tunnel.takeEvents().map(\.event)
        for engine in box.engines { #expect(engine.ledger.reused == [], sourceLocation: sourceLocation) }
        if balance { arrivals.check(tunnel.counters(), "client", sourceLocation) }
    }

    /// Ends every association in order.
    func close() { perform { tunnel, _ in tunnel.close() } }

    private func perform(_ body: (SimulatedClient, Instant) -> Void) {
        simulation.perform(wallClockError: wallClockError) { body(tunnel, simulation.now) }
    }

    private func bind() {
        simulation.network.bind(host.shared) { [unowned self] packet in
            arrivals.takePlaintext()
            perform { $0.handleLocal(packet.bytes.bytes, from: packet.source, to: host.shared.address, now: $1) }
        }
        host.receive = { [unowned self] flow, packet in
            arrivals.takeDatagram(packet.bytes)
            var bytes = packet.bytes
            perform { tunnel, now in bytes.withMutableBytes { tunnel.handleRemote(&$0, flow: flow, now: now) } }
        }
        host.refuse = { [unowned self] flow in
            // Reported when the batch goes out, not in the midst of the tunnel's work.
            simulation.schedule(after: .zero) { [unowned self] in
                perform { $0.handleSendFailure(flow, .tooLarge, count: 1, now: $1) }
            }
        }
        host.onResolve = { [unowned self] in
            resolutions += 1
            simulation.schedule(after: .milliseconds(3)) { [unowned self] in
                perform { $0.handleAddresses(addresses, now: $1) }
            }
        }
    }

    private static func makeTunnel(
        _ options: Options, _ host: SimulatedHost, _ context: HandshakeContext, _ box: EngineBox
    ) -> SimulatedClient {
        SimulatedClient(
            [
                GroupMember(
                    target: options.target, limits: options.limits, access: options.access,
                    oversize: options.path.oversize)
            ],
            policy: options.policy, path: options.path.settings, output: host, seed: options.seed
        ) { datagramSize in
            // Where the server gives no tickets there is never a session.
            box.keep(
                try? OpenSSLHandshake(
                    client: context, verifying: PeerName(SimulatorKeys.serverName), resuming: box.session,
                    datagramSize: datagramSize))
        }
    }
}

/// A server's tunnel with the target behind it.
final class ServerNode {
    /// What can be chosen.
    struct Options {
        var limits = TunnelLimits()
        var access = AccessList()
        var cookieExchange = true
        var usesIPv6 = false
        var keys = SimulatorKeys.Choice()
        var path = TunnelPath()
    }

    /// Where the server of this number listens: 198.51.100.1, or 2001:db8:5::1, and on.
    static func endpoint(_ number: Int, usesIPv6: Bool = false) -> Endpoint {
        let address =
            usesIPv6
            ? IPAddress(high: 0x2001_0db8_0005_0000, low: 1 + UInt64(number))
            : IPAddress(ipv4: 0xc633_6401 + UInt32(number))
        return Endpoint(address: address, port: 6514)
    }

    let host: SimulatedHost
    let target: SimulatedTarget
    private(set) var tunnel: SimulatedServer
    /// How far the machine's wall clock is ahead; an administrator may set it.
    var wallClockError = Duration.zero
    /// Everything it has told.
    private(set) var events: [TunnelEvent] = []
    /// The engines of all its handshakes.
    var engines: [WatchedEngine] { box.engines }

    private let options: Options
    private let context: HandshakeContext
    private let box: EngineBox
    private var arrivals = Arrivals()
    private unowned let simulation: Simulation

    init(_ options: Options, number: Int, in simulation: Simulation) throws {
        self.options = options
        self.simulation = simulation
        context = try SimulatorKeys.shared.get().serverContext(options.keys)
        box = EngineBox()
        host = SimulatedHost(shared: Self.endpoint(number, usesIPv6: options.usesIPv6), in: simulation)
        let targetEndpoint = Endpoint(address: host.shared.address, port: 514)
        target = SimulatedTarget(endpoint: targetEndpoint, in: simulation)
        tunnel = try Self.makeTunnel(options, host, targetEndpoint, context, box, now: simulation.now)
        bind()
    }

    /// Sum of what it has carried and dropped.
    var counters: TunnelCounters { tunnel.counters() }

    /// Ends the process without a word and starts it anew.
    func restart() throws {
        check(balance: false, #_sourceLocation)
        host.closeAll()
        arrivals = Arrivals()
        tunnel = try Self.makeTunnel(options, host, target.endpoint, context, box, now: simulation.now)
    }

    func handleTimeout() {
        if let deadline = tunnel.deadline, deadline <= simulation.now { perform { $0.handleTimeout(now: $1) } }
        events += tunnel.takeEvents().map(\.event)
    }

    func check(balance: Bool = true, _ sourceLocation: SourceLocation) {
        events += tunnel.takeEvents().map(\.event)
        for engine in box.engines { #expect(engine.ledger.reused == [], sourceLocation: sourceLocation) }
        #expect(target.damaged == 0, sourceLocation: sourceLocation)
        for deliveries in target.received.values {
            #expect(deliveries.repeated == 0 && deliveries.damaged == 0, sourceLocation: sourceLocation)
        }
        if balance { arrivals.check(tunnel.counters(), "server", sourceLocation) }
    }

    /// Ends every association in order.
    func close() { perform { tunnel, _ in tunnel.close() } }

    private func perform(_ body: (SimulatedServer, Instant) -> Void) {
        simulation.perform(wallClockError: wallClockError) { body(tunnel, simulation.now) }
    }

    private func bind() {
        simulation.network.bind(host.shared) { [unowned self] packet in
            arrivals.takeDatagram(packet.bytes)
            var bytes = packet.bytes
            perform { tunnel, now in
                bytes.withMutableBytes {
                    tunnel.handlePeer(&$0, from: packet.source, to: packet.destination.address, now: now)
                }
            }
        }
        host.refuse = { [unowned self] flow in
            simulation.schedule(after: .zero) { [unowned self] in
                perform { $0.handleSendFailure(flow, .tooLarge, count: 1, now: $1) }
            }
        }
        host.receive = { [unowned self] flow, packet in
            arrivals.takePlaintext()
            perform { $0.handleTarget(packet.bytes.bytes, flow: flow, now: $1) }
        }
    }

    private static func makeTunnel(
        _ options: Options, _ host: SimulatedHost, _ target: Endpoint, _ context: HandshakeContext, _ box: EngineBox,
        now: Instant
    ) throws -> SimulatedServer {
        let secret = try CookieSecret()
        return SimulatedServer(
            [
                GroupMember(
                    target: .endpoint(target), limits: options.limits, access: options.access,
                    oversize: options.path.oversize)
            ],
            path: options.path.settings, cookieExchange: options.cookieExchange,
            firstKey: try CookieKey(secret, period: CookieExchange.period(at: now)),
            output: host, now: now,
            makeKey: { try? CookieKey(secret, period: $0) },
            makeEngine: { datagramSize in
                box.keep(
                    try? OpenSSLHandshake(
                        server: context, cookieVerified: options.cookieExchange, datagramSize: datagramSize))
            })
    }
}

/// The engines that a tunnel has been given, and the session that the last one left behind.
private final class EngineBox {
    var engines: [WatchedEngine] = []
    var session: ClientSession?

    func keep(_ engine: OpenSSLHandshake?) -> WatchedEngine? {
        guard let engine else { return nil }
        let watched = WatchedEngine(engine) { [unowned self] in session = $0 }
        engines.append(watched)
        return watched
    }
}

/// How a tunnel watches its path, and what it does with what is too large for it.
struct TunnelPath {
    var settings = PathSettings()
    var oversize = OversizePolicy.fragment
}
