// Thousands of hours of idle associations on lossy paths: the monitors of both ends, with a virtual wire between them and
// nothing else, because only so are the hours affordable. CULVERT_VIRTUAL_HOURS says how many; CI takes 10,000.

import Foundation
import Testing

@testable import DTLS

/// Two ends that have nothing to say, and a wire that loses.
private struct IdlePair {
    private struct Message {
        let at: Instant
        let toFirst: Bool
        let isRequest: Bool
        let number: UInt64
    }

    private(set) var now = Instant.at(seconds: 0)
    /// Whether the second end is still there.
    var isSecondAlive = true
    /// When the first end gave the second up.
    private(set) var firstGaveUp: Instant?
    private(set) var secondGaveUp: Instant?

    private var first: HeartbeatMonitor
    private var second: HeartbeatMonitor
    private var wire: [Message] = []
    private var random: SplitMix64
    private let loss: UInt64
    private let delay: Duration

    init(loss: Double, delay: Duration = .milliseconds(20), seed: UInt64) {
        let settings = PathSettings()
        first = HeartbeatMonitor(settings, peerMode: .peerAllowedToSend, now: now)
        second = HeartbeatMonitor(settings, peerMode: .peerAllowedToSend, now: now)
        random = SplitMix64(seed: seed)
        self.loss = UInt64(loss * 0x1p53)
        self.delay = delay
        // The search for the path MTU comes first and tells the round trip: on a long path there are fewer copies then.
        _ = first.ask(.probe(datagramSize: 1228), now: now)
        _ = second.ask(.probe(datagramSize: 1228), now: now)
        now = now + delay + delay
        _ = first.receive(response: HeartbeatMonitor.payload(0).bytes, now: now)
        _ = second.receive(response: HeartbeatMonitor.payload(0).bytes, now: now)
        first.drawJitter(&random)
        second.drawJitter(&random)
    }

    /// Lets time pass, until an end gives up.
    mutating func run(until end: Instant) {
        while firstGaveUp == nil, secondGaveUp == nil {
            let a = first.deadline ?? end
            let b = isSecondAlive ? second.deadline ?? end : Instant(nanoseconds: .max)
            let arrival = wire.first?.at ?? Instant(nanoseconds: .max)
            let next = min(a, b, arrival)
            guard next < end else { break }
            now = next
            if arrival == next {
                deliver(wire.removeFirst())
            } else if a == next {
                follow(first.handleTimeout(now: now), isFirst: true)
            } else {
                follow(second.handleTimeout(now: now), isFirst: false)
            }
        }
        now = max(now, end)
    }

    private mutating func deliver(_ message: Message) {
        guard message.toFirst || isSecondAlive else { return }
        if message.toFirst { first.heard(now) } else { second.heard(now) }
        if message.isRequest {
            let mayAnswer = message.toFirst ? first.mayAnswer(now: now) : second.mayAnswer(now: now)
            if mayAnswer { send(toFirst: !message.toFirst, isRequest: false, message.number) }
            return
        }
        let payload = HeartbeatMonitor.payload(message.number)
        if message.toFirst {
            follow(first.receive(response: payload.bytes, now: now), isFirst: true)
        } else {
            follow(second.receive(response: payload.bytes, now: now), isFirst: false)
        }
    }

    private mutating func follow(_ outcome: HeartbeatMonitor.Outcome, isFirst: Bool) {
        switch outcome {
        case .send(_, let number):
            if isFirst { first.drawJitter(&random) } else { second.drawJitter(&random) }
            send(toFirst: !isFirst, isRequest: true, number)
        case .dead: if isFirst { firstGaveUp = now } else { secondGaveUp = now }
        case .nothing, .answered, .lost: break
        }
    }

    private mutating func send(toFirst: Bool, isRequest: Bool, _ number: UInt64) {
        guard random.next() >> 11 >= loss else { return }
        wire.append(Message(at: now + delay, toFirst: toFirst, isRequest: isRequest, number: number))
    }
}

extension Instant {
    fileprivate static func at(seconds: Int64) -> Instant { Instant(nanoseconds: seconds * 1_000_000_000) }
}

@Suite struct SilentLossTests {
    private static let hours = ProcessInfo.processInfo.environment["CULVERT_VIRTUAL_HOURS"].flatMap(Int64.init) ?? 1000

    @Test(arguments: [0, 0.05, 0.1, 0.15, 0.19], [20, 300])
    func `no live association is given up below 20 % of loss in each direction`(loss: Double, delay: Int) {
        // In pieces of 50 hours, each with a beginning and a seed of its own.
        var left = Self.hours / 10
        var seed: UInt64 = 1
        while left > 0 {
            let piece = min(left, 50)
            var pair = IdlePair(loss: loss, delay: .milliseconds(delay), seed: seed &* 0x9e37_79b9)
            pair.run(until: .at(seconds: piece * 3600))
            #expect(pair.firstGaveUp == nil && pair.secondGaveUp == nil, "after \(pair.now), seed \(seed)")
            left -= piece
            seed += 1
        }
    }

    @Test(arguments: [0, 0.1, 0.2, 0.3, 0.4, 0.5])
    func `a dead peer is always given up, within 25 seconds`(loss: Double) {
        var waits: [Duration] = []
        for seed in 1...500 as ClosedRange<UInt64> {
            var pair = IdlePair(loss: loss, seed: seed &* 0x51_7cc1)
            let moment = Instant(nanoseconds: 20_000_000_000 + Int64(seed) * 123_456_789)
            pair.run(until: moment)
            // At much loss it may have been given up before.
            guard pair.firstGaveUp == nil, pair.secondGaveUp == nil else { continue }
            pair.isSecondAlive = false
            pair.run(until: moment + .seconds(60))
            waits.append((pair.firstGaveUp ?? .at(seconds: 1_000_000)) - moment)
        }
        #expect(waits.count > 400)
        // Not before it has been silent for so long, not later than what was under way allows.
        #expect(waits.allSatisfy { $0 <= .seconds(25) })
    }
}
