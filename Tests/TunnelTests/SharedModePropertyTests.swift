// Shared mode between a client's and a server's group over a path that loses, repeats and reorders, by seed: whatever happens,
// nothing reaches the wrong flow or service, nothing arrives twice, and nobody is stuck once the path is good again.

import DTLS
import Foundation
import Settings
import Testing
import Wire

@testable import Tunnel

/// A message that says whose it is.
private struct Message: Hashable {
    var member: UInt8
    var sender: UInt16
    var number: UInt16
    var isReply: Bool

    init(member: UInt8, sender: UInt16, number: UInt16, isReply: Bool = false) {
        (self.member, self.sender, self.number, self.isReply) = (member, sender, number, isReply)
    }

    /// Reads a message and checks that none of its filling is harmed.
    init?(_ bytes: [UInt8]) {
        guard bytes.count >= 6 else { return nil }
        member = bytes[0]
        sender = UInt16(bytes[1]) << 8 | UInt16(bytes[2])
        number = UInt16(bytes[3]) << 8 | UInt16(bytes[4])
        isReply = bytes[5] == 1
        guard self.bytes(count: bytes.count) == bytes else { return nil }
    }

    func bytes(count: Int) -> [UInt8] {
        var bytes = [
            member, UInt8(sender >> 8), UInt8(sender & 255), UInt8(number >> 8), UInt8(number & 255), isReply ? 1 : 0,
        ]
        for index in 6..<max(count, 6) { bytes.append(UInt8(truncatingIfNeeded: index &* 31 &+ Int(number))) }
        return bytes
    }
}

/// Both ends and the path between them.
private final class World {
    private struct Packet {
        var arrival: Instant
        var toServer: Bool
        var bytes: [UInt8]
    }

    static let peer = Endpoint(address: IPAddress(ipv4: 0xc000_0201), port: 6514)
    static let members = 2
    static let senders = 4

    var now = Instant.at(0)
    var loss: Double
    /// Datagrams that the path damages, of each one.
    var corruption = 0.0
    var random: SplitMix64
    private(set) var delivered: Set<Message> = []
    private(set) var faults: [String] = []
    /// What has come to each end: from the local side, and from the other end.
    private var came = (client: (local: UInt64(0), peer: UInt64(0)), server: (local: UInt64(0), peer: UInt64(0)))
    private var sent: [UInt8: UInt16] = [:]
    private var flight: [Packet] = []
    private let clientOutput = FakeOutput()
    private let serverOutput = FakeOutput()
    private var client: ClientGroup<FakeEngine, FakeOutput>!
    private var server: ServerGroup<FakeEngine, FakeOutput>!

    init(seed: UInt64, loss: Double) {
        random = SplitMix64(seed: seed)
        self.loss = loss
        var limits = TunnelLimits()
        // Now one end is the more patient one, now the other.
        limits.flowTimeout = .seconds(Int.random(in: 2...6, using: &random))
        var others = TunnelLimits()
        others.flowTimeout = .seconds(Int.random(in: 2...6, using: &random))
        // Heartbeats keep the association while its flows come and go; nobody is given up for a bad path here.
        let path = PathSettings(
            heartbeat: HeartbeatSettings(interval: .seconds(1), retries: 1000),
            pathMTU: PathMTUSettings(discover: false))
        client = ClientGroup(
            (0..<Self.members).map { GroupMember(service: "s\($0)", target: .endpoint(Self.peer), limits: limits) },
            policy: ReconnectPolicy(), path: path, sharing: .auto, output: clientOutput, seed: seed
        ) { Self.engine($0) }
        server = ServerGroup(
            (0..<Self.members).map { member in
                GroupMember(
                    service: "s\(member)", target: .endpoint(Self.target(member)), limits: others)
            },
            path: path, sharing: .auto, cookieExchange: false, firstKey: FakeKey(1), output: serverOutput, seed: seed,
            now: now, makeKey: { FakeKey(UInt64($0) + 1) }
        ) { Self.engine($0) }
        shakeHands()
    }

    static func target(_ member: Int) -> Endpoint { Endpoint(address: .loopbackIPv4, port: UInt16(100 + member)) }

    private static func engine(_ datagramSize: Int) -> FakeEngine {
        let engine = FakeEngine(datagramSize: datagramSize)
        engine.result.applicationProtocol = SharedFrame.applicationProtocol
        engine.result.peerHeartbeatMode = .peerAllowedToSend
        engine.flightTimer = .stopped
        return engine
    }

    /// The handshake itself is not in question here.
    private func shakeHands() {
        client.start(now: now)
        send(member: 0, sender: 1)
        var finished = FakePeer.handshake(20, sequence: 0)
        for flow in clientOutput.open.keys {
            finished.withMutableBytes { client.handleRemote(&$0, flow: flow, now: now) }
            came.client.peer += 1
        }
        for var datagram in [FakePeer.hello(), FakePeer.handshake(20, sequence: 9)] {
            came.server.peer += 1
            datagram.withMutableBytes { server.handlePeer(&$0, from: sender(1), to: .loopbackIPv4, now: now) }
        }
        carry()
    }

    /// An application sends something new.
    func send(member: UInt8, sender number: UInt16) {
        let count = sent[member, default: 0]
        sent[member] = count + 1
        let message = Message(member: member, sender: number, number: count)
        // Some in one record, some in pieces.
        let size = Int.random(in: 0..<8, using: &random) == 0 ? Int.random(in: 1300...4000, using: &random) : 8
        came.client.local += 1
        client.handleLocal(
            message.bytes(count: size).bytes, member: Int(member), from: sender(number + 1000 * UInt16(member)),
            to: .loopbackIPv4, now: now)
        carry()
    }

    /// Lets time pass and the path deliver.
    func pass(_ duration: Duration) {
        let end = now + duration
        while true {
            let next = [flight.map(\.arrival).min(), client.deadline, server.deadline].compactMap { $0 }.min()
            guard let next, next <= end else { break }
            now = max(now, next)
            deliver()
            if let due = client.deadline, due <= now { client.handleTimeout(now: now) }
            if let due = server.deadline, due <= now { server.handleTimeout(now: now) }
            carry()
        }
        now = end
    }

    private func deliver() {
        let due = flight.filter { $0.arrival <= now }
        flight.removeAll { $0.arrival <= now }
        for packet in due {
            var bytes = packet.bytes
            if packet.toServer {
                came.server.peer += 1
                bytes.withMutableBytes { server.handlePeer(&$0, from: sender(1), to: .loopbackIPv4, now: now) }
            } else if let flow = clientOutput.open.keys.first {
                came.client.peer += 1
                bytes.withMutableBytes { client.handleRemote(&$0, flow: flow, now: now) }
            }
        }
    }

    /// Brings what both ends have written to where it goes.
    private func carry() {
        client.finishBatch(now: now)
        while !(clientOutput.sent.isEmpty && clientOutput.shared.isEmpty && serverOutput.sent.isEmpty
            && serverOutput.shared.isEmpty)
        {
            for datagram in clientOutput.takeSent() { put(datagram, toServer: true) }
            for datagram in serverOutput.takeShared() { put(datagram.bytes, toServer: false) }
            for reply in clientOutput.takeShared() { checkReply(reply) }
            let arrived = serverOutput.sent
            serverOutput.sent = []
            for (flow, bytes) in arrived { answer(bytes, flow) }
        }
    }

    private func put(_ datagram: [UInt8], toServer: Bool) {
        // Flights of the handshake were brought by hand.
        let types: [ContentType] = [.applicationData, .alert, .heartbeat]
        guard types.contains(where: { $0.rawValue == datagram.first }) else { return }
        let copies = Double.random(in: 0..<1, using: &random) < 0.2 ? 2 : 1
        for _ in 0..<copies where Double.random(in: 0..<1, using: &random) >= loss {
            let delay = Duration.milliseconds(Int.random(in: 1...400, using: &random))
            var bytes = datagram
            if Double.random(in: 0..<1, using: &random) < corruption,
                let place = bytes.indices.randomElement(using: &random)
            {
                bytes[place] ^= UInt8.random(in: 1...255, using: &random)
            }
            flight.append(Packet(arrival: now + delay, toServer: toServer, bytes: bytes))
        }
    }

    /// The target's application: it answers from where it was asked.
    private func answer(_ bytes: [UInt8], _ flow: FlowID) {
        guard let message = Message(bytes), !message.isReply else {
            faults.append("harmed at the target")
            return
        }
        guard serverOutput.open[flow] == Self.target(Int(message.member)) else {
            faults.append("\(message) came to another service")
            return
        }
        if !delivered.insert(message).inserted { faults.append("\(message) came twice") }
        var reply = message
        reply.isReply = true
        came.server.local += 1
        server.handleTarget(reply.bytes(count: bytes.count).bytes, flow: flow, now: now)
    }

    private func checkReply(_ reply: FakeOutput.Shared) {
        guard let message = Message(reply.bytes), message.isReply else {
            faults.append("harmed at the sender")
            return
        }
        let expected = sender(message.sender + 1000 * UInt16(message.member))
        if reply.destination != expected || reply.listener != Int(message.member) {
            faults.append("\(message) came to \(reply.destination) at tunnel \(reply.listener)")
        }
        if !delivered.insert(message).inserted { faults.append("\(message) came twice") }
    }

    /// Closes both ends; answers where what came is not what was carried, used or dropped.
    func imbalances() -> [String] {
        // Before that, data may wait for the end of the handshake.
        let associations = (client.snapshots().page + server.snapshots().page).filter { $0.state == .established }
            .map(\.counters)
        let unbalanced = associations.filter {
            $0.offered + $0.records != $0.datagramsIn + $0.datagramsOut + $0.control + $0.drops.beforeCarried
        }
        client.close()
        server.close()
        carry()
        let groups = [
            ("client", came.client, (0..<Self.members).map { client.counters(of: $0) }),
            ("server", came.server, (0..<Self.members).map { server.counters(of: $0) }),
        ]
        return unbalanced.map { "an association: \($0)" }
            + groups.compactMap { name, came, members in
                var sum = TunnelCounters()
                for member in members { sum.add(member) }
                let accounted = sum.datagramsIn + sum.datagramsOut + sum.control + sum.drops.beforeCarried
                // Each datagram here holds one record, as long as its header says so.
                let isComplete =
                    (sum.receivedOut, sum.receivedIn) == (came.local, came.peer) && sum.records >= came.peer
                if isComplete, accounted == came.local + sum.records { return nil }
                let drops = DropReason.allCases.filter { sum.drops[$0] > 0 }.map { "\($0.name) \(sum.drops[$0])" }
                return "\(name): \(came) came, \(accounted) accounted for, \(sum.records) records, \(drops)"
            }
    }

    /// Ends the association that the client's flows share, from one end.
    func closeAssociation(atClient: Bool) {
        if atClient, let serial = client.snapshots().page.first?.serial {
            _ = client.close(serial: serial, now: now)
        } else if let serial = server.snapshots().page.first?.serial {
            _ = server.close(serial: serial)
        }
        carry()
    }

    /// Senders that get no answer although nothing is lost any more.
    func stuck() -> [String] {
        loss = 0
        // A flow whose end has not been heard of is known to be over by the first datagram at the latest.
        for _ in 0..<2 {
            for member in 0..<UInt8(Self.members) {
                for number in 1...UInt16(Self.senders) { send(member: member, sender: number) }
            }
            pass(.seconds(1))
        }
        var stuck: [String] = []
        for member in 0..<UInt8(Self.members) {
            let last = (sent[member] ?? 0) - UInt16(Self.senders)
            for number in 1...UInt16(Self.senders) {
                let reply = Message(member: member, sender: number, number: last + number - 1, isReply: true)
                if !delivered.contains(reply) { stuck.append("\(reply)") }
            }
        }
        return stuck
    }
}

@Suite struct SharedModePropertyTests {
    /// In CI all ten thousand, at a desk a part of them.
    private static let perPart = ProcessInfo.processInfo.environment["CULVERT_VIRTUAL_HOURS"] == nil ? 50 : 1250

    @Test(arguments: 0..<8)
    func `nothing goes astray, nothing comes twice and nobody is stuck, whatever the path does`(part: Int) throws {
        for seed in part * Self.perPart..<(part + 1) * Self.perPart {
            let world = World(seed: UInt64(seed), loss: Double(seed % 6) / 10)
            for _ in 0..<12 {
                let member = UInt8.random(in: 0..<UInt8(World.members), using: &world.random)
                let sender = UInt16.random(in: 1...UInt16(World.senders), using: &world.random)
                world.send(member: member, sender: sender)
                // At times for longer than a flow lives.
                world.pass(.milliseconds(Int.random(in: 0...1, using: &world.random) == 0 ? 50 : 1700))
            }
            let stuck = world.stuck()
            try #require(world.faults.isEmpty && stuck.isEmpty, "seed \(seed): \(world.faults), stuck: \(stuck)")
            try #require(world.delivered.count > 16)
            let imbalances = world.imbalances()
            try #require(imbalances.isEmpty, "seed \(seed): \(imbalances)")
        }
    }

    @Test(arguments: 0..<4)
    func `all that came was carried, was the protocol's own, or was dropped`(part: Int) throws {
        for seed in part * Self.perPart / 2..<(part + 1) * Self.perPart / 2 {
            let world = World(seed: UInt64(seed), loss: Double(seed % 6) / 10)
            world.corruption = 0.1
            for round in 0..<30 {
                for _ in 0..<Int.random(in: 1...8, using: &world.random) {
                    let member = UInt8.random(in: 0..<UInt8(World.members), using: &world.random)
                    let sender = UInt16.random(in: 1...UInt16(World.senders), using: &world.random)
                    world.send(member: member, sender: sender)
                }
                world.pass(.milliseconds(Int.random(in: 0...9, using: &world.random) == 0 ? 2500 : 50))
                if round == 20, seed % 2 == 0 { world.closeAssociation(atClient: seed % 4 == 0) }
            }
            let imbalances = world.imbalances()
            try #require(imbalances.isEmpty, "seed \(seed): \(imbalances)")
        }
    }
}
