import Settings
import Testing
import Wire

@testable import DTLS

/// A monitor with its clock, and everything it wanted sent.
private final class Watch {
    var monitor: HeartbeatMonitor
    var now = Instant.at(0)
    /// When which request left, copies included.
    var sent: [(at: Double, number: UInt64)] = []
    var diedAt: Double?

    init(_ settings: HeartbeatSettings = HeartbeatSettings(), peerMode: HeartbeatMode = .peerAllowedToSend) {
        monitor = HeartbeatMonitor(PathSettings(heartbeat: settings), peerMode: peerMode, now: .at(0))
    }

    /// Lets time pass, with nothing but the timer.
    func run(until limit: Double) {
        var steps = 0
        while diedAt == nil, let deadline = monitor.deadline, deadline <= .at(limit) {
            now = max(now, deadline)
            follow(monitor.handleTimeout(now: now))
            steps += 1
            guard steps < 10_000 else {
                Issue.record("time stands still at \(now)")
                return
            }
        }
        now = max(now, .at(limit))
    }

    func follow(_ outcome: HeartbeatMonitor.Outcome) {
        switch outcome {
        case .send(_, let number): sent.append((Double(now.nanoseconds) / 1e9, number))
        case .dead: diedAt = Double(now.nanoseconds) / 1e9
        case .nothing, .answered, .lost: break
        }
    }

    func ask(_ purpose: HeartbeatMonitor.Purpose, at time: Double) -> HeartbeatMonitor.Outcome {
        monitor.ask(purpose, now: .at(time))
    }

    func time(_ time: Double) -> HeartbeatMonitor.Outcome { monitor.handleTimeout(now: .at(time)) }

    func abandonProbe() -> HeartbeatMonitor.Outcome { monitor.abandonProbe() }

    func mayAnswer(at time: Double) -> Bool { monitor.mayAnswer(now: .at(time)) }

    func respond(_ payload: [UInt8], _ time: Double) -> HeartbeatMonitor.Outcome {
        monitor.receive(response: payload.bytes, now: .at(time))
    }

    func answer(_ number: UInt64, at time: Double) -> HeartbeatMonitor.Outcome {
        now = .at(time)
        monitor.heard(now)
        return monitor.receive(response: HeartbeatMonitor.payload(number).bytes, now: now)
    }
}

@Suite struct HeartbeatMonitorTests {
    @Test func `only silence for the interval makes it ask`() {
        let watch = Watch()
        for second in 1...100 {
            watch.run(until: Double(second))
            watch.monitor.heard(watch.now)
        }
        #expect(watch.sent.isEmpty && watch.monitor.statistics.sent == 0)
        #expect(watch.monitor.deadline == .at(110))
        watch.run(until: 109.999)
        #expect(watch.sent.isEmpty)
        watch.run(until: 110)
        #expect(watch.sent.map(\.at) == [110])
    }

    @Test func `it asks at ticks that all associations have in common, the first ones after the interval by chance`() {
        var random = SplitMix64(seed: 1)
        var late: Set<Int64> = []
        for step in 0..<2000 {
            let watch = Watch()
            let heardAt = Double(step) * 0.0137
            watch.monitor.heard(.at(heardAt))
            watch.monitor.drawJitter(&random)
            let due = watch.monitor.deadline?.nanoseconds ?? 0
            #expect(due % 50_000_000 == 0)
            let first = (Instant.at(heardAt + 10).nanoseconds + 49_999_999) / 50_000_000
            late.insert(due / 50_000_000 - first)
            // A timer that fires does what it was set for.
            #expect(watch.time(Double(due) / 1e9) != .nothing)
        }
        #expect(late == Set(0..<10))
    }

    @Test func `an answer begins the silence anew, and requests have numbers of their own`() {
        let watch = Watch()
        var expected: [Double] = []
        for round in 0..<50 {
            watch.run(until: watch.now == .at(0) ? 10 : Double(watch.now.nanoseconds) / 1e9 + 10)
            expected.append((expected.last ?? 0) + (round == 0 ? 10 : 10.1))
            let outcome = watch.answer(UInt64(round), at: expected[round] + 0.1)
            #expect(outcome == .answered(.liveness, roundTrip: .milliseconds(100)))
        }
        #expect(watch.sent.map(\.number) == Array(0..<50))
        #expect(zip(watch.sent, expected).allSatisfy { abs($0.at - $1) < 0.001 })
        #expect(watch.monitor.statistics.answered == 50 && watch.monitor.statistics.lost == 0)
    }

    @Test func `copies follow at doubling waits within the request's time, under the same number`() {
        let watch = Watch()
        watch.run(until: 11.999)
        #expect(watch.sent.map(\.at) == [10, 10.25, 10.75, 11.75])
        #expect(Set(watch.sent.map(\.number)) == [0])
        #expect(watch.monitor.statistics.sent == 1)
        watch.run(until: 12)
        #expect(watch.sent.last?.number == 1)
    }

    @Test func `the first copy waits for twice the round trip, a second at most`() {
        for (roundTrip, wait) in [(0.01, 0.25), (0.2, 0.4), (0.4, 0.8), (0.9, 1)] {
            let watch = Watch()
            watch.run(until: 10)
            _ = watch.answer(0, at: 10 + roundTrip)
            watch.run(until: 21.999 + roundTrip)
            #expect(abs(watch.sent[2].at - watch.sent[1].at - wait) < 0.001)
        }
        // A timeout that is shorter leaves no room for copies.
        let watch = Watch(HeartbeatSettings(timeout: .milliseconds(100)))
        watch.run(until: 10.15)
        #expect(watch.sent.map(\.number) == [0, 1])
    }

    @Test func `with the defaults a silent peer is dead after 24 seconds, and not before`() {
        let watch = Watch()
        watch.run(until: 100)
        #expect(watch.diedAt == 24)
        #expect(watch.sent.count == 28 && Set(watch.sent.map(\.number)) == Set(0..<7))
        #expect(watch.monitor.statistics.lost == 7)
    }

    @Test(arguments: [0, 1, 3, 100])
    func `as many requests as retries say follow the first`(retries: Int) {
        let watch = Watch(HeartbeatSettings(interval: .seconds(5), timeout: .seconds(1), retries: retries))
        watch.run(until: 1000)
        #expect(watch.diedAt == 6 + Double(retries))
        #expect(watch.monitor.statistics.sent == UInt64(retries) + 1)
    }

    @Test func `the last answer in time, or any sign of life, saves the peer and clears the count`() {
        let watch = Watch()
        watch.run(until: 23.9)
        #expect(watch.diedAt == nil)
        #expect(watch.answer(6, at: 23.9) == .answered(.liveness, roundTrip: nil))
        watch.run(until: 47.8)
        #expect(watch.diedAt == nil)
        // Data this time, and the answer is lost.
        watch.monitor.heard(.at(47.8))
        watch.run(until: 57.79)
        #expect(watch.diedAt == nil && !watch.monitor.isAsking)
        watch.run(until: 71)
        #expect(watch.diedAt == nil)
        watch.run(until: 72)
        #expect(watch.diedAt.map { abs($0 - 71.8) < 0.001 } == true)
    }

    @Test func `there is one request in flight at most`() {
        let watch = Watch()
        guard case .send(.probe, let number) = watch.ask(.probe(datagramSize: 1400), at: 1) else {
            Issue.record("no probe")
            return
        }
        #expect(watch.monitor.isAsking)
        #expect(watch.ask(.probe(datagramSize: 1300), at: 1) == .nothing)
        #expect(watch.ask(.liveness, at: 1) == .nothing)
        #expect(watch.answer(number, at: 1.1) == .answered(.probe(datagramSize: 1400), roundTrip: .milliseconds(100)))
        #expect(!watch.monitor.isAsking)
        watch.run(until: 11.1)
        #expect(watch.ask(.probe(datagramSize: 1300), at: 11.1) == .nothing)
    }

    @Test func `a probe is sent once, and its loss is no sign of death`() {
        let watch = Watch(HeartbeatSettings(interval: .seconds(1000)))
        for round in 0..<100 {
            let now = Double(round)
            #expect(watch.ask(.probe(datagramSize: 1400), at: now) != .nothing)
            let end = watch.monitor.deadline
            #expect(end == .at(now + 1))
            #expect(watch.time(now + 0.5) == .nothing)
            #expect(watch.time(now + 1) == .lost(.probe(datagramSize: 1400)))
        }
        #expect(watch.monitor.statistics == HeartbeatStatistics())
    }

    @Test func `a probe's round trip sets how long the next one is waited for`() {
        for (roundTrip, wait) in [(0.001, 0.25), (0.1, 0.4), (0.2, 0.8), (0.4, 1.6), (0.6, 2), (1.9, 2)] {
            let watch = Watch(HeartbeatSettings(interval: .seconds(100)))
            guard case .send(_, let number) = watch.ask(.probe(datagramSize: 1400), at: 0) else {
                Issue.record("no probe")
                return
            }
            _ = watch.answer(number, at: roundTrip)
            _ = watch.ask(.probe(datagramSize: 1400), at: 10)
            #expect(watch.monitor.deadline == .at(10 + wait))
        }
    }

    @Test func `a probe is not waited for more than a second into the time of a request for life`() {
        let watch = Watch()
        _ = watch.ask(.probe(datagramSize: 1400), at: 0)
        _ = watch.answer(0, at: 0.6)
        _ = watch.ask(.probe(datagramSize: 1400), at: 9)
        #expect(watch.monitor.deadline == .at(10.6))
        #expect(watch.time(10.6) == .lost(.probe(datagramSize: 1400)))
        #expect(watch.monitor.isSilent(.at(10.6)) && !watch.monitor.isSilent(.at(10.59)))
        // But for a while an answer is waited for.
        _ = watch.ask(.probe(datagramSize: 1400), at: 10.5)
        #expect(watch.monitor.deadline == .at(11.5))
    }

    @Test func `a probe that could not be sent is over at once, a request for life is not`() {
        let watch = Watch()
        #expect(watch.abandonProbe() == .nothing)
        _ = watch.ask(.probe(datagramSize: 1400), at: 1)
        #expect(watch.abandonProbe() == .lost(.probe(datagramSize: 1400)))
        #expect(!watch.monitor.isAsking)
        _ = watch.ask(.liveness, at: 1)
        #expect(watch.abandonProbe() == .nothing && watch.monitor.isAsking)
    }

    @Test func `a peer that does not allow it is never asked, and its silence means nothing`() {
        let watch = Watch(peerMode: .peerNotAllowedToSend)
        #expect(watch.monitor.deadline == nil && !watch.monitor.mayAsk)
        #expect(watch.time(1e6) == .nothing)
        #expect(watch.ask(.liveness, at: 1) == .nothing)
        #expect(watch.ask(.probe(datagramSize: 1000), at: 1) == .nothing)
        #expect(watch.monitor.deadline == nil && watch.monitor.statistics.sent == 0)
        // It may still ask itself.
        #expect(watch.mayAnswer(at: 2))
    }

    @Test func `answers are given in bursts of ten and ten a second, and none where they are switched off`() {
        let watch = Watch()
        #expect((0..<1000).count { _ in watch.mayAnswer(at: 1) } == 10)
        #expect(!watch.mayAnswer(at: 1.09))
        #expect(watch.mayAnswer(at: 1.1) && !watch.mayAnswer(at: 1.1))
        var given = 0
        for step in 0..<100_000 where watch.mayAnswer(at: 100 + Double(step) / 1000) { given += 1 }
        #expect(given <= 10 + 1000 && given >= 1000)
        // However long nobody asked, no more than a burst has been saved up.
        #expect((0..<1000).count { _ in watch.mayAnswer(at: 1e9) } == 10)
        #expect(watch.monitor.statistics.answers == UInt64(11 + given + 10))

        let silent = Watch(HeartbeatSettings(answers: false))
        #expect(!silent.mayAnswer(at: 1) && silent.monitor.statistics.answers == 0)
        #expect(HeartbeatSettings(answers: false).mode == .peerNotAllowedToSend)
        #expect(HeartbeatSettings().mode == .peerAllowedToSend)
    }

    @Test func `a request that needed a copy tells no round trip`() {
        // Karn's rule: nobody knows which of the copies was answered.
        let watch = Watch()
        watch.run(until: 10.25)
        #expect(watch.sent.count == 2)
        #expect(watch.answer(0, at: 10.3) == .answered(.liveness, roundTrip: nil))
        #expect(watch.monitor.statistics.lastRoundTrip == nil && watch.monitor.statistics.answered == 1)
        #expect(watch.monitor.statistics.lastAnswer == .at(10.3))
        watch.run(until: 20.3)
        #expect(watch.answer(1, at: 20.5) == .answered(.liveness, roundTrip: .milliseconds(200)))
        watch.run(until: 30.5)
        #expect(watch.answer(2, at: 30.54) == .answered(.liveness, roundTrip: .milliseconds(40)))
        #expect(watch.monitor.statistics.lastRoundTrip == .milliseconds(40))
        #expect(watch.monitor.statistics.minimumRoundTrip == .milliseconds(40))
        #expect(watch.monitor.statistics.meanRoundTrip == .milliseconds(180))
    }

    @Test func `answers of another number, length or time are none`() {
        let watch = Watch()
        // Nobody has asked.
        #expect(watch.respond(HeartbeatMonitor.payload(0), 5) == .nothing)
        watch.run(until: 12.1)
        let right = HeartbeatMonitor.payload(1)
        for wrong in [
            [], Array(right.dropLast()), right + [0], HeartbeatMonitor.payload(0), HeartbeatMonitor.payload(2),
        ] {
            #expect(watch.respond(wrong, 12.1) == .nothing)
        }
        #expect(watch.monitor.isAsking && watch.monitor.statistics.answered == 0)
        #expect(watch.respond(right, 12.1) == .answered(.liveness, roundTrip: .milliseconds(100)))
        // Twice is once too often.
        #expect(watch.respond(right, 12.1) == .nothing)
        #expect(watch.monitor.statistics.answered == 1)
    }

    @Test func `settings at their ends neither trap nor make time stand still`() {
        for interval in [Duration.nanoseconds(1), .milliseconds(100), .seconds(Int64.max / 2)] {
            for timeout in [Duration.zero, .nanoseconds(1), .milliseconds(100), .seconds(Int64.max / 2)] {
                let watch = Watch(HeartbeatSettings(interval: interval, timeout: timeout, retries: 2))
                watch.run(until: 1000)
                #expect(watch.sent.count < 1000)
            }
        }
    }
}
