// The network of a simulation: two sites, each perfect within itself, and between them one impaired path for each
// direction. It has no clock of its own and no randomness besides the seed.

import DTLS
import Impairment
import Wire

/// A UDP datagram with its addresses.
struct Packet {
    var source: Endpoint
    var destination: Endpoint
    var bytes: [UInt8]
    /// Whether IP may cut it into pieces on its way.
    var mayFragment = true

    /// Bytes of the IP packet, uncut.
    var size: Int { bytes.count + source.headerSize }
}

/// Carries packets between the endpoints that are bound to it.
final class SimulatedNetwork {
    /// Across the path between the sites.
    enum Direction {
        case toServer, toClient
    }

    /// One packet that was sent across.
    struct Crossing {
        let direction: Direction
        let packet: Packet
        let sentAt: Instant
    }

    /// The two directions; their impairments may be changed at any time.
    var toServer: ImpairedPath
    var toClient: ImpairedPath
    /// The path's MTU in each direction, for packets that must not be cut; the others get through in pieces.
    var mtu: (toServer: Int, toClient: Int) = (65_535, 65_535)
    /// Packets that were larger than that.
    private(set) var tooLarge = 0
    /// Sees each packet before it crosses and says whether it goes on; for losses that are no chance.
    var filter: (Packet, Direction) -> Bool = { _, _ in true }
    /// Everything that was sent across, losses included.
    private(set) var history: [Crossing] = []
    /// Whether it is kept; a flood would fill the memory.
    var keepsHistory = true
    /// How many packets were sent back across the path.
    private(set) var answered = 0
    /// Packets that nobody was there for.
    private(set) var undeliverable = 0

    private var sockets: [Endpoint: (Packet) -> Void] = [:]
    /// A queue: what stands before `insideNext` has been delivered.
    private var inside: [Packet] = []
    private var insideNext = 0
    private var routes: [Route] = []
    private var routeTags: [Route: Int] = [:]
    private var outerByInner: [Endpoint: Endpoint] = [:]
    private var innerByOuter: [Endpoint: Endpoint] = [:]

    private struct Route: Hashable {
        let source: Endpoint
        let destination: Endpoint
    }

    init(toServer: Impairment, toClient: Impairment, seed: UInt64) {
        self.toServer = ImpairedPath(toServer, seed: seed)
        self.toClient = ImpairedPath(toClient, seed: seed ^ 0x5eed)
    }

    /// Whether an address is on the server's side of the path: 198.51.100.0/24 and 2001:db8:5::/48 are, everything else
    /// is not.
    static func isServerSide(_ address: IPAddress) -> Bool {
        address.isIPv4 ? address.ipv4Bits >> 8 == 0xc6_3364 : serverSite?.contains(address) == true
    }

    private static let serverSite = IPPrefix("2001:db8:5::/48")

    func bind(_ endpoint: Endpoint, _ receive: @escaping (Packet) -> Void) { sockets[endpoint] = receive }

    func unbind(_ endpoint: Endpoint) { sockets[endpoint] = nil }

    /// From now on, what `inner` sends across comes from `outer`, as when a NAT has forgotten a mapping; answers to
    /// `outer` reach `inner`.
    func rebind(_ inner: Endpoint, to outer: Endpoint) {
        if let old = outerByInner[inner] { innerByOuter[old] = nil }
        outerByInner[inner] = outer
        innerByOuter[outer] = inner
    }

    /// Sends a packet, across the path or within a site.
    func send(_ packet: Packet, now: Instant) {
        let toServerSide = Self.isServerSide(packet.destination.address)
        guard toServerSide != Self.isServerSide(packet.source.address) else { return inside.append(packet) }
        var packet = packet
        packet.source = outerByInner[packet.source] ?? packet.source
        let direction = toServerSide ? Direction.toServer : .toClient
        if direction == .toClient { answered += 1 }
        if keepsHistory { history.append(Crossing(direction: direction, packet: packet, sentAt: now)) }
        guard filter(packet, direction) else { return }
        guard packet.mayFragment || packet.size <= (toServerSide ? mtu.toServer : mtu.toClient) else {
            tooLarge += 1
            return
        }
        let tag = tag(Route(source: packet.source, destination: packet.destination))
        switch direction {
        case .toServer: toServer.submit(packet.bytes, tag: tag, at: now.nanoseconds)
        case .toClient: toClient.submit(packet.bytes, tag: tag, at: now.nanoseconds)
        }
    }

    /// Delivers a packet that nobody in the simulation has sent, past the path and its history.
    func inject(_ packet: Packet) { inside.append(packet) }

    /// When the next packet arrives.
    func nextArrival(now: Instant) -> Instant? {
        if !inside.isEmpty { return now }
        let times = [toServer.nextDeparture, toClient.nextDeparture].compactMap { $0 }
        return times.min().map { Instant(nanoseconds: $0) }
    }

    /// Delivers one packet that is due; false when there is none.
    func deliverNext(now: Instant) -> Bool {
        if !inside.isEmpty {
            deliver(inside[insideNext])
            insideNext += 1
            if insideNext == inside.count {
                inside = []
                insideNext = 0
            }
            return true
        }
        let first = toServer.nextDeparture ?? .max
        let second = toClient.nextDeparture ?? .max
        let departure =
            first <= second ? toServer.takeNext(at: now.nanoseconds) : toClient.takeNext(at: now.nanoseconds)
        guard let departure else { return false }
        let route = routes[departure.tag]
        let inner = innerByOuter[route.destination] ?? route.destination
        deliver(Packet(source: route.source, destination: inner, bytes: departure.datagram))
        return true
    }

    private func deliver(_ packet: Packet) {
        if let receive = sockets[packet.destination] { receive(packet) } else { undeliverable += 1 }
    }

    private func tag(_ route: Route) -> Int {
        if let tag = routeTags[route] { return tag }
        routes.append(route)
        routeTags[route] = routes.count - 1
        return routes.count - 1
    }
}
