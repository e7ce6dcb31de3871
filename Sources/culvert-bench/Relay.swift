// The limit that culvert is measured against: a plaintext UDP relay on the same I/O engine, both directions, one
// connected upstream socket per sender. Two of them make a tunnel without cryptography.

import LinuxIO
import Wire

/// A plaintext UDP relay.
final class Relay {
    /// A sender and its socket towards the target.
    private struct Client {
        let endpoint: Endpoint
        let upstream: UDPSocket
    }

    private static let listenerToken: UInt64 = 0
    private static let signalToken: UInt64 = 1
    private static let firstClientToken: UInt64 = 2
    /// More senders than a measurement has; what comes from others is dropped.
    private static let maximumClients = 1024
    /// Batches taken from one socket before the others get their turn.
    private static let batchesPerTurn = 8

    /// Where the relay listens; the port is the real one.
    let listenEndpoint: Endpoint

    private let target: Endpoint
    private let listener: UDPSocket
    private let poller: Poller
    private let signals: SignalSource
    private let receiveBatch = ReceiveBatch()
    private let sendBatch = SendBatch()
    private var clients: [Client] = []
    private var indices: [Endpoint: Int] = [:]

    /// Opens the socket; nothing is carried before `run`.
    init(listen: Endpoint, forward: Endpoint) throws(SystemError) {
        target = forward
        signals = try SignalSource([.interrupt, .terminate])
        poller = try Poller()
        listener = try UDPSocket.bound(to: listen)
        listenEndpoint = listener.localEndpoint
        try poller.add(listener.descriptor, token: Self.listenerToken)
        try poller.add(signals.descriptor, token: Self.signalToken)
    }

    /// Carries datagrams until SIGINT or SIGTERM comes.
    func run() throws(SystemError) {
        var ready: [UInt64] = []
        while true {
            ready.removeAll(keepingCapacity: true)
            try poller.wait(nanoseconds: nil) { ready.append($0) }
            for token in ready {
                switch token {
                case Self.signalToken: if signals.next() != nil { return }
                case Self.listenerToken: relayUp()
                default: relayDown(clients[Int(token - Self.firstClientToken)])
                }
            }
        }
    }

    private func relayUp() {
        for _ in 0..<Self.batchesPerTurn {
            guard case .received = receiveBatch.receive(from: listener) else { return }
            // Datagrams of one sender come in a row.
            var last: Client?
            receiveBatch.forEachDatagram { datagram, source, _ in
                if last?.endpoint != source { last = client(source) }
                guard let last else { return }
                sendBatch.append(datagram.bytes, on: last.upstream, token: 0)
            }
            sendBatch.flush { _, _, _ in }
            guard receiveBatch.wasFull else { return }
        }
    }

    private func relayDown(_ client: Client) {
        for _ in 0..<Self.batchesPerTurn {
            guard case .received = receiveBatch.receive(from: client.upstream) else { return }
            receiveBatch.forEachDatagram { datagram, _, _ in
                sendBatch.append(datagram.bytes, on: listener, to: client.endpoint, token: 0)
            }
            sendBatch.flush { _, _, _ in }
            guard receiveBatch.wasFull else { return }
        }
    }

    private func client(_ endpoint: Endpoint) -> Client? {
        if let index = indices[endpoint] { return clients[index] }
        guard clients.count < Self.maximumClients, let upstream = try? UDPSocket.connected(to: target) else {
            return nil
        }
        let token = Self.firstClientToken + UInt64(clients.count)
        guard (try? poller.add(upstream.descriptor, token: token)) != nil else { return nil }
        let client = Client(endpoint: endpoint, upstream: upstream)
        indices[endpoint] = clients.count
        clients.append(client)
        return client
    }
}
