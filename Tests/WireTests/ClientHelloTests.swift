import Testing
import Wire

@Suite struct ClientHelloTests {
    @Test(arguments: [CapturedHello.opensslFirst, CapturedHello.gnutlsFirst])
    func `a first hello has no cookie and message number 0`(datagram: [UInt8]) throws {
        let hello = try readHello(datagram)
        #expect(hello.messageSequence == 0)
        #expect(hello.cookie.isEmpty)
        #expect(hello.parameters == 25..<60)
        #expect(hello.recordNumber == RecordNumber(epoch: 0, sequence: 0))
    }

    @Test(arguments: [CapturedHello.opensslSecond, CapturedHello.gnutlsSecond])
    func `a second hello brings its cookie in message number 1`(datagram: [UInt8]) throws {
        let hello = try readHello(datagram)
        #expect(hello.messageSequence == 1)
        #expect(Array(datagram[hello.cookie]) == Array(0..<32))
        #expect(hello.recordNumber == RecordNumber(epoch: 0, sequence: 1))
    }

    @Test func `both hellos of a client have the same parameters`() throws {
        for (first, second) in [
            (CapturedHello.opensslFirst, CapturedHello.opensslSecond),
            (CapturedHello.gnutlsFirst, CapturedHello.gnutlsSecond),
        ] {
            #expect(first[try readHello(first).parameters] == second[try readHello(second).parameters])
        }
    }

    @Test(arguments: CapturedHello.all)
    func `every truncation is refused`(datagram: [UInt8]) {
        for count in datagram.indices {
            #expect(throws: ClientHello.Problem.self) { _ = try readHello(Array(datagram[..<count])) }
        }
    }

    @Test(arguments: CapturedHello.all)
    func `every lie about a length is refused, or moves nothing beyond the end`(datagram: [UInt8]) throws {
        let honest = try readHello(datagram)
        // Record length, message length, fragment offset and length, session length, cookie length.
        for place in [11, 12, 14, 15, 16, 19, 20, 21, 22, 23, 24, 59, honest.parameters.upperBound] {
            for value in UInt8.min...UInt8.max where value != datagram[place] {
                var lie = datagram
                lie[place] = value
                guard let hello = try? readHello(lie) else { continue }
                #expect(hello.cookie.upperBound <= lie.count)
                #expect(hello.parameters.upperBound + 1 == hello.cookie.lowerBound)
            }
        }
    }

    @Test func `a hello whose first fragment holds the cookie is read`() throws {
        let pieces = CapturedHello.fragmented(CapturedHello.opensslSecond, at: 35 + 33)
        let hello = try readHello(pieces[0])
        #expect(Array(pieces[0][hello.cookie]) == Array(0..<32))
        #expect(throws: ClientHello.Problem.laterFragment) { _ = try readHello(pieces[1]) }
    }

    @Test(arguments: [0, 1, 33, 34, 35, 36, 67])
    func `a hello whose first fragment ends before the cookie does is malformed`(count: Int) {
        let pieces = CapturedHello.fragmented(CapturedHello.opensslSecond, at: count)
        #expect(throws: ClientHello.Problem.malformed) { _ = try readHello(pieces[0]) }
    }

    @Test func `what else stands in the datagram changes nothing`() throws {
        let alone = try readHello(CapturedHello.opensslSecond)
        #expect(try readHello((CapturedHello.opensslSecond + [1, 2, 3])) == alone)
        // The record's end counts, not the datagram's.
        var short = CapturedHello.opensslSecond
        short[12] -= 1
        #expect(throws: ClientHello.Problem.malformed) { _ = try readHello(short) }
    }

    @Test(arguments: [
        (0, 23), (0, 24), (3, 1), (4, 1), (13, 2), (13, 0),
    ])
    func `a record of another kind is no hello`(place: Int, value: UInt8) {
        var datagram = CapturedHello.opensslFirst
        datagram[place] = value
        #expect(!looksLikeHello(datagram))
        #expect(throws: ClientHello.Problem.notClientHello) { _ = try readHello(datagram) }
    }

    @Test(arguments: [(1, 3), (25, 3)]) func `a hello of TLS is malformed`(place: Int, value: UInt8) {
        var datagram = CapturedHello.opensslFirst
        datagram[place] = value
        #expect(looksLikeHello(datagram))
        #expect(throws: ClientHello.Problem.malformed) { _ = try readHello(datagram) }
    }

    @Test func `a session id has at most 32 bytes and a hello at most 16 KiB`() throws {
        func hello(session: Int, length: Int) -> [UInt8] {
            let body =
                [0xfe, 0xfd] + [UInt8](repeating: 7, count: 32) + [UInt8(session)]
                + [UInt8](repeating: 1, count: session + 60)
            var message =
                [1, UInt8(length >> 16), UInt8(length >> 8 & 255), UInt8(length & 255)]
                + [UInt8](repeating: 0, count: 7)
            message.append(UInt8(body.count))
            return [22, 0xfe, 0xff] + [UInt8](repeating: 0, count: 9) + [UInt8(12 + body.count)] + message + body
        }
        #expect(try readHello(hello(session: 32, length: 16_384)).parameters.count == 67)
        #expect(throws: ClientHello.Problem.malformed) { _ = try readHello(hello(session: 33, length: 500)) }
        #expect(throws: ClientHello.Problem.malformed) { _ = try readHello(hello(session: 0, length: 16_385)) }
    }
}

@Suite struct HelloVerifyRequestTests {
    private let number = RecordNumber(epoch: 0, sequence: 0x0102)

    private func request(cookie: [UInt8], room: Int) -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: room)
        let length = buffer.withMutableBytes {
            HelloVerifyRequest.write(cookie: cookie.bytes, answering: number, into: &$0)
        }
        return length.map { Array(buffer[..<$0]) }
    }

    @Test func `it is what RFC 6347 section 4.2.1 shows, byte by byte`() {
        let expected = hex(
            """
            16 feff 0000 000000000102 0017
            03 00000b 0000 000000 00000b
            feff 08 a0a1a2a3a4a5a6a7
            """)
        #expect(request(cookie: hex("a0a1a2a3a4a5a6a7"), room: 100) == expected)
        #expect(HelloVerifyRequest.size(cookieLength: 8) == expected.count)
    }

    @Test func `it needs its whole room and a cookie of at most 255 bytes`() {
        let cookie = [UInt8](repeating: 7, count: 255)
        let size = HelloVerifyRequest.size(cookieLength: 255)
        #expect(request(cookie: cookie, room: size)?.count == size)
        #expect(request(cookie: cookie, room: size - 1) == nil)
        #expect(request(cookie: cookie + [7], room: size + 1) == nil)
        #expect(request(cookie: [], room: 28)?.suffix(3) == [0xfe, 0xff, 0])
    }

    @Test func `it is never longer than the shortest hello that it answers`() {
        // Otherwise a forged source address would turn the server into an amplifier.
        #expect(HelloVerifyRequest.size(cookieLength: 32) <= 25 + 35 + 1 + 2 + 2 + 2)
    }
}
