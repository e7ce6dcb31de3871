// Where all measured paths end: a thread of its own that counts what arrives, each datagram once, or sends it back.
// A plain receiver, as a legacy application is: the kernel hands it one datagram at a time.

import LinuxIO
import Synchronization
import Wire

/// The receiving end of the measurement.
final class Sink: Sendable {
    /// What the sink and the measuring thread share.
    private final class Shared: Sendable {
        /// The run whose datagrams count.
        let run = Atomic<UInt64>(0)
        /// Datagrams of that run that have arrived, each counted once.
        let received = Atomic<Int>(0)
        let isStopping = Atomic<Bool>(false)
        /// The port, 0 before it is known, -1 when there is none.
        let port = Atomic<Int>(0)
    }

    /// Where to send.
    let endpoint: Endpoint
    private let shared = Shared()
    private let wakeup: Wakeup

    /// Starts the sink on a port of its own.
    init() throws {
        let shared = shared
        let wakeup = try Wakeup()
        self.wakeup = wakeup
        _ = try NativeThread.start(name: "sink") {
            do {
                try Self.run(shared, wakeup)
            } catch {
                shared.port.store(-1, ordering: .releasing)
            }
        }
        let poller = try Poller()
        while shared.port.load(ordering: .acquiring) == 0 { try poller.wait(nanoseconds: 100_000) { _ in } }
        let port = shared.port.load(ordering: .acquiring)
        guard let port = UInt16(exactly: port) else { throw BenchError("the sink could not open a socket") }
        endpoint = Endpoint(address: .loopbackIPv4, port: port)
    }

    deinit {
        shared.isStopping.store(true, ordering: .releasing)
        wakeup.signal()
    }

    /// Datagrams of the current run that have arrived.
    var received: Int { shared.received.load(ordering: .acquiring) }

    /// Counts from zero, for the datagrams of `run` only. No datagram of `run` may have been sent yet.
    func begin(run: UInt64) {
        shared.received.store(0, ordering: .releasing)
        shared.run.store(run, ordering: .releasing)
    }

    private static func run(_ shared: Shared, _ wakeup: Wakeup) throws {
        var options = UDPSocket.Options()
        options.coalescing = false
        let socket = try UDPSocket.bound(to: Endpoint(address: .loopbackIPv4, port: 0), options: options)
        let poller = try Poller()
        try poller.add(socket.descriptor, token: 0)
        try poller.add(wakeup.descriptor, token: 1)
        let batch = ReceiveBatch()
        let answers = SendBatch(segmentation: false)
        var counter = RunCounter()
        shared.port.store(Int(socket.localEndpoint.port), ordering: .releasing)
        while !shared.isStopping.load(ordering: .acquiring) {
            try poller.wait(nanoseconds: nil) { _ in }
            while case .received = batch.receive(from: socket) {
                let run = shared.run.load(ordering: .acquiring)
                if counter.run != run { counter = RunCounter(run: run) }
                batch.forEachDatagram { datagram, source, _ in
                    guard let probe = Probe(datagram.bytes) else { return }
                    if probe.wantsEcho {
                        answers.append(datagram.bytes, on: socket, to: source, token: 0)
                    } else {
                        counter.count(probe)
                    }
                }
                answers.flush { _, _, _ in }
                shared.received.store(counter.unique, ordering: .releasing)
                guard batch.wasFull else { break }
            }
        }
    }
}

/// Counts the datagrams of a run, each once.
private struct RunCounter {
    /// More than any run sends; what claims to be beyond is not ours.
    private static let limit: UInt64 = 1 << 28

    let run: UInt64
    private(set) var unique = 0
    private var seen: [UInt64] = []

    init(run: UInt64 = 0) {
        self.run = run
    }

    mutating func count(_ probe: Probe) {
        guard probe.run == run, probe.sequence < Self.limit else { return }
        let word = Int(probe.sequence >> 6)
        while seen.count <= word { seen.append(0) }
        let bit = UInt64(1) << (probe.sequence & 63)
        guard seen[word] & bit == 0 else { return }
        seen[word] |= bit
        unique += 1
    }
}
