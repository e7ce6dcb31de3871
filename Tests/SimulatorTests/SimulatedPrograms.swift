// The plaintext programs at the two ends of a simulated tunnel. What they send is numbered and can be checked, so
// that loss, repetition, damage and mixing up are all told apart.

import Tunnel
import Wire

/// The datagrams that one program has got, by number.
struct Deliveries {
    /// How often each number has come.
    private(set) var counts: [Int: Int] = [:]
    /// The numbers in the order of their coming.
    private(set) var order: [Int] = []
    /// Datagrams that are not what was sent.
    private(set) var damaged = 0

    /// How many different ones have come.
    var count: Int { counts.count }
    var repeated: Int { counts.values.reduce(0) { $0 + $1 - 1 } }
    var areInOrder: Bool { zip(order, order.dropFirst()).allSatisfy(<) }

    mutating func take(_ datagram: [UInt8], from program: Int) {
        guard let (sender, number) = NumberedDatagram.read(datagram), sender == program else { return damaged += 1 }
        counts[number, default: 0] += 1
        order.append(number)
    }
}

/// Datagrams whose content follows from who sent them and their number.
enum NumberedDatagram {
    static let minimumSize = 8

    static func make(program: Int, number: Int, size: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: max(size, minimumSize))
        for index in 0..<4 {
            bytes[index] = UInt8(truncatingIfNeeded: program >> (8 * index))
            bytes[4 + index] = UInt8(truncatingIfNeeded: number >> (8 * index))
        }
        for index in bytes.indices.dropFirst(8) { bytes[index] = UInt8(truncatingIfNeeded: number &* 31 &+ index) }
        return bytes
    }

    static func read(_ bytes: [UInt8]) -> (program: Int, number: Int)? {
        guard bytes.count >= minimumSize else { return nil }
        let program = (0..<4).reduce(0) { $0 | Int(bytes[$1]) << (8 * $1) }
        let number = (0..<4).reduce(0) { $0 | Int(bytes[4 + $1]) << (8 * $1) }
        return bytes == make(program: program, number: number, size: bytes.count) ? (program, number) : nil
    }
}

/// A legacy program that sends numbered datagrams into a tunnel and notes the answers.
final class SimulatedApplication {
    let id: Int
    let endpoint: Endpoint
    /// How many datagrams it has sent.
    private(set) var sent = 0
    /// The answers.
    private(set) var received = Deliveries()

    private let destination: Endpoint
    private unowned let simulation: Simulation

    init(id: Int, endpoint: Endpoint, sendingTo destination: Endpoint, in simulation: Simulation) {
        self.id = id
        self.endpoint = endpoint
        self.destination = destination
        self.simulation = simulation
        simulation.network.bind(endpoint) { [unowned self] in received.take($0.bytes, from: id) }
    }

    func send(size: Int = 64) {
        let bytes = NumberedDatagram.make(program: id, number: sent, size: size)
        sent += 1
        simulation.network.send(Packet(source: endpoint, destination: destination, bytes: bytes), now: simulation.now)
    }

    /// Sends `count` datagrams, the first one `interval` from now.
    func send(_ count: Int, every interval: Duration, size: Int = 64) {
        for index in 1...max(count, 1) {
            simulation.schedule(after: interval * index) { [weak self] in self?.send(size: size) }
        }
    }
}

/// The legacy server behind a tunnel: notes what comes, and answers with the same.
final class SimulatedTarget {
    let endpoint: Endpoint
    /// Whether it answers.
    var answers = true
    /// What has come, by the program that it is from.
    private(set) var received: [Int: Deliveries] = [:]
    /// The source addresses that it has seen.
    private(set) var senders: Set<Endpoint> = []
    /// What is from nobody.
    private(set) var damaged = 0

    private unowned let simulation: Simulation

    init(endpoint: Endpoint, in simulation: Simulation) {
        self.endpoint = endpoint
        self.simulation = simulation
        simulation.network.bind(endpoint) { [unowned self] in take($0) }
    }

    /// What `application` has got through.
    func deliveries(_ application: SimulatedApplication) -> Deliveries { received[application.id] ?? Deliveries() }

    /// Sends a datagram as if it were an answer to `application`, unasked, to an association's own socket.
    func send(number: Int, for application: SimulatedApplication, to destination: Endpoint) {
        let bytes = NumberedDatagram.make(program: application.id, number: number, size: 64)
        simulation.network.send(Packet(source: endpoint, destination: destination, bytes: bytes), now: simulation.now)
    }

    private func take(_ packet: Packet) {
        senders.insert(packet.source)
        guard let (program, _) = NumberedDatagram.read(packet.bytes) else { return damaged += 1 }
        received[program, default: Deliveries()].take(packet.bytes, from: program)
        guard answers else { return }
        simulation.network.send(
            Packet(source: endpoint, destination: packet.source, bytes: packet.bytes), now: simulation.now)
    }
}
