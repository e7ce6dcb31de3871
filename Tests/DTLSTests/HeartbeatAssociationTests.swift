import Settings
import Testing
import Wire

@testable import DTLS

/// An association whose peer takes part in heartbeats.
private final class End {
    let association: Association<FakeEngine>
    let engine: FakeEngine
    var now = Instant.at(0)
    var delivered = 0
    private var sequence: UInt64 = 100

    init(
        mode: HeartbeatMode? = .peerAllowedToSend, settings: PathSettings = PathSettings(), isEstablished: Bool = true
    ) {
        engine = FakeEngine()
        engine.result.peerHeartbeatMode = mode
        association = Association(engine: engine, path: settings, now: .at(0))
        guard isEstablished else { return }
        receive(FakePeer.handshake(20, sequence: 0))
        association.accept(now: now) { _ in }
        while association.pollEvent() != nil {}
        while association.pollTransmit() != nil {}
    }

    func receive(_ datagram: [UInt8]) {
        var datagram = datagram
        datagram.withMutableBytes { association.receive(&$0, now: now) { _ in delivered += 1 } }
    }

    /// Brings an authentic heartbeat record.
    func beat(_ content: [UInt8], key: UInt64 = 1) {
        receive(FakePeer.sealed(content, as: .heartbeat, sequence: sequence, key: key))
        sequence += 1
    }

    /// The contents of the heartbeat records that were sent since the last call.
    func beats() -> [[UInt8]] {
        var result: [[UInt8]] = []
        while let transmit = association.pollTransmit() {
            for record in records(transmit.datagram) where record.header.type == .heartbeat {
                result.append(Array(record.content.dropLast(8)))
            }
        }
        return result
    }

    func send(_ count: Int) {
        var buffer = [UInt8](repeating: 0, count: count + association.overhead)
        let plaintext = [UInt8](repeating: 1, count: count)
        _ = buffer.withMutableBytes { association.seal(plaintext.bytes, into: &$0) }
    }

    subscript(reason: DropReason) -> UInt64 { association.counters.drops[reason] }
}

/// A request that claims `length` bytes of payload and has `size` in all.
private func request(_ length: Int, size: Int) -> [UInt8] {
    let content = [1, UInt8(length >> 8), UInt8(length & 0xff)] + (0..<max(size - 3, 0)).map { UInt8($0 & 0xff) }
    return Array(content.prefix(size))
}

@Suite struct HeartbeatAssociationTests {
    @Test(arguments: [(19, 1), (64, 1), (300, 11)])
    func `of all payload lengths in an authentic record those that fit are answered, the others get nothing`(
        size: Int, step: Int
    ) {
        let end = End()
        var refused: UInt64 = 0
        for length in stride(from: 0, through: 65_535, by: step) {
            // No faster than answers are given.
            end.now = end.now + .milliseconds(100)
            let content = request(length, size: size)
            end.beat(content)
            let answers = end.beats()
            if length + 19 <= size {
                let isRight =
                    answers.count == 1 && answers[0].count == length + 19 && answers[0][0] == 2
                    && answers[0][1..<3 + length].elementsEqual(content[1..<3 + length])
                if !isRight { Issue.record("\(length): \(answers)") }
            } else {
                refused += 1
                if !answers.isEmpty || end[.heartbeat] != refused {
                    Issue.record("\(length): \(answers.count) answers, \(end[.heartbeat]) counted")
                    return
                }
            }
        }
        #expect(end[.heartbeat] == refused && end.association.counters.drops.total == refused)
        #expect(end.association.isEstablished && end.delivered == 0)
    }

    @Test func `every truncation of a request in an authentic record gets nothing and is counted`() {
        let end = End()
        let whole = request(40, size: 3 + 40 + 16)
        for count in 0..<whole.count { end.beat(Array(whole.prefix(count))) }
        #expect(end.beats().isEmpty && end[.heartbeat] == UInt64(whole.count))
        end.beat(whole)
        #expect(end.beats().count == 1 && end[.heartbeat] == UInt64(whole.count))
        end.beat(request(16, size: 16_384))
        #expect(end.beats().count == 1)
        end.beat(request(16, size: 16_385))
        #expect(end.beats().isEmpty && end.association.isEstablished)
    }

    @Test func `forged and replayed requests get nothing`() {
        let end = End()
        end.beat(request(16, size: 64), key: 2)
        end.receive(FakePeer.clear(.heartbeat, request(16, size: 64)))
        let record = FakePeer.sealed(request(16, size: 64), as: .heartbeat, sequence: 7)
        for _ in 1...3 { end.receive(record) }
        #expect(end.beats().count == 1)
        #expect(end[.notAuthentic] == 1 && end[.contentType] == 1 && end[.replayed] == 2)
    }

    @Test func `a flood of requests is answered in measure, and counted`() {
        let end = End()
        for _ in 0..<1000 { end.beat(request(16, size: 64)) }
        #expect(end.beats().count == 10 && end[.heartbeat] == 990)
        let silent = End(settings: PathSettings(heartbeat: HeartbeatSettings(answers: false)))
        for _ in 0..<100 { silent.beat(request(16, size: 64)) }
        #expect(silent.beats().isEmpty && silent[.heartbeat] == 100)
    }

    @Test func `no heartbeat is sent or answered before the handshake is done`() {
        let end = End(isEstablished: false)
        end.association.start(now: .at(0))
        end.beat(request(16, size: 64))
        end.receive(FakePeer.clear(.heartbeat, request(16, size: 64)))
        for second in 1...60 {
            end.now = .at(Double(second))
            end.association.handleTimeout(now: end.now)
        }
        #expect(end.beats().isEmpty && end[.contentType] == 2)
        #expect(end.association.heartbeat == nil && end.association.pathMTU == nil)
    }

    @Test(arguments: [nil, .peerNotAllowedToSend] as [HeartbeatMode?])
    func `a peer that takes no part is not asked, never given up, and its path is the interface's`(
        mode: HeartbeatMode?
    ) {
        let end = End(mode: mode)
        end.send(1400)
        #expect(end.association.deadline == nil)
        end.association.handleTimeout(now: .at(1e6))
        #expect(end.beats().isEmpty && end.association.isEstablished)
        #expect((end.association.heartbeat == nil) == (mode == nil))
        #expect(end.association.pathMTU == PathMTU(current: 1500, state: .disabled, probes: 0))
        end.beat(request(16, size: 64))
        #expect(end.beats().count == (mode == nil ? 0 : 1))
    }

    @Test func `a silent peer ends the association, any authentic record keeps it, a forged one does not`() {
        for isForged in [false, true] {
            let end = End(settings: PathSettings(pathMTU: PathMTUSettings(discover: false)))
            var endedAt: Instant?
            for tick in 1...4000 where endedAt == nil {
                end.now = .at(Double(tick) / 10)
                if let due = end.association.deadline, due <= end.now { end.association.handleTimeout(now: end.now) }
                if tick.isMultiple(of: 200), tick <= 2000 {
                    end.receive(FakePeer.sealed([1], sequence: UInt64(tick), key: isForged ? 2 : 1))
                }
                while let event = end.association.pollEvent() {
                    if case .ended(let reason) = event {
                        #expect(reason == .unanswered)
                        endedAt = end.now
                    }
                }
            }
            #expect(endedAt.map { abs(($0 - (isForged ? .at(24) : .at(224))).nanoseconds) < 2_000_000_000 } == true)
            #expect(!end.association.isEstablished && end.association.deadline == nil)
            #expect(end.association.heartbeat == nil)
        }
    }

    @Test func `a ping's answer is an event, and so is that of any other heartbeat`() {
        let end = End(settings: PathSettings(pathMTU: PathMTUSettings(discover: false)))
        end.association.needsAttention = false
        #expect(end.association.ping(now: end.now) && end.association.needsAttention)
        var told: [Duration] = []
        for step in 1...120 {
            end.now = .at(Double(step) / 10)
            if let due = end.association.deadline, due <= end.now { end.association.handleTimeout(now: end.now) }
            let requests = end.beats()
            // Answers take 30 ms.
            end.now = end.now + .milliseconds(30)
            for beat in requests { end.beat([2] + beat[1..<35]) }
            while let event = end.association.pollEvent() {
                if case .roundTrip(let duration) = event { told.append(duration) }
            }
        }
        // The ping was on its way for another 100 ms; then, after ten seconds of silence, a request for life.
        #expect(told == [.milliseconds(130), .milliseconds(30)])
        end.association.close()
        #expect(!end.association.ping(now: end.now))
        #expect(!End(isEstablished: false).association.ping(now: .at(0)))
        #expect(!End(mode: nil).association.ping(now: .at(0)))
    }

    @Test func `data that is sent after a silence brings the confirmation of its size forward`() {
        // Whoever serves the timer has to learn of it, or a path that has shrunk is noticed only at the next request.
        let end = End(settings: PathSettings(heartbeat: HeartbeatSettings(interval: .seconds(3600))))
        for step in 1...100 {
            end.now = .at(Double(step) / 10)
            if let due = end.association.deadline, due <= end.now { end.association.handleTimeout(now: end.now) }
            for beat in end.beats() { end.beat([2] + beat[1..<35]) }
        }
        #expect(end.association.pathMTU?.state == .complete)
        end.association.needsAttention = false
        end.now = .at(30)
        end.send(1400)
        #expect(end.association.needsAttention)
        #expect(end.association.deadline.map { $0 <= end.now } == true)
        end.association.needsAttention = false
        end.send(1400)
        #expect(!end.association.needsAttention)
    }
}
