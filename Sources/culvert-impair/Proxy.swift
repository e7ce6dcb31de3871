// The proxy of culvert-impair: one socket that senders see, one connected socket per sender towards the target, and an
// impaired path in each direction that all senders share, as they would share a link. One thread, bounded memory; no
// error of a single socket ends it.

import Impairment
import LinuxIO
import Wire

/// A UDP proxy that sends everything through impaired paths.
final class Proxy {
    /// What the proxy is asked to do.
    struct Settings {
        var listen: Endpoint
        var forward: Endpoint
        var up: Impairment
        var down: Impairment
        var seed: UInt64
        var idle: Duration
        var maximumClients: Int
        var statistics: Duration?
    }

    /// A sender and its socket towards the target.
    private struct Client {
        let endpoint: Endpoint
        /// The local address that the sender used; answers leave from it.
        var localAddress: IPAddress
        let upstream: UDPSocket
        var lastActive: Int64
    }

    private static let listenerToken: UInt64 = 0
    private static let signalToken: UInt64 = 1
    /// Batches taken from one socket before the others get their turn.
    private static let batchesPerTurn = 8

    /// Where the proxy listens; the port is the real one.
    let listenEndpoint: Endpoint

    private let settings: Settings
    private let listener: UDPSocket
    private let poller: Poller
    private let signals: SignalSource
    private let receiveBatch = ReceiveBatch()
    private let sendBatch = SendBatch()
    private var up: ImpairedPath
    private var down: ImpairedPath
    private var clients: [UInt64: Client] = [:]
    private var identifiers: [Endpoint: UInt64] = [:]
    private var nextIdentifier: UInt64 = 2
    private var sendFailures = 0
    private var refusedClients = 0

    /// Opens the socket; nothing is carried before `run`.
    init(_ settings: Settings) throws(SystemError) {
        self.settings = settings
        signals = try SignalSource([.interrupt, .terminate])
        poller = try Poller()
        try ResourceLimits.raiseOpenFiles()
        var options = UDPSocket.Options()
        options.packetInfo = true
        listener = try UDPSocket.bound(to: settings.listen, options: options)
        try listener.setFragmentation(.allowed)
        listenEndpoint = listener.localEndpoint
        var seeds = SeededGenerator(seed: settings.seed)
        up = ImpairedPath(settings.up, seed: seeds.next())
        down = ImpairedPath(settings.down, seed: seeds.next())
        try poller.add(listener.descriptor, token: Self.listenerToken)
        try poller.add(signals.descriptor, token: Self.signalToken)
    }

    /// Carries datagrams until SIGINT or SIGTERM comes, and prints the counters.
    func run() throws(SystemError) {
        let interval = settings.statistics.map(nanoseconds)
        var nextStatistics = interval.map { MonotonicClock.now + $0 }
        var nextExpiry = Int64.max
        var ready: [UInt64] = []
        while true {
            var now = MonotonicClock.now
            deliver(at: now)
            if now >= nextExpiry || nextExpiry == .max { nextExpiry = expireIdle(at: now) }
            if let due = nextStatistics, let interval, now >= due {
                printCounters()
                nextStatistics = now + interval
            }
            let deadlines = [up.nextDeparture, down.nextDeparture, nextStatistics, nextExpiry].compactMap { $0 }
            let deadline = deadlines.min() ?? .max
            ready.removeAll(keepingCapacity: true)
            try poller.wait(nanoseconds: deadline == .max ? nil : deadline - now) { ready.append($0) }
            now = MonotonicClock.now
            for token in ready {
                if token == Self.signalToken, signals.next() != nil {
                    printCounters()
                    return
                }
                if token == Self.listenerToken {
                    receiveFromClients(at: now)
                } else {
                    receiveFromTarget(token, at: now)
                }
            }
        }
    }

    // MARK: - In

    private func receiveFromClients(at now: Int64) {
        var turn = 0
        while turn < Self.batchesPerTurn, case .received = receiveBatch.receive(from: listener) {
            receiveBatch.forEachDatagram { datagram, source, destination in
                guard let identifier = identifier(of: source, at: now) else { return }
                clients[identifier]?.lastActive = now
                clients[identifier]?.localAddress = destination
                up.submit(datagram.bytes.copied(), tag: Int(truncatingIfNeeded: identifier), at: now)
            }
            guard receiveBatch.wasFull else { return }
            turn += 1
        }
    }

    private func receiveFromTarget(_ identifier: UInt64, at now: Int64) {
        guard let upstream = clients[identifier]?.upstream else { return }
        var turn = 0
        while turn < Self.batchesPerTurn, case .received = receiveBatch.receive(from: upstream) {
            clients[identifier]?.lastActive = now
            receiveBatch.forEachDatagram { datagram, _, _ in
                down.submit(datagram.bytes.copied(), tag: Int(truncatingIfNeeded: identifier), at: now)
            }
            guard receiveBatch.wasFull else { return }
            turn += 1
        }
    }

    // MARK: - Out

    private func deliver(at now: Int64) {
        while let departure = up.takeNext(at: now) {
            guard let client = clients[UInt64(departure.tag)] else { continue }
            sendBatch.append(departure.datagram.bytes, on: client.upstream, token: 0)
        }
        while let departure = down.takeNext(at: now) {
            guard let client = clients[UInt64(departure.tag)] else { continue }
            sendBatch.append(
                departure.datagram.bytes, on: listener, to: client.endpoint, from: client.localAddress, token: 0)
        }
        flush()
    }

    private func flush() {
        var failures = 0
        sendBatch.flush { _, datagrams, _ in failures += datagrams }
        sendFailures += failures
    }

    // MARK: - Clients

    /// The client that belongs to an endpoint, made if need be; nil if there is no socket for it.
    private func identifier(of endpoint: Endpoint, at now: Int64) -> UInt64? {
        if let known = identifiers[endpoint] { return known }
        if clients.count >= settings.maximumClients,
            let oldest = clients.min(by: { $0.value.lastActive < $1.value.lastActive })?.key
        {
            remove(oldest)
        }
        do throws(SystemError) {
            let upstream = try UDPSocket.connected(to: settings.forward)
            try upstream.setFragmentation(.allowed)
            try poller.add(upstream.descriptor, token: nextIdentifier)
            clients[nextIdentifier] = Client(
                endpoint: endpoint, localAddress: .anyIPv6, upstream: upstream, lastActive: now)
        } catch {
            refusedClients += 1
            return nil
        }
        identifiers[endpoint] = nextIdentifier
        nextIdentifier += 1
        return nextIdentifier - 1
    }

    /// Forgets the clients that have been idle for too long; returns when to look again.
    private func expireIdle(at now: Int64) -> Int64 {
        let idle = nanoseconds(settings.idle)
        for (identifier, client) in clients where now - client.lastActive >= idle { remove(identifier) }
        guard let oldest = clients.values.map(\.lastActive).min() else { return .max }
        return oldest + idle
    }

    private func remove(_ identifier: UInt64) {
        guard let client = clients.removeValue(forKey: identifier) else { return }
        identifiers[client.endpoint] = nil
    }

    // MARK: - Counters

    private func printCounters() {
        for (name, counters) in [("up", up.counters), ("down", down.counters)] {
            print(
                "\(name): submitted=\(counters.submitted) delivered=\(counters.delivered)",
                "dropped=\(counters.dropped) dropped_in_burst=\(counters.droppedInBurst)",
                "dropped_over_mtu=\(counters.droppedOverMTU) dropped_queue_full=\(counters.droppedQueueFull)",
                "duplicated=\(counters.duplicated) reordered=\(counters.reordered) corrupted=\(counters.corrupted)")
        }
        print("proxy: clients=\(clients.count) refused_clients=\(refusedClients) send_failures=\(sendFailures)")
        flushOutput()
    }
}

/// A duration of at most a day, as the settings allow it.
private func nanoseconds(_ duration: Duration) -> Int64 {
    let (seconds, attoseconds) = duration.components
    return seconds * 1_000_000_000 + attoseconds / 1_000_000_000
}
