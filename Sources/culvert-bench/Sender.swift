// The sending end of the measurement: one socket, thus one flow, per contender. A plain sender, as a legacy application
// is: bursts by sendmmsg without UDP_SEGMENT. It sleeps between bursts, since a spinning sender would take the CPU that
// the contenders are measured on.

import LinuxIO
import Wire

/// Sends measuring datagrams towards one contender.
final class Sender {
    /// Datagrams in one burst.
    static let burst = 16

    private let socket: UDPSocket
    private let poller: Poller
    private let batch = SendBatch(messageCapacity: Sender.burst, segmentation: false)
    private let answers = ReceiveBatch()
    private var failures = 0

    /// Makes a sender towards `entry`.
    init(to entry: Endpoint) throws(SystemError) {
        socket = try UDPSocket.connected(to: entry)
        poller = try Poller()
    }

    /// Sends one datagram.
    func send(_ probe: Probe, size: Int) {
        append(probe, size: size)
        flush()
    }

    /// Sends at an even rate for a time, in bursts.
    /// - Returns: the datagrams that the kernel took, and how many seconds it took.
    func send(
        run: UInt64, size: Int, rate: Double, seconds: Double, burst: Int
    ) throws(SystemError) -> (sent: Int, seconds: Double) {
        failures = 0
        let interval = Double(burst) * 1e9 / rate
        let bursts = max(1, Int(seconds * 1e9 / interval))
        let begin = MonotonicClock.now
        for index in 0..<bursts {
            let due = begin + Int64(Double(index) * interval)
            let now = MonotonicClock.now
            if now < due { try poller.wait(nanoseconds: due - now) { _ in } }
            // What cannot be sent in twice the time is not going to be this rate.
            if Double(now - begin) > 2 * seconds * 1e9 { return (index * burst - failures, elapsed(since: begin)) }
            for offset in 0..<burst { append(Probe(run: run, sequence: UInt64(index * burst + offset)), size: size) }
            flush()
        }
        return (bursts * burst - failures, elapsed(since: begin))
    }

    /// Sends one datagram and waits for its echo.
    /// - Returns: the round trip in nanoseconds; nil if no echo came within 200 ms.
    func roundTrip(run: UInt64, sequence: UInt64, size: Int) throws(SystemError) -> Int64? {
        try poller.add(socket.descriptor, token: 0)
        defer { try? poller.remove(socket.descriptor) }
        let begin = MonotonicClock.now
        send(Probe(run: run | Probe.echoFlag, sequence: sequence), size: size)
        while true {
            let left = begin + 200_000_000 - MonotonicClock.now
            guard left > 0 else { return nil }
            try poller.wait(nanoseconds: left) { _ in }
            guard case .received = answers.receive(from: socket) else { continue }
            let end = MonotonicClock.now
            var isAnswered = false
            answers.forEachDatagram { datagram, _, _ in
                guard let probe = Probe(datagram.bytes) else { return }
                if probe.run == run | Probe.echoFlag, probe.sequence == sequence { isAnswered = true }
            }
            if isAnswered { return end - begin }
        }
    }

    /// Sends until something arrives at the sink: that the whole path works is the only readiness that counts.
    /// - Returns: whether something has within so many seconds.
    func reaches(_ sink: Sink, through processes: [ChildProcess], seconds: Int) throws -> Bool {
        let run = UInt64.random(in: 1 << 32..<Probe.echoFlag)
        sink.begin(run: run)
        for sequence in 0..<seconds * 10 {
            send(Probe(run: run, sequence: UInt64(sequence)), size: 64)
            try pause(nanoseconds: 100_000_000)
            if sink.received > 0 { return true }
            guard processes.allSatisfy(\.isRunning) else { throw BenchError("a process has ended") }
        }
        return false
    }

    /// Waits.
    func pause(nanoseconds: Int64) throws(SystemError) {
        let end = MonotonicClock.now + nanoseconds
        while case let left = end - MonotonicClock.now, left > 0 { try poller.wait(nanoseconds: left) { _ in } }
    }

    private func append(_ probe: Probe, size: Int) {
        batch.append(on: socket, token: 0, maximum: size) { datagram in
            probe.write(to: &datagram)
            return size
        }
    }

    private func flush() {
        batch.flush { _, datagrams, _ in failures += datagrams }
    }

    private func elapsed(since begin: Int64) -> Double {
        Double(MonotonicClock.now - begin) / 1e9
    }
}
