// The one file here that knows the cores' API: a client's and a server's core of one tunnel, established, with datagrams going
// from local senders through both to the target, and back.

import DTLS
import OpenSSL
import Settings
import Tunnel
import Wire

/// A client's and a server's core, each with the other one's datagrams.
struct CorePair: ~Copyable {
    typealias Client = ClientGroup<OpenSSLHandshake, ArenaOutput>
    typealias Server = ServerGroup<OpenSSLHandshake, ArenaOutput>

    private var client: Client
    private var server: Server
    private let clientOutput: ArenaOutput
    private let serverOutput: ArenaOutput
    private var now: Instant
    private let payload: [UInt8]
    private let senders: Int
    private var batches: Int
    /// Datagrams that have come back to their senders.
    private(set) var returned: Int
    /// Datagrams that have come back as something else, or that the arenas had no room for.
    var spoilt: Int { damaged + clientOutput.lost + serverOutput.lost }
    private var damaged: Int

    private static let local = Endpoint(address: .loopbackIPv4, port: 5514)
    private static let server = Endpoint(address: IPAddress(ipv4: 0xc633_6401), port: 6514)
    private static let target = Endpoint(address: .loopbackIPv4, port: 514)
    private static let clientAddress = IPAddress(ipv4: 0xc000_0201)
    private static let firstClientPort = 40_000
    private static let firstSenderPort = 50_000
    /// Datagrams of one sender in a row.
    private static let run = 8

    /// Makes both cores; nothing is established yet.
    init(sharing: SharingPolicy, senders: Int, byteCount: Int) throws {
        let keys = try CountingKeys(isShared: sharing != .never)
        let (clientContext, serverContext) = (keys.client, keys.server)
        let begin = Instant(nanoseconds: 3_600_000_000_000)
        let secret = try CookieSecret()
        let firstKey = try CookieKey(secret, period: CookieExchange.period(at: begin))
        clientOutput = ArenaOutput()
        serverOutput = ArenaOutput()
        now = begin
        (batches, returned, damaged) = (0, 0, 0)
        self.senders = senders
        payload = (0..<byteCount).map { UInt8(truncatingIfNeeded: $0) }
        client = Client(
            [GroupMember(service: "count", target: .endpoint(Self.server))], policy: ReconnectPolicy(),
            sharing: sharing, output: clientOutput, seed: 1
        ) { datagramSize in
            try? OpenSSLHandshake(client: clientContext, verifying: PeerName("count"), datagramSize: datagramSize)
        }
        server = Server(
            [GroupMember(service: "count", target: .endpoint(Self.target))], sharing: sharing, cookieExchange: true,
            firstKey: firstKey, output: serverOutput, now: now,
            makeKey: { try? CookieKey(secret, period: $0) }
        ) { datagramSize in
            try? OpenSSLHandshake(server: serverContext, cookieVerified: true, datagramSize: datagramSize)
        }
    }

    /// Exchanges datagrams until every sender's flow stands; throws where none of it comes about.
    mutating func establish() throws {
        for _ in 0..<1000 where returned < 4 * senders {
            for sender in 0..<senders { send(from: sender) }
            for _ in 0..<8 { exchange() }
            now = now + .milliseconds(10)
            wakeUp()
        }
        guard returned >= 4 * senders, spoilt == 0 else { throw CountError("the tunnel has not come about") }
        // What follows an establishment is over by then.
        for _ in 0..<500 {
            now = now + .milliseconds(10)
            wakeUp()
            for _ in 0..<4 { exchange() }
        }
    }

    // MARK: Steps of a batch

    /// Takes `count` datagrams from local senders, who take turns, and seals them.
    mutating func sendBatch(_ count: Int) {
        now = now + .microseconds(count)
        for index in 0..<count { send(from: (batches + index / Self.run) % senders) }
        client.finishBatch(now: now)
        batches += 1
    }

    /// Opens at the server what the client has sealed, and hands it to the target.
    mutating func deliverToServer() { takeFromClient() }

    /// Lets the target answer with the same, and seals that at the server. Anything else of the server's goes to the client.
    mutating func answer() {
        serverOutput.take { datagram, route in
            if let destination = route.destination {
                deliver(&datagram, to: destination)
            } else if let flow = route.flow {
                server.handleTarget(datagram.bytes, flow: flow, now: now)
            }
        }
    }

    /// Opens at the client what the server has sealed, and hands it to the senders.
    mutating func deliverToClient() {
        serverOutput.take { datagram, route in
            if let destination = route.destination { deliver(&datagram, to: destination) }
        }
    }

    /// Looks at what has come to the senders.
    mutating func collect() { takeFromClient() }

    /// What a worker does before it waits, and after: asks both cores when they are to be woken and what has happened.
    mutating func wakeUp() {
        if let deadline = client.deadline, deadline <= now { client.handleTimeout(now: now) }
        if let deadline = server.deadline, deadline <= now { server.handleTimeout(now: now) }
        _ = client.takeEvents()
        _ = server.takeEvents()
    }

    // MARK: Inside

    private mutating func send(from sender: Int) {
        let port = UInt16(truncatingIfNeeded: Self.firstSenderPort + sender)
        Self.give(payload, from: Endpoint(address: .loopbackIPv4, port: port), to: &client, now: now)
    }

    private static func give(_ payload: borrowing [UInt8], from sender: Endpoint, to client: inout Client, now: Instant)
    {
        client.handleLocal(payload.span.bytes, from: sender, to: local.address, now: now)
    }

    private mutating func takeFromClient() {
        clientOutput.take { datagram, route in
            if let flow = route.flow, route.destination == nil {
                let port = UInt16(truncatingIfNeeded: Self.firstClientPort + Int(flow.index))
                server.handlePeer(
                    &datagram, from: Endpoint(address: Self.clientAddress, port: port), to: Self.server.address,
                    now: now)
            } else {
                damaged += datagram.byteCount == payload.count ? 0 : 1
                returned += 1
            }
        }
    }

    private mutating func deliver(_ datagram: inout MutableRawSpan, to destination: Endpoint) {
        guard let flow = clientOutput.flow(at: Int(destination.port) - Self.firstClientPort) else { return }
        client.handleRemote(&datagram, link: flow, now: now)
    }

    private mutating func exchange() {
        deliverToServer()
        answer()
        deliverToClient()
        collect()
    }
}
