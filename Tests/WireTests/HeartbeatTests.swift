import Testing
import Wire

/// Makes one.
private func makeHeartbeat(
    _ kind: HeartbeatMessage.Kind, _ payload: [UInt8], size: Int = 0, seed: UInt64 = 1
) -> [UInt8]? {
    var random = SeededRandom(seed: seed)
    return HeartbeatMessage.bytes(kind, payload: payload.bytes, size: size, random: &random)
}

/// A message of `size` bytes that claims a payload of `claimed`.
private func claiming(_ claimed: Int, size: Int, kind: UInt8 = 1) -> [UInt8] {
    var content = [UInt8](repeating: 0x5a, count: max(size, 3))
    content[0] = kind
    content[1] = UInt8(claimed >> 8)
    content[2] = UInt8(claimed & 0xff)
    return Array(content.prefix(size))
}

@Suite struct HeartbeatTests {
    @Test(arguments: [HeartbeatMessage.Kind.request, .response])
    func `a message survives a round trip with payloads and paddings of every kind`(
        kind: HeartbeatMessage.Kind
    ) throws {
        var random = SeededRandom(seed: 7)
        for payloadSize in [0, 1, 2, 15, 16, 17, 18, 100, 1000, 1400, 16_364, 16_365] {
            let payload = random.bytes(payloadSize)
            for size in [0, 19 + payloadSize, 20 + payloadSize, 27 + payloadSize, 28 + payloadSize, 16_384] {
                let bytes = makeHeartbeat(kind, payload, size: size, seed: random.next())
                guard max(size, 19 + payloadSize) <= 16_384 else {
                    #expect(bytes == nil)
                    continue
                }
                let content = try #require(bytes)
                #expect(content.count == max(size, 19 + payloadSize))
                #expect(content[0] == kind.rawValue)
                let message = try #require(readHeartbeat(content))
                #expect(message.kind == kind && message.payload == 3..<3 + payloadSize)
                #expect(content[message.payload].elementsEqual(payload))
            }
        }
    }

    @Test func `RFC 6520's layout: type, length in network order, payload, padding`() throws {
        let content = try #require(makeHeartbeat(.request, [UInt8](repeating: 9, count: 258)))
        #expect(content.prefix(3) == [1, 1, 2] && content.count == 3 + 258 + 16)
        #expect(readHeartbeat(hex("02 0003 aabbcc") + [UInt8](repeating: 0, count: 16))?.kind == .response)
        #expect(HeartbeatMode.extensionType == 15)
        #expect(HeartbeatMode(rawValue: 1) == .peerAllowedToSend && HeartbeatMode(rawValue: 2) == .peerNotAllowedToSend)
        #expect([0, 3, 4, 255].allSatisfy { HeartbeatMode(rawValue: $0) == nil })
    }

    @Test func `every truncation of a message is refused, down to where the least padding ends`() throws {
        for payloadSize in [0, 1, 16, 64, 300] {
            let content = try #require(
                makeHeartbeat(.request, [UInt8](repeating: 1, count: payloadSize), size: 19 + payloadSize + 40))
            for count in 0...content.count {
                let message = readHeartbeat(Array(content.prefix(count)))
                #expect((message != nil) == (count >= 3 + payloadSize + 16), "\(count) of \(content.count)")
            }
        }
    }

    @Test(arguments: [0, 1, 2, 3, 4, 18, 19, 20, 35, 36, 64, 255, 256, 1400, 16_383, 16_384, 16_385, 65_535])
    func `of all payload lengths only those are taken that leave the padding`(size: Int) {
        for kind in [1, 2] as [UInt8] {
            var taken = 0
            // One array for all lengths; what stands behind the header is never looked at.
            var content = [UInt8](repeating: 0x5a, count: max(size, 3))
            content[0] = kind
            for length in 0...65_535 {
                content[1] = UInt8(length >> 8)
                content[2] = UInt8(length & 0xff)
                let message = HeartbeatMessage(content.bytes.extracting(0..<size))
                let isFit = size >= 3 && size <= 16_384 && length + 19 <= size
                if (message != nil) != isFit || (message.map { $0.payload != 3..<3 + length } ?? false) {
                    Issue.record("length \(length) in \(size) bytes")
                    return
                }
                taken += message == nil ? 0 : 1
            }
            #expect(taken == (size <= 16_384 ? max(size - 18, 0) : 0))
        }
    }

    @Test func `the Heartbleed request is no message`() {
        // CVE-2014-0160: one byte of payload, or none, that claims 16 KiB or 64 KiB.
        #expect(readHeartbeat(hex("01 4000")) == nil)
        #expect(readHeartbeat(hex("01 ffff")) == nil)
        #expect(readHeartbeat(hex("01 4000 41") + [UInt8](repeating: 0, count: 16)) == nil)
        #expect(readHeartbeat(claiming(0xffff, size: 16_384)) == nil)
        #expect(readHeartbeat(claiming(16_366, size: 16_384)) == nil)
        #expect(readHeartbeat(claiming(16_365, size: 16_384)) != nil)
    }

    @Test func `unknown kinds are no messages`() {
        for kind in 0...255 as ClosedRange<UInt8> {
            #expect((readHeartbeat(claiming(16, size: 64, kind: kind)) != nil) == (kind == 1 || kind == 2))
        }
    }

    @Test func `nothing above 2^14 bytes is read or made`() {
        #expect(readHeartbeat(claiming(16, size: 16_384)) != nil)
        #expect(readHeartbeat(claiming(16, size: 16_385)) == nil)
        #expect(makeHeartbeat(.request, [1], size: 16_385) == nil)
        #expect(makeHeartbeat(.request, [1], size: .max) == nil)
        #expect(makeHeartbeat(.request, [UInt8](repeating: 1, count: 16_366)) == nil)
        #expect(makeHeartbeat(.response, [UInt8](repeating: 1, count: 70_000)) == nil)
        #expect(makeHeartbeat(.request, [1], size: -5)?.count == 20)
    }

    @Test func `padding has at least 16 bytes and is random in each of them`() throws {
        // Of 64 messages, no two share a padding, and no byte of it has always the same value: every one is drawn.
        for size in [0, 36, 37, 41, 43, 100, 1200] {
            let paddings = try (1...64 as ClosedRange<UInt64>).map { seed in
                let content = try #require(
                    makeHeartbeat(.request, [UInt8](repeating: 1, count: 16), size: size, seed: seed &* 0x9e37_79b9))
                return Array(content.dropFirst(19))
            }
            #expect(paddings.allSatisfy { $0.count >= 16 && $0.count == max(size, 35) - 19 })
            #expect(Set(paddings).count == paddings.count)
            for offset in paddings[0].indices { #expect(Set(paddings.map { $0[offset] }).count > 32) }
        }
    }

    @Test func `arbitrary bytes are read without a trap, and what is taken stays inside`() {
        var random = SeededRandom(seed: 11)
        for _ in 0..<20_000 {
            var content = random.bytes(Int.random(in: 0...80, using: &random))
            if !content.isEmpty, Bool.random(using: &random) { content[0] = 1 }
            if content.count > 1, Bool.random(using: &random) { content[1] = 0 }
            guard let message = readHeartbeat(content) else { continue }
            #expect(message.payload.lowerBound == 3 && message.payload.upperBound + 16 <= content.count)
        }
    }
}
