// What the simulations share: the usual cast, and records made by strangers.

import DTLS
import Impairment
import Testing
import Tunnel
import Wire

/// One client, one server and one program, which is all that most scenarios need.
struct Cast {
    let simulation: Simulation
    let server: ServerNode
    let client: ClientNode
    let application: SimulatedApplication

    init(
        _ path: Impairment = .good, seed: UInt64 = 1, keys: SimulatorKeys.Choice = .init(),
        server serverOptions: ServerNode.Options = .init(), client clientOptions: ClientNode.Options = .init()
    ) throws {
        simulation = Simulation(path, seed: seed)
        var serverOptions = serverOptions
        serverOptions.keys = keys
        server = try simulation.addServer(serverOptions)
        var clientOptions = clientOptions
        clientOptions.keys = keys
        client = try simulation.addClient(clientOptions)
        application = simulation.addApplication(at: client)
    }

    var network: SimulatedNetwork { simulation.network }

    /// The client's address on the path, with one flow.
    var clientEndpoint: Endpoint { client.host.localEndpoints.first ?? client.host.shared }
    var serverEndpoint: Endpoint { server.host.shared }

    /// Sends a first datagram and waits for its answer.
    func establish(within limit: Duration = .seconds(10), sourceLocation: SourceLocation = #_sourceLocation) {
        let before = application.received.count
        application.send()
        let isAnswered = simulation.run(within: limit) { application.received.count > before }
        #expect(isAnswered, "no answer within \(limit)", sourceLocation: sourceLocation)
    }

    /// Sends datagrams and expects each of them to be answered.
    func exchange(_ count: Int = 10, sourceLocation: SourceLocation = #_sourceLocation) {
        let before = application.received.count
        application.send(count, every: .milliseconds(10))
        simulation.run(within: .seconds(10)) { application.received.count == before + count }
        #expect(application.received.count == before + count, sourceLocation: sourceLocation)
    }

    /// Delivers a datagram that claims to be from the other end.
    func forge(_ datagram: [UInt8], _ direction: SimulatedNetwork.Direction) {
        let (source, destination) =
            direction == .toServer ? (clientEndpoint, serverEndpoint) : (serverEndpoint, clientEndpoint)
        network.inject(Packet(source: source, destination: destination, bytes: datagram))
    }
}

/// A record as a stranger makes it.
func record(
    _ type: UInt8, epoch: UInt16 = 0, sequence: UInt64 = 7, version: ProtocolVersion = .dtls12, _ content: [UInt8]
) -> [UInt8] {
    let header = RecordHeader(
        type: ContentType(rawValue: type), version: version, number: RecordNumber(epoch: epoch, sequence: sequence),
        length: content.count)
    var bytes = [UInt8](repeating: 0, count: RecordHeader.size)
    bytes.withMutableBytes { _ = header.write(into: &$0) }
    return bytes + content
}

/// Whether a datagram has a handshake record of epoch 1, which is a Finished.
func holdsFinished(_ datagram: [UInt8]) -> Bool {
    headers(of: datagram).contains { $0.type == .handshake && $0.number.epoch == 1 }
}

/// Everything that makes no sense to a DTLS end, or must not have any effect.
let nonsense: [[UInt8]] = {
    let filler = [UInt8](repeating: 0xa5, count: 48)
    var datagrams: [[UInt8]] = [[], [22], filler, record(22, []), record(22, filler), record(22, [20] + filler)]
    for type in [24, 25, 99, 0, 255] as [UInt8] {
        datagrams += [record(type, filler), record(type, epoch: 1, filler), record(type, [])]
    }
    datagrams += [record(23, filler), record(23, epoch: 1, sequence: 1 << 47, filler), record(23, epoch: 2, filler)]
    datagrams += [record(22, epoch: 1, filler), record(21, epoch: 1, filler), record(22, epoch: 65535, filler)]
    datagrams += [record(22, version: ProtocolVersion(rawValue: 0x0303), filler)]
    // Lengths that lie.
    datagrams += [
        Array(record(22, filler).dropLast()), record(22, filler) + [22, 254], Array(record(23, filler).prefix(12)),
    ]
    return datagrams
}()
