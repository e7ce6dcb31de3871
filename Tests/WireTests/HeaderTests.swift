import Testing
import Wire

@Suite struct RecordHeaderTests {
    @Test func `a header survives a round trip`() throws {
        var random = SeededRandom(seed: 1)
        for _ in 0..<5000 {
            let header = RecordHeader(
                type: ContentType(rawValue: UInt8.random(in: 0...255, using: &random)),
                version: ProtocolVersion(rawValue: UInt16.random(in: 0...0xffff, using: &random)),
                number: RecordNumber(rawValue: random.next()), length: Int.random(in: 0...40, using: &random))
            let offset = Int.random(in: 0...5, using: &random)
            let bytes = try #require(written(offset + 13 + 40) { header.write(into: &$0, at: offset) })
            #expect(readRecord(bytes, at: offset) == header)
        }
    }

    @Test func `the bytes stand where RFC 6347 section 4.1 puts them`() throws {
        let header = RecordHeader(
            type: .applicationData, number: RecordNumber(epoch: 0x0102, sequence: 0x0304_0506_0708), length: 0x0102)
        #expect(written(13) { header.write(into: &$0) } == hex("17 fefd 0102 030405060708 0102"))
    }

    @Test func `a header is not written into less than 13 bytes`() {
        let header = RecordHeader(type: .alert, number: RecordNumber(rawValue: 7), length: 2)
        for count in 0..<13 { #expect(written(count) { header.write(into: &$0) } == nil) }
        #expect(written(20) { header.write(into: &$0, at: 8) } == nil)
        #expect(written(20) { header.write(into: &$0, at: -1) } == nil)
    }

    @Test func `every truncation of a record is refused`() {
        let record = hex("16 fefd 0000 000000000001 0003 aabbcc")
        for count in record.indices { #expect(readRecord(Array(record[..<count])) == nil) }
        #expect(readRecord(record, at: 0)?.length == 3)
        for offset in [Int.min, -1, 1, 16, 17, Int.max] { #expect(readRecord(record, at: offset) == nil) }
    }

    @Test(arguments: [(16_384, true), (18_432, true), (18_433, false), (65_535, false)])
    func `a record announces no more than RFC 5246 section 6.2.3 lets it`(length: Int, isLegal: Bool) {
        var datagram = [UInt8](repeating: 0, count: 13 + length)
        datagram[11] = UInt8(length >> 8)
        datagram[12] = UInt8(length & 255)
        #expect((readRecord(datagram, at: 0) != nil) == isLegal)
    }

    private func meantForHandshake(_ datagram: [UInt8], at offset: Int = 0) -> Bool {
        RecordHeader.isMeantForHandshake(datagram.bytes, at: offset)
    }

    @Test(
        arguments: [
            (0, 20, true), (0, 21, true), (0, 22, true), (0, 23, true), (1, 22, true), (2, 22, true), (256, 22, true),
            (1, 20, false), (1, 21, false), (1, 23, false), (1, 24, false), (2, 23, false), (256, 23, false),
            (0xffff, 23, false),
        ] as [(UInt16, UInt8, Bool)])
    func `what is in the clear and what is of type handshake is meant for a handshake`(
        epoch: UInt16, type: UInt8, isMeant: Bool
    ) throws {
        // The sequence number must not matter, wherever it has a zero.
        for sequence in [0, 1, 0x0100_0000_0000, RecordNumber.maximumSequence] as [UInt64] {
            let header = RecordHeader(
                type: ContentType(rawValue: type), number: RecordNumber(epoch: epoch, sequence: sequence), length: 0)
            let datagram = try #require(written(20) { header.write(into: &$0, at: 7) })
            #expect(meantForHandshake(datagram, at: 7) == isMeant)
        }
    }

    @Test func `whether a record is meant for a handshake can be asked of any bytes`() {
        let record = hex("17 fefd 0000 000000000001 0000")
        for count in 0..<5 { #expect(!meantForHandshake(Array(record[..<count]))) }
        #expect(meantForHandshake(Array(record[..<5])))
        for offset in [-100, 13, 1000] { #expect(!meantForHandshake(record, at: offset)) }
    }

    @Test func `epoch and sequence are the two parts of one number`() {
        let number = RecordNumber(epoch: 0xffff, sequence: .max)
        #expect(number.rawValue == .max)
        #expect(number.epoch == 0xffff)
        #expect(number.sequence == RecordNumber.maximumSequence)
        #expect(RecordNumber(epoch: 0, sequence: 1 << 48).rawValue == 0)
        #expect(RecordNumber(epoch: 0, sequence: RecordNumber.maximumSequence) < RecordNumber(epoch: 1, sequence: 0))
    }

    @Test func `every version of DTLS has the same first byte`() {
        #expect(ProtocolVersion.dtls10.isDTLS)
        #expect(ProtocolVersion.dtls12.isDTLS)
        #expect(!ProtocolVersion(rawValue: 0x0303).isDTLS)
    }
}

@Suite struct HandshakeHeaderTests {
    @Test func `a header survives a round trip`() throws {
        var random = SeededRandom(seed: 2)
        for _ in 0..<5000 {
            var header = HandshakeHeader(
                type: .init(rawValue: UInt8.random(in: 0...255, using: &random)),
                length: Int.random(in: 0...0xff_ffff, using: &random),
                sequence: UInt16.random(in: 0...0xffff, using: &random))
            header.fragmentLength = Int.random(in: 0...min(64, header.length), using: &random)
            header.fragmentOffset = Int.random(in: 0...header.length - header.fragmentLength, using: &random)
            let bytes = try #require(written(12 + 64) { header.write(into: &$0, at: 0) })
            #expect(readMessage(bytes) == header)
        }
    }

    @Test func `the bytes stand where RFC 6347 section 4.2.2 puts them`() {
        var header = HandshakeHeader(type: .finished, length: 0x01_0203, sequence: 0x0405)
        header.fragmentOffset = 0x06_0708
        header.fragmentLength = 0x09_0a0b
        #expect(written(12) { header.write(into: &$0, at: 0) } == hex("14 010203 0405 060708 090a0b"))
        for count in 0..<12 { #expect(written(count) { header.write(into: &$0, at: 0) } == nil) }
    }

    @Test func `every truncation of a message is refused`() {
        let message = hex("01 000003 0000 000000 000003 aabbcc")
        for count in message.indices { #expect(readMessage(Array(message[..<count])) == nil) }
        #expect(readMessage(message)?.fragmentLength == 3)
        for offset in [Int.min, -1, 1, 15, Int.max] { #expect(readMessage(message, at: offset) == nil) }
    }

    @Test(arguments: [
        "01 000002 0000 000000 000003 aabbcc", "01 000003 0000 000001 000003 aabbcc",
        "01 ffffff 0000 fffffd 000003 aabbcc", "01 000000 0000 ffffff ffffff aabbcc",
        "01 ffffff 0000 ffffff ffffff aabbcc",
    ])
    func `a fragment never reaches beyond its message`(text: String) {
        #expect(readMessage(hex(text)) == nil)
    }

    @Test func `a fragment may end where its message ends`() {
        #expect(readMessage(hex("01 ffffff 0000 fffffc 000003 aabbcc"))?.fragmentOffset == 0xff_fffc)
    }
}

@Suite struct AlertTests {
    @Test func `every alert survives a round trip`() {
        for level in [Alert.Level.warning, .fatal] {
            for number in UInt8.min...UInt8.max {
                let alert = Alert(level, .init(rawValue: number))
                #expect(readAlert(alert.bytes) == alert)
            }
        }
    }

    @Test(arguments: [[], [1], [1, 0, 0], [0, 0], [3, 0], [255, 40]] as [[UInt8]])
    func `what is not two bytes with a known level is no alert`(bytes: [UInt8]) {
        #expect(readAlert(bytes) == nil)
    }

    @Test func `an alert is called by its registered name`() {
        #expect(Alert.Description(rawValue: 48).description == "unknown_ca")
        #expect(Alert.Description.closeNotify.description == "close_notify")
        #expect(Alert.Description(rawValue: 200).description == "alert 200")
    }
}

@Suite struct RandomBytesTests {
    @Test func `no parser traps on random bytes`() {
        var random = SeededRandom(seed: 3)
        var hellos = 0
        for round in 0..<20_000 {
            var bytes = random.bytes(Int.random(in: 0...120, using: &random))
            // Half of them look like a hello at first sight.
            if round.isMultiple(of: 2), bytes.count >= 25 {
                bytes.replaceSubrange(0..<5, with: [22, 0xfe, 0xfd, 0, 0])
                bytes.replaceSubrange(11..<14, with: [0, UInt8(bytes.count - 13), 1])
                if round.isMultiple(of: 4) {
                    bytes.replaceSubrange(14..<25, with: [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, UInt8(bytes.count - 25)])
                    if bytes.count > 60 {
                        bytes[25] = 0xfe
                        bytes[59] &= 63
                    }
                }
            }
            let offset = Int.random(in: -2...130, using: &random)
            _ = readRecord(bytes, at: offset)
            _ = readMessage(bytes, at: offset)
            _ = Alert(bytes.bytes)
            guard let hello = try? readHello(bytes) else { continue }
            hellos += 1
            #expect(looksLikeHello(bytes))
            #expect(hello.cookie.upperBound <= bytes.count)
            #expect((35...67).contains(hello.parameters.count))
        }
        #expect(hellos > 50)
    }
}
