import DTLS
import Testing
import Wire

/// An association with its engine, and what it has delivered, sent and told.
private final class Subject {
    let engine = FakeEngine()
    let association: Association<FakeEngine>
    var delivered: [[UInt8]] = []
    var now = Instant.at(0)

    init() { association = Association(engine: engine, now: .at(0)) }

    /// One whose handshake is done, and that is accepted unless told otherwise.
    static func established(isAccepted: Bool = true, _ prepare: (FakeEngine) -> Void = { _ in }) -> Subject {
        let subject = Subject()
        prepare(subject.engine)
        subject.receive(FakePeer.handshake(20, sequence: 0))
        _ = subject.events()
        if isAccepted { subject.accept() }
        _ = subject.sent()
        return subject
    }

    func receive(_ datagrams: [UInt8]...) {
        for var datagram in datagrams {
            datagram.withMutableBytes { bytes in
                association.receive(&bytes, now: now) { delivered.append($0.copied()) }
            }
        }
    }

    func accept() { association.accept(now: now) { delivered.append($0.copied()) } }

    func seal(_ plaintext: [UInt8], room: Int? = nil) -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: room ?? plaintext.count + association.overhead)
        let length = buffer.withMutableBytes { association.seal(plaintext.bytes, into: &$0) }
        return length.map { Array(buffer[..<$0]) }
    }

    func sent() -> [[UInt8]] {
        var result: [[UInt8]] = []
        while let transmit = association.pollTransmit() { result.append(transmit.datagram) }
        return result
    }

    func events() -> [String] {
        var result: [String] = []
        while let event = association.pollEvent() {
            switch event {
            case .pathMTUChanged(let path, _): result.append("path MTU \(path.current)")
            case .established(let description): result.append("established with \(description.peer)")
            case .worn: result.append("worn")
            case .unanswered: result.append("unanswered")
            case .roundTrip(let duration): result.append("round trip \(duration)")
            case .pinged(let duration): result.append("pinged \(duration.map { "\($0)" } ?? "in vain")")
            case .ended(let end): result.append("\(end)")
            }
        }
        return result
    }

    /// The contents of the protected records of a datagram.
    func opened(_ datagram: [UInt8]) -> [[UInt8]] {
        records(datagram).map { Array($0.content.dropLast(8)) }
    }

    subscript(reason: DropReason) -> UInt64 { association.counters.drops[reason] }
}

@Suite struct AssociationHandshakeTests {
    @Test func `a client sends its first flight when it is started`() {
        let subject = Subject()
        #expect(subject.sent().isEmpty)
        subject.association.start(now: .at(0))
        #expect(subject.association.needsAttention)
        #expect(subject.sent() == [FakePeer.handshake(1, sequence: 0)])
        #expect(subject.association.isHandshaking && !subject.association.isEstablished)
        #expect(subject.association.deadline == .at(1))
        #expect(subject.association.overhead == 0)
    }

    @Test func `a deadline that passes repeats the flight`() {
        let subject = Subject()
        subject.association.start(now: .at(0))
        _ = subject.sent()
        subject.engine.flightTimer = .due(in: .zero)
        subject.association.handleTimeout(now: .at(1))
        #expect(subject.sent() == [FakePeer.handshake(1, sequence: 1)])
    }

    @Test func `keys make it established, and the engine's last datagrams leave first`() throws {
        let subject = Subject()
        subject.engine.outbox = [[1], [2]]
        subject.now = .at(0.25)
        subject.receive(FakePeer.handshake(20, sequence: 0))
        #expect(subject.events() == ["established with CN:peer"])
        #expect(subject.events() == [])
        #expect(subject.sent() == [[1], [2]])
        #expect(subject.association.isEstablished && !subject.association.isHandshaking)
        #expect(subject.association.deadline == nil)
        #expect(subject.association.overhead == 21)
        #expect(try #require(subject.association.description).handshakeDuration == .milliseconds(250))
    }

    @Test func `a failure ends it, and its alert still leaves`() {
        let subject = Subject()
        subject.engine.outbox = [[21]]
        subject.receive(FakePeer.sealed([7], sequence: 1), FakePeer.handshake(0, sequence: 0))
        #expect(subject.events() == ["\(AssociationEnd.handshakeFailed(subject.engine.failure))"])
        #expect(subject.sent() == [[21]])
        #expect(!subject.association.isHandshaking && !subject.association.isEstablished)
        #expect(subject.association.deadline == nil)
        // The record that waited for keys went with the handshake, and one that comes now waits no more.
        #expect(subject[.closed] == 1)
        subject.receive(FakePeer.sealed([7], sequence: 2))
        #expect(subject[.closed] == 2)
        subject.accept()
        #expect(subject.delivered.isEmpty)
    }

    @Test func `closing a handshake tells nothing to the peer`() {
        let subject = Subject()
        subject.association.start(now: .at(0))
        _ = subject.sent()
        subject.association.close()
        #expect(subject.sent().isEmpty)
        #expect(subject.events() == ["\(AssociationEnd.closed)"])
    }

    @Test func `data before the handshake's end waits for accept`() {
        let subject = Subject()
        subject.receive(FakePeer.sealed([1], sequence: 1), FakePeer.sealed([2], sequence: 2))
        #expect(subject.engine.received.isEmpty)
        subject.receive(FakePeer.handshake(20, sequence: 0), FakePeer.sealed([3], sequence: 3))
        #expect(subject.delivered.isEmpty)
        subject.accept()
        #expect(subject.delivered == [[1], [2], [3]])
        subject.receive(FakePeer.sealed([4], sequence: 4), FakePeer.sealed([2], sequence: 2))
        #expect(subject.delivered == [[1], [2], [3], [4]])
        #expect(subject[.replayed] == 1)
        #expect(subject.association.counters.datagramsIn == 4)
    }

    @Test func `what waits is bounded, and forged records among it do nothing else`() {
        let subject = Subject()
        for number in 0..<40 { subject.receive(FakePeer.sealed([1], sequence: UInt64(number) + 1, key: 2)) }
        #expect(subject[.early] == 8)
        subject.receive(FakePeer.handshake(20, sequence: 0))
        subject.accept()
        #expect(subject.delivered.isEmpty)
        #expect(subject[.notAuthentic] == 32)
    }

    @Test func `a refused peer's data goes nowhere, and the peer is told`() {
        let subject = Subject()
        subject.receive(FakePeer.sealed([1], sequence: 1))
        subject.receive(FakePeer.handshake(20, sequence: 0), FakePeer.sealed([2], sequence: 2))
        _ = subject.sent()
        _ = subject.events()
        subject.association.refuse()
        #expect(subject.sent().map(subject.opened) == [[[2, 49]]])
        subject.accept()
        subject.receive(FakePeer.sealed([3], sequence: 3))
        #expect(subject.delivered.isEmpty)
        #expect(subject.events() == ["\(AssociationEnd.closed)"])
        #expect(subject[.closed] == 3)
    }
}

@Suite struct AssociationDataTests {
    @Test func `a datagram is sealed and counted, an empty one too`() throws {
        let subject = Subject.established()
        let record = try #require(subject.seal([1, 2, 3]))
        #expect(record == FakePeer.sealed([1, 2, 3], sequence: 1))
        #expect(subject.seal([]) == FakePeer.sealed([], sequence: 2))
        #expect(subject.association.counters.datagramsOut == 2)
        #expect(subject.association.counters.bytesOut == 3)
    }

    @Test func `a datagram of two parts is sealed as any other and counted once`() throws {
        let subject = Subject.established()
        let (prefix, payload): ([UInt8], [UInt8]) = ([9], [1, 2, 3, 4])
        var buffer = [UInt8](repeating: 0x55, count: 40)
        let length = buffer.withMutableBytes { bytes in
            subject.association.seal(prefix: prefix.bytes, payload: payload.bytes, into: &bytes)
        }
        #expect(Array(buffer[..<(length ?? 0)]) == FakePeer.sealed([9, 1, 2, 3, 4], sequence: 1))
        #expect(subject.association.counters.datagramsOut == 1 && subject.association.counters.bytesOut == 5)
    }

    @Test func `two parts that have no room together are dropped and counted`() {
        let subject = Subject.established()
        let prefix = [UInt8](repeating: 1, count: 45)
        for (byteCount, reason) in [(16_340, DropReason.oversize), (45, .closed)] {
            let before = subject[reason]
            let payload = [UInt8](repeating: 2, count: byteCount)
            var buffer = [UInt8](repeating: 0, count: 100)
            let length = buffer.withMutableBytes { bytes in
                subject.association.seal(prefix: prefix.bytes, payload: payload.bytes, into: &bytes)
            }
            #expect(length == nil && subject[reason] == before + 1)
        }
        #expect(subject.association.counters.datagramsOut == 0)
    }

    @Test func `what cannot be sealed is counted by its reason`() {
        let subject = Subject.established()
        #expect(subject.seal([UInt8](repeating: 0, count: 16_384)) != nil)
        #expect(subject.seal([UInt8](repeating: 0, count: 16_385)) == nil)
        #expect(subject.seal([UInt8](repeating: 0, count: 65_507)) == nil)
        #expect(subject[.oversize] == 2)
        #expect(subject.seal([1], room: 5) == nil)
        #expect(subject[.closed] == 1)
        #expect(Subject().seal([1]) == nil)
    }

    @Test func `several records of a datagram are all delivered, up to a malformed tail`() {
        let subject = Subject.established()
        subject.receive(
            FakePeer.sealed([1], sequence: 1) + FakePeer.sealed([], sequence: 2) + FakePeer.sealed([3], sequence: 3)
                + [23, 0xfe])
        #expect(subject.delivered == [[1], [], [3]])
        #expect(subject[.malformed] == 1)
        #expect(subject.association.counters.datagramsIn == 3)
        #expect(subject.association.counters.bytesIn == 2)
    }

    @Test func `every truncation of a record is counted and does nothing`() {
        let subject = Subject.established()
        let record = FakePeer.sealed([1, 2, 3], sequence: 1)
        for count in record.indices { subject.receive(Array(record[..<count])) }
        #expect(subject[.malformed] == UInt64(record.count))
        subject.receive(record)
        #expect(subject.delivered == [[1, 2, 3]])
    }

    @Test func `a record that does not belong is counted by its reason and does nothing`() {
        let subject = Subject.established()
        func tampered(_ place: Int, _ value: UInt8) -> [UInt8] {
            var record = FakePeer.sealed([1], sequence: 1)
            record[place] = value
            return record
        }
        subject.receive(tampered(1, 3))
        #expect(subject[.version] == 1)
        subject.receive(tampered(2, 0xff))
        #expect(subject[.version] == 2)
        subject.receive(tampered(4, 2))
        #expect(subject[.epoch] == 1)
        subject.receive(tampered(13, 9), tampered(0, 22), tampered(10, 9))
        #expect(subject[.notAuthentic] == 3)
        subject.receive(FakePeer.handshake(11, sequence: 4))
        #expect(subject[.handshakeOver] == 1)
        subject.receive(FakePeer.clear(.alert, [2, 40]), FakePeer.clear(.applicationData, [1]))
        #expect(subject[.contentType] == 2)
        subject.receive(FakePeer.sealed([1], as: ContentType(rawValue: 24), sequence: 9))
        #expect(subject[.heartbeat] == 1)
        #expect(subject.association.counters.drops.total == 10)
        #expect(subject.delivered.isEmpty)
        #expect(subject.events().isEmpty && subject.sent().isEmpty)
        subject.receive(FakePeer.sealed([1], sequence: 1))
        #expect(subject.delivered == [[1]])
    }

    @Test func `random bytes never do anything but count`() {
        let subject = Subject.established()
        var random = SeededRandom(seed: 11)
        for round in 0..<4000 {
            var datagram = (0..<Int.random(in: 0...60, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            if datagram.count > 13, round.isMultiple(of: 2) {
                datagram.replaceSubrange(
                    0..<5,
                    with: [
                        UInt8.random(in: 20...25, using: &random), 0xfe, 0xfd, 0,
                        UInt8.random(in: 0...2, using: &random),
                    ])
                datagram.replaceSubrange(
                    11..<13, with: [0, UInt8.random(in: 0...UInt8(datagram.count - 13), using: &random)])
            }
            subject.receive(datagram)
        }
        #expect(subject.delivered.isEmpty)
        #expect(subject.events().isEmpty && subject.sent().isEmpty)
        #expect(subject.association.isEstablished)
        #expect(subject.association.counters.drops.total >= 4000)
    }

    @Test func `after the last number the association ends`() {
        let subject = Subject.established { $0.result.nextSequence = RecordNumber.maximumSequence }
        #expect(subject.seal([1]) != nil)
        #expect(subject.association.needsAttention)
        #expect(subject.events() == ["\(AssociationEnd.exhausted)"])
        #expect(subject.seal([1], room: 100) == nil)
        #expect(subject.engine.result.protection.sealedNumbers.count == 1)
    }

    @Test func `an epoch that a control record has used up ends with the next datagram`() {
        let subject = Subject.established { $0.result.nextSequence = RecordNumber.maximumSequence }
        subject.receive(FakePeer.sealed([1] + [UInt8](repeating: 0, count: 11), as: .handshake, sequence: 1))
        #expect(subject.seal([1]) == nil)
        #expect(subject.events() == ["\(AssociationEnd.exhausted)"])
    }
}

@Suite struct AssociationEndTests {
    @Test func `close_notify is answered with close_notify, and then nothing has any effect`() {
        let subject = Subject.established()
        subject.receive(FakePeer.sealed([1, 0], as: .alert, sequence: 1) + FakePeer.sealed([9], sequence: 2))
        #expect(subject.sent().map(subject.opened) == [[[1, 0]]])
        #expect(subject.events() == ["\(AssociationEnd.closedByPeer)"])
        #expect(subject.delivered.isEmpty)
        #expect(subject[.closed] == 1)
        subject.receive(FakePeer.sealed([9], sequence: 3), FakePeer.sealed([1, 0], as: .alert, sequence: 4))
        subject.association.close()
        subject.association.refuse()
        subject.association.handleTimeout(now: .at(1000))
        subject.association.start(now: .at(1000))
        #expect(subject.seal([1], room: 100) == nil)
        #expect(subject.sent().isEmpty && subject.events().isEmpty && subject.delivered.isEmpty)
        #expect(subject.association.deadline == nil && subject.association.overhead == 0)
        #expect(!subject.association.isEstablished)
    }

    @Test func `a fatal alert ends without an answer, and a warning does nothing`() {
        let subject = Subject.established()
        subject.receive(FakePeer.sealed([1, 90], as: .alert, sequence: 1))
        #expect(subject.association.isEstablished)
        subject.receive(FakePeer.sealed([2, 80], as: .alert, sequence: 2))
        #expect(subject.sent().isEmpty)
        #expect(subject.events() == ["\(AssociationEnd.alert(.init(rawValue: 80)))"])
    }

    @Test func `forged alerts cost a counter and nothing else`() {
        let subject = Subject.established()
        subject.receive(FakePeer.sealed([1, 0], as: .alert, sequence: 1, key: 2), FakePeer.clear(.alert, [1, 0]))
        subject.receive(FakePeer.sealed([2, 40], as: .alert, sequence: 1, epoch: 0))
        #expect(subject.association.isEstablished)
        #expect(subject.association.counters.drops.total == 3)
        #expect(subject.events().isEmpty && subject.sent().isEmpty)
    }

    @Test(arguments: [[], [1], [1, 0, 0], [7, 0]] as [[UInt8]]) func `an authentic alert may be malformed`(
        content: [UInt8]
    ) {
        let subject = Subject.established()
        subject.receive(FakePeer.sealed(content, as: .alert, sequence: 1))
        #expect(subject.association.isEstablished)
        #expect(subject[.malformed] == 1)
    }

    @Test func `closing sends one close_notify`() {
        let subject = Subject.established()
        subject.association.close()
        subject.association.close()
        #expect(subject.sent().map(subject.opened) == [[[1, 0]]])
        #expect(subject.events() == ["\(AssociationEnd.closed)"])
    }

    @Test func `a client's renegotiation is refused, and said once`() {
        let subject = Subject.established()
        let clientHello = [1] + [UInt8](repeating: 0, count: 11)
        subject.receive(FakePeer.sealed(clientHello, as: .handshake, sequence: 1))
        #expect(subject.sent().map(subject.opened) == [[[1, 100]]])
        subject.receive(FakePeer.sealed(clientHello, as: .handshake, sequence: 2))
        #expect(subject.sent().isEmpty)
        #expect(subject[.renegotiation] == 2)
        #expect(subject.association.isEstablished)
        subject.receive(FakePeer.sealed([1, 2], as: .handshake, sequence: 3))
        #expect(subject[.malformed] == 1)
    }

    @Test func `a server's wish to renegotiate is ignored, and refused once when it is repeated`() {
        let subject = Subject.established()
        let helloRequest = [UInt8](repeating: 0, count: 12)
        subject.receive(FakePeer.sealed(helloRequest, as: .handshake, sequence: 1))
        #expect(subject.sent().isEmpty)
        subject.receive(FakePeer.sealed(helloRequest, as: .handshake, sequence: 2))
        #expect(subject.sent().map(subject.opened) == [[[1, 100]]])
        subject.receive(FakePeer.sealed(helloRequest, as: .handshake, sequence: 3))
        #expect(subject.sent().isEmpty)
        #expect(subject[.renegotiation] == 3)
        #expect(subject.association.isEstablished)
    }
}

@Suite struct AssociationFinalFlightTests {
    private static func finished(_ sequence: UInt64, key: UInt64 = 1) -> [UInt8] {
        FakePeer.sealed([20] + [UInt8](repeating: 0, count: 11), as: .handshake, sequence: sequence, key: key)
    }

    private func subject(isResumed: Bool = false, hasFlight: Bool = true) -> Subject {
        Subject.established {
            $0.result.isResumed = isResumed
            $0.result.nextSequence = 3
            guard hasFlight else { return }
            $0.result.finalFlight = FinalFlight(
                sessionTicket: nil, finished: [20] + [UInt8](repeating: 0, count: 11), nextSequence: 6)
        }
    }

    @Test func `an authentic repeated Finished is answered with the final flight under fresh numbers`() throws {
        let subject = subject()
        #expect(subject.association.deadline == nil)
        _ = subject.seal([1])
        subject.receive(Self.finished(1))
        let sent = subject.sent()
        #expect(sent.count == 1)
        #expect(
            records(sent[0]).map(\.header.number) == [
                RecordNumber(epoch: 0, sequence: 6), RecordNumber(epoch: 1, sequence: 4),
            ])
        #expect(subject[.handshakeOver] == 1)
        _ = subject.seal([1])
        let numbers = subject.engine.result.protection.sealedNumbers
        #expect(Set(numbers).count == numbers.count && numbers.count == 3)
    }

    @Test func `a forged or replayed Finished is not answered`() {
        let subject = subject()
        subject.receive(Self.finished(1, key: 2), Self.finished(0))
        #expect(subject.sent().isEmpty)
        subject.receive(Self.finished(1), Self.finished(1))
        #expect(subject.sent().count == 1)
    }

    @Test func `the other end of the handshake never answers`() {
        let subject = subject(hasFlight: false)
        subject.receive(Self.finished(1))
        #expect(subject.sent().isEmpty)
        #expect(subject[.handshakeOver] == 1)
    }

    @Test func `after data from the peer the flight is forgotten`() {
        let subject = subject(isResumed: true)
        #expect(subject.association.deadline == .at(0.4))
        subject.receive(FakePeer.sealed([1], sequence: 1))
        #expect(subject.association.deadline == nil)
        subject.receive(Self.finished(2))
        #expect(subject.sent().isEmpty)
    }

    @Test func `after a resumed handshake the flight is repeated by a timer, six times at most`() {
        let subject = subject(isResumed: true)
        var count = 0
        while let deadline = subject.association.deadline, count < 20 {
            subject.association.needsAttention = false
            subject.association.handleTimeout(now: deadline)
            #expect(subject.association.needsAttention)
            #expect(subject.sent().count == 1)
            count += 1
        }
        #expect(count == 6)
        subject.receive(Self.finished(1))
        #expect(subject.sent().isEmpty)
    }
}
