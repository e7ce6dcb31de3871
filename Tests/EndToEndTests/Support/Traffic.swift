// What a sender of log messages does: datagrams one way only, at a steady pace, each with a number by which it is known again.

import Synchronization
import TestSupport
import Wire

/// Numbered datagrams one way, fifty a second, and which of them were lost.
final class Traffic: Sendable {
    struct Loss: Sendable {
        let number: UInt64
        let size: Int
        let at: ContinuousClock.Instant
    }

    private struct State {
        var sentAt: [(at: ContinuousClock.Instant, size: Int)] = []
        var arrivedAt: [UInt64: ContinuousClock.Instant] = [:]
        var isEnding = false
        var hasEnded = false
    }

    private let state = Mutex(State())

    /// Begins; `destination` is where to, unless the sender is connected.
    init(
        from sender: Peer, to target: Peer, at destination: Endpoint? = nil, sizes: [Int],
        every interval: Duration = .milliseconds(20)
    ) {
        Task { [weak self] in
            var number: UInt64 = 0
            var quietSince = ContinuousClock.now
            while let self {
                while let received = target.take() {
                    let number = received.bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
                    self.state.withLock { $0.arrivedAt[number] = .now }
                    quietSince = .now
                }
                let isEnding = self.state.withLock { $0.isEnding }
                if isEnding {
                    if ContinuousClock.now - quietSince > .milliseconds(500) { break }
                } else {
                    let size = sizes[Int(number) % sizes.count]
                    let bytes = (0..<8).map { UInt8(truncatingIfNeeded: number >> (56 - 8 * $0)) }
                    self.state.withLock { $0.sentAt.append((.now, size)) }
                    sender.send(bytes + [UInt8](repeating: 7, count: size - 8), to: destination)
                    number += 1
                    quietSince = .now
                }
                try? await Task.sleep(for: interval)
            }
            self?.state.withLock { $0.hasEnded = true }
        }
    }

    /// Stops sending, and waits until nothing arrives any more.
    func end() async throws {
        state.withLock { $0.isEnding = true }
        try await eventually("the end of the traffic") { state.withLock { $0.hasEnded } }
    }

    /// How many were sent.
    var sent: Int { state.withLock { $0.sentAt.count } }

    /// Those that have not arrived.
    var lost: [Loss] {
        state.withLock { state in
            state.sentAt.enumerated().compactMap { number, sending in
                state.arrivedAt[UInt64(number)] == nil
                    ? Loss(number: UInt64(number), size: sending.size, at: sending.at) : nil
            }
        }
    }

    /// When the first datagram arrived that was sent at `moment` or later.
    func arrival(ofWhatWasSentAfter moment: ContinuousClock.Instant) -> ContinuousClock.Instant? {
        state.withLock { state in
            var earliest: ContinuousClock.Instant?
            for (number, arrival) in state.arrivedAt where state.sentAt[Int(number)].at >= moment {
                earliest = min(earliest ?? arrival, arrival)
            }
            return earliest
        }
    }
}
