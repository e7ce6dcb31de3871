import Testing
import Wire

@testable import DTLS

@Suite struct HandshakeSupervisorTests {
    /// A supervisor with its engine and counters, and time that a test moves.
    private struct Subject {
        let engine = FakeEngine()
        var supervisor: HandshakeSupervisor<FakeEngine>
        var counters = AssociationCounters()
        var drops: DropCounters { counters.drops }

        init(maximumTimeouts: Int = 6, helloInterval: Duration? = nil) {
            supervisor = HandshakeSupervisor(
                engine: engine, maximumTimeouts: maximumTimeouts, helloInterval: helloInterval, now: .at(0))
        }

        /// Serves every deadline up to `seconds`; answers when datagrams were sent.
        mutating func sendings(until seconds: Double) -> [Instant] {
            var sent: [Instant] = []
            while supervisor.deadline <= .at(seconds) {
                let now = supervisor.deadline
                // The engine's timer agrees with the supervisor's.
                engine.flightTimer = .due(in: .zero)
                _ = supervisor.handleTimeout(now: now)
                while supervisor.pollTransmit() != nil { sent.append(now) }
            }
            return sent
        }

        mutating func receive(_ record: [UInt8], at seconds: Double = 0) -> HandshakeProgress<FakeProtection> {
            guard let header = readRecord(record) else { return .waiting }
            return supervisor.receive(record.bytes, header: header, now: .at(seconds), counters: &counters)
        }

        /// Serves deadline after deadline until the handshake ends; answers when and why.
        mutating func runOut(isEngineDue: Bool = false) -> (at: Instant, failure: HandshakeFailure.Reason)? {
            for _ in 0..<100 {
                let now = supervisor.deadline
                if isEngineDue { engine.flightTimer = .due(in: .zero) }
                if case .failed(let failure) = supervisor.handleTimeout(now: now) { return (now, failure.reason) }
            }
            return nil
        }
    }

    private func failure(_ progress: HandshakeProgress<FakeProtection>) -> HandshakeFailure.Reason? {
        if case .failed(let failure) = progress { failure.reason } else { nil }
    }

    private static let fatal = FakePeer.clear(.alert, [2, 40])

    @Test(
        arguments: [
            (0, ContentType.handshake, nil), (0, .changeCipherSpec, nil), (1, .handshake, nil), (1, .alert, nil),
            (0, .applicationData, .contentType), (0, ContentType(rawValue: 24), .contentType),
            (0, ContentType(rawValue: 25), .contentType), (1, .applicationData, .contentType),
            (1, .changeCipherSpec, .contentType), (1, ContentType(rawValue: 24), .contentType),
            (0, .alert, .contentType),
            (2, .handshake, .epoch), (2, .applicationData, .epoch), (0xffff, .alert, .epoch),
        ] as [(UInt16, ContentType, DropReason?)])
    func `only what belongs to a handshake reaches the engine`(epoch: UInt16, type: ContentType, drop: DropReason?) {
        var subject = Subject()
        _ = subject.receive(FakePeer.clear(type, [1, 40, 0], epoch: epoch))
        #expect(subject.engine.received.count == (drop == nil ? 1 : 0))
        if type == .alert, epoch == 0 {
            // Three bytes are no alert at all.
            #expect(subject.drops[.malformed] == 1)
        } else if let drop {
            #expect(subject.drops[drop] == 1)
        } else {
            #expect(subject.drops.total == 0)
        }
    }

    @Test func `a hello whose cookie nobody takes is given up after its third repetition`() {
        var subject = Subject()
        _ = subject.supervisor.start(now: .at(0))
        // A HelloVerifyRequest; the engine answers it with another hello, and its timer begins anew.
        subject.engine.flightTimer = .due(in: .seconds(1))
        _ = subject.receive(FakePeer.handshake(3, sequence: 0))
        #expect(!subject.supervisor.isUnanswered)
        let end = subject.runOut(isEngineDue: true)
        #expect(end?.failure == .timeout && end.map { $0.at <= .at(16) } == true, "\(String(describing: end))")
        // Whoever goes on after the cookie has all the time there is.
        var other = Subject()
        _ = other.supervisor.start(now: .at(0))
        _ = other.receive(FakePeer.handshake(3, sequence: 0))
        _ = other.receive(FakePeer.handshake(2, sequence: 1))
        #expect(other.runOut(isEngineDue: true).map { $0.at >= .at(60) } == true)
    }

    @Test func `an unanswered flight is repeated with doubling waits, in smaller and smaller datagrams`() {
        let subject = Subject()
        _ = subject.supervisor.start(now: .at(0))
        var sizes: [Int] = []
        for seconds in [1.0, 3, 7, 15, 31, 63] {
            #expect(subject.supervisor.deadline == .at(seconds))
            // OpenSSL's timer has run out by then.
            subject.engine.flightTimer = .due(in: .zero)
            #expect(failure(subject.supervisor.handleTimeout(now: .at(seconds))) == nil)
            sizes.append(subject.engine.datagramSize)
        }
        #expect(sizes == [1472, 1200, 548, 268, 268, 268])
        #expect(subject.engine.timeouts == 6)
        #expect(subject.supervisor.deadline == .at(64))
        #expect(failure(subject.supervisor.handleTimeout(now: .at(64))) == .timeout)
    }

    @Test func `a peer that has said nothing gets the first flight at a steady pace`() {
        var subject = Subject(helloInterval: .seconds(1))
        _ = subject.supervisor.start(now: .at(0))
        let first = subject.supervisor.pollTransmit()
        #expect(first != nil && subject.supervisor.pollTransmit() == nil)
        #expect(subject.supervisor.deadline == .at(1))
        #expect(subject.sendings(until: 12) == (1...12).map { .at(Double($0)) })
        // The engine's own repetitions are as many as without.
        #expect(subject.engine.timeouts == 3)
    }

    @Test func `the first flight is not repeated as it was once the peer has spoken`() {
        var subject = Subject(helloInterval: .seconds(5))
        _ = subject.supervisor.start(now: .at(0))
        while subject.supervisor.pollTransmit() != nil {}
        #expect(subject.sendings(until: 14) == [.at(1), .at(3), .at(7), .at(12)])
        _ = subject.receive(FakePeer.handshake(2, sequence: 0), at: 14.5)
        while subject.supervisor.pollTransmit() != nil {}
        let timeouts = subject.engine.timeouts
        #expect(subject.sendings(until: 40).count == subject.engine.timeouts - timeouts)
    }

    @Test func `a size that is small already is not raised`() {
        let subject = Subject()
        subject.engine.datagramSize = 300
        _ = subject.supervisor.start(now: .at(0))
        for seconds in [1.0, 3, 7, 15] {
            subject.engine.flightTimer = .stopped
            _ = subject.supervisor.handleTimeout(now: .at(seconds))
        }
        #expect(subject.engine.datagramSize == 268)
    }

    @Test func `an attempt may be given up sooner`() {
        let subject = Subject(maximumTimeouts: 2)
        _ = subject.supervisor.start(now: .at(0))
        for (seconds, isOver) in [(1.0, false), (3, false), (7, true)] {
            subject.engine.flightTimer = .due(in: .zero)
            #expect((failure(subject.supervisor.handleTimeout(now: .at(seconds))) == .timeout) == isOver)
        }
        #expect(subject.engine.timeouts == 2)
    }

    @Test func `a handshake that goes on but never ends is given up after 64 seconds`() {
        var subject = Subject()
        for second in 0..<64 {
            #expect(failure(subject.supervisor.handleTimeout(now: .at(Double(second)))) == nil)
            subject.engine.flightTimer = .due(in: .seconds(2))
            _ = subject.receive(FakePeer.handshake(2, sequence: UInt64(second)), at: Double(second))
        }
        #expect(failure(subject.supervisor.handleTimeout(now: .at(64))) == .timeout)
    }

    @Test func `a server that waits for its client has no timer but the last`() {
        var subject = Subject()
        subject.engine.flightTimer = .stopped
        _ = subject.receive(FakePeer.handshake(1, sequence: 0))
        #expect(subject.supervisor.deadline == .at(64))
    }

    @Test func `a timer of zero is not served for ever`() {
        let subject = Subject()
        subject.engine.flightTimer = .due(in: .zero)
        _ = subject.supervisor.start(now: .at(0))
        #expect(subject.supervisor.deadline > .at(0))
    }

    @Test func `a timeout before its time does nothing`() {
        let subject = Subject()
        _ = subject.supervisor.start(now: .at(0))
        _ = subject.supervisor.handleTimeout(now: .at(0.9))
        #expect(subject.engine.timeouts == 0)
    }

    // On a busy machine the time at which a batch of work began may be this much older than the flights it sends.
    @Test(arguments: [20, 500, 1000])
    func `the engine's clock being behind a little is not a lost flight`(milliseconds: Int) {
        let subject = Subject()
        let late = 1 + Double(milliseconds) / 1000
        _ = subject.supervisor.start(now: .at(0))
        subject.engine.flightTimer = .due(in: .milliseconds(milliseconds))
        #expect(failure(subject.supervisor.handleTimeout(now: .at(1))) == nil)
        #expect(subject.engine.timeouts == 0)
        #expect(subject.supervisor.deadline == .at(late))
        subject.engine.flightTimer = .due(in: .zero)
        _ = subject.supervisor.handleTimeout(now: .at(late))
        #expect(subject.engine.timeouts == 1)
    }

    @Test(arguments: [(984, 0), (986, 1)])
    func `a flight that the engine repeats while it reads counts as a lost one`(milliseconds: Int, timeouts: Int) {
        var subject = Subject()
        _ = subject.supervisor.start(now: .at(0))
        subject.engine.flightTimer = .due(in: .milliseconds(1000 - milliseconds))
        _ = subject.receive(FakePeer.handshake(2, sequence: 0), at: Double(milliseconds) / 1000)
        #expect(subject.engine.timeouts == timeouts && subject.engine.received.count == 1)
    }

    @Test func `a clock that was set ends the handshake, so that a fresh one begins`() {
        let back = Subject()
        _ = back.supervisor.start(now: .at(0))
        back.engine.flightTimer = .unreliable
        #expect(failure(back.supervisor.handleTimeout(now: .at(1))) == .clockStep)

        let seen = Subject()
        seen.engine.flightTimer = .unreliable
        // As long as the peer answers, it goes on.
        #expect(failure(seen.supervisor.start(now: .at(0))) == nil)
        #expect(failure(seen.supervisor.handleTimeout(now: .at(1))) == .clockStep)

        let small = Subject()
        _ = small.supervisor.start(now: .at(0))
        small.engine.flightTimer = .due(in: .milliseconds(1100))
        #expect(failure(small.supervisor.handleTimeout(now: .at(1))) == .clockStep)

        let longest = Subject()
        longest.engine.flightTimer = .due(in: .seconds(60))
        #expect(failure(longest.supervisor.start(now: .at(0))) == nil)
    }

    @Test func `an alert in the clear is believed after two seconds without a handshake record`() {
        var subject = Subject()
        subject.engine.flightTimer = .stopped
        #expect(failure(subject.receive(Self.fatal, at: 1)) == nil)
        #expect(subject.engine.received.isEmpty)
        #expect(subject.supervisor.deadline == .at(3))
        #expect(failure(subject.supervisor.handleTimeout(now: .at(2.9))) == nil)
        #expect(failure(subject.supervisor.handleTimeout(now: .at(3))) == .alert(.init(rawValue: 40)))
    }

    @Test func `a handshake that goes on has not been ended by an alert in the clear`() {
        var subject = Subject()
        subject.engine.flightTimer = .stopped
        _ = subject.receive(Self.fatal, at: 1)
        _ = subject.receive(FakePeer.handshake(2, sequence: 0), at: 2)
        #expect(failure(subject.supervisor.handleTimeout(now: .at(3))) == nil)
        #expect(subject.supervisor.deadline == .at(64))
        // The next one counts from its own time, and one after that does not postpone it.
        _ = subject.receive(Self.fatal, at: 5)
        _ = subject.receive(Self.fatal, at: 6)
        #expect(failure(subject.supervisor.handleTimeout(now: .at(7))) == .alert(.init(rawValue: 40)))
    }

    @Test(
        arguments: [
            ([2, 40], true), ([2, 0], true), ([1, 0], true), ([1, 90], true), ([1, 100], false), ([1, 112], false),
        ] as [([UInt8], Bool)])
    func `only an alert that ends a handshake is suspicious, but each is counted`(alert: [UInt8], isEnd: Bool) {
        var subject = Subject()
        subject.engine.flightTimer = .stopped
        _ = subject.receive(FakePeer.clear(.alert, alert))
        #expect(subject.supervisor.deadline == (isEnd ? .at(2) : .at(64)))
        #expect(subject.drops[.contentType] == 1)
    }

    @Test(arguments: [[], [2], [2, 40, 0], [9, 40]] as [[UInt8]]) func `what is no alert is malformed`(content: [UInt8])
    {
        var subject = Subject()
        subject.engine.flightTimer = .stopped
        _ = subject.receive(FakePeer.clear(.alert, content))
        #expect(subject.drops[.malformed] == 1)
        #expect(subject.supervisor.deadline == .at(64))
    }
}
