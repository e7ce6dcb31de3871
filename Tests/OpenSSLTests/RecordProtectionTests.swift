import DTLS
import Testing
import Wire

@testable import OpenSSL

@Suite struct RecordProtectionTests {
    /// Two ends of one key block.
    private func pair(_ algorithm: AEADAlgorithm) throws -> (
        client: OpenSSLRecordProtection, server: OpenSSLRecordProtection
    ) {
        let key = algorithm.keyLength
        let nonce = algorithm.fixedNonceLength
        let block = try SecretBytes.random(count: 2 * (key + nonce))
        return (
            try OpenSSLRecordProtection(RecordKeys(algorithm, block: block, isServer: false)),
            try OpenSSLRecordProtection(RecordKeys(algorithm, block: block, isServer: true))
        )
    }

    private func seal(
        _ protection: OpenSSLRecordProtection, _ sequence: UInt64, _ text: [UInt8], room: Int? = nil
    ) -> [UInt8]? {
        var buffer = [UInt8](repeating: 0x55, count: room ?? RecordHeader.size + text.count + protection.expansion)
        let number = RecordNumber(epoch: 1, sequence: sequence)
        let length = buffer.withMutableBytes {
            protection.seal(.applicationData, number: number, plaintext: text.bytes, into: &$0)
        }
        return length.map { Array(buffer.prefix($0)) }
    }

    private func open(_ protection: OpenSSLRecordProtection, _ record: [UInt8]) -> [UInt8]? {
        var record = record
        guard let header = RecordHeader(record.bytes, at: 0) else { return nil }
        guard let range = record.withMutableBytes({ protection.open(&$0, header: header) }) else { return nil }
        return Array(record[range])
    }

    @Test(arguments: AEADAlgorithm.allCases, [0, 1, 15, 16, 17, 64, 200, 1200, 16_384])
    func `a record survives the round trip`(algorithm: AEADAlgorithm, size: Int) throws {
        let (client, server) = try pair(algorithm)
        let text = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        for sequence in [1, 2, 3, 900, 901] as [UInt64] {
            let record = try #require(seal(client, sequence, text))
            #expect(record.count == RecordHeader.size + size + client.expansion)
            let header = try header(of: record)
            #expect(header.number == RecordNumber(epoch: 1, sequence: sequence) && header.version == .dtls12)
            #expect(open(server, record) == text)
            // Again, and in any order: what to do with a repetition is not this object's decision.
            #expect(open(server, record) == text)
        }
        let back = try #require(seal(server, 1, text))
        #expect(open(client, back) == text)
        #expect(open(server, back) == nil)
    }

    @Test(arguments: AEADAlgorithm.allCases)
    func `a plaintext of two parts is sealed, and nothing behind the record is touched`(algorithm: AEADAlgorithm) throws
    {
        let (client, server) = try pair(algorithm)
        let (prefix, payload): ([UInt8], [UInt8]) = ([1], [2, 3])
        var buffer = [UInt8](repeating: 0x55, count: 200)
        let length = buffer.withMutableBytes { bytes in
            client.seal(
                .applicationData, number: RecordNumber(epoch: 1, sequence: 7), prefix: prefix.bytes,
                payload: payload.bytes, into: &bytes)
        }
        let end = try #require(length)
        #expect(end == RecordHeader.size + 3 + client.expansion)
        #expect(open(server, Array(buffer[..<end])) == [1, 2, 3])
        #expect(buffer[end...].allSatisfy { $0 == 0x55 })
        for byteCount in [198, 16_384] {
            let payload = [UInt8](repeating: 2, count: byteCount)
            let refused = buffer.withMutableBytes { bytes in
                client.seal(
                    .applicationData, number: RecordNumber(epoch: 1, sequence: 8), prefix: prefix.bytes,
                    payload: payload.bytes, into: &bytes)
            }
            #expect(refused == nil)
        }
    }

    @Test(arguments: AEADAlgorithm.allCases)
    func `another protection goes on with exported keys`(algorithm: AEADAlgorithm) throws {
        let (client, server) = try pair(algorithm)
        let first = try #require(seal(client, 1, [1]))
        let successor = try #require(OpenSSLRecordProtection(importing: client.keys))
        let second = try #require(seal(successor, 2, [2]))
        #expect(open(server, first) == [1] && open(server, second) == [2])
        let answer = try #require(seal(server, 1, [3]))
        #expect(open(successor, answer) == [3])
    }

    @Test(arguments: AEADAlgorithm.allCases)
    func `the explicit nonce is the record number, whatever numbers are left out`(algorithm: AEADAlgorithm) throws {
        let (client, server) = try pair(algorithm)
        var sequence: UInt64 = 0
        for step in [1, 1, 1, 7, 1, 1, 255, 1, 65_536, 1, 1 << 32, 1] as [UInt64] {
            sequence += step
            let record = try #require(seal(client, sequence, [1, 2, 3]))
            if algorithm.explicitNonceLength > 0 {
                let nonce = record.bytes.uint64(at: RecordHeader.size)
                #expect(nonce == RecordNumber(epoch: 1, sequence: sequence).rawValue)
            }
            #expect(open(server, record) == [1, 2, 3])
        }
        let last = try #require(seal(client, RecordNumber.maximumSequence, [4]))
        #expect(open(server, last) == [4])
    }

    @Test(arguments: AEADAlgorithm.allCases)
    func `a number is used once, and never a smaller one`(algorithm: AEADAlgorithm) throws {
        let (client, server) = try pair(algorithm)
        #expect(seal(client, 0, [1]) != nil)
        #expect(seal(client, 0, [2]) == nil)
        #expect(seal(client, 10, [3]) != nil)
        #expect(seal(client, 9, [4]) == nil)
        #expect(seal(client, 10, [5]) == nil)
        let next = try #require(seal(client, 11, [6]))
        #expect(open(server, next) == [6])
    }

    @Test(arguments: AEADAlgorithm.allCases)
    func `every changed bit is noticed, and every cut`(algorithm: AEADAlgorithm) throws {
        let (client, server) = try pair(algorithm)
        let record = try #require(seal(client, 5, [10, 20, 30, 40, 50]))
        for bit in 0..<record.count * 8 where !(88..<104).contains(bit) {
            var damaged = record
            damaged[bit / 8] ^= 1 << (bit % 8)
            #expect(open(server, damaged) == nil, "bit \(bit)")
        }
        for count in RecordHeader.size..<record.count {
            var cut = Array(record.prefix(count))
            let length = count - RecordHeader.size
            cut[11] = UInt8(length >> 8)
            cut[12] = UInt8(length & 255)
            #expect(open(server, cut) == nil, "\(count) bytes")
        }
        #expect(open(server, record) == [10, 20, 30, 40, 50])
    }

    @Test(arguments: AEADAlgorithm.allCases)
    func `what does not fit is refused, and the next record is sound`(algorithm: AEADAlgorithm) throws {
        let (client, server) = try pair(algorithm)
        let size = RecordHeader.size + 100 + client.expansion
        #expect(seal(client, 1, [UInt8](repeating: 1, count: 100), room: size - 1) == nil)
        #expect(seal(client, 1, [UInt8](repeating: 1, count: 100), room: 0) == nil)
        #expect(seal(client, 1, [UInt8](repeating: 1, count: 16_385)) == nil)
        let record = try #require(seal(client, 1, [UInt8](repeating: 1, count: 100), room: size + 7))
        #expect(record.count == size)
        #expect(open(server, record)?.count == 100)
    }

    @Test func `a header that does not belong to the record is refused`() throws {
        let (client, server) = try pair(.aes128GCM)
        var record = try #require(seal(client, 5, [1, 2, 3]))
        let header = try header(of: record)
        for length in [0, header.length - 1, header.length + 1, 18_432] {
            let wrong = RecordHeader(type: header.type, number: header.number, length: length)
            #expect(record.withMutableBytes { server.open(&$0, header: wrong) } == nil)
        }
    }

    @Test func `a tag depends on key and message, and is RFC 4231's`() throws {
        let key = try CookieKey(key: SecretBytes(copying: [UInt8](repeating: 0x0b, count: 20).span))
        let message = Array("Hi There".utf8)
        let expected: [4 of UInt64] = [
            0xb034_4c61_d8db_3853, 0x5ca8_afce_af0b_f12b, 0x881d_c200_c983_3da7, 0x26e9_376c_2e32_cff7,
        ]
        let tags = [key.tag(message.bytes), key.tag([UInt8]().bytes), key.tag(message.bytes)]
        #expect(tags.map { $0 == AuthenticationTag(words: expected) } == [true, false, true])
        let secrets = try [CookieSecret(), CookieSecret()]
        let keys = try [(0, 1), (0, 2), (1, 1), (0, 1)].map { try CookieKey(secrets[$0.0], period: $0.1) }
        let derived = keys.map { $0.tag(message.bytes) }
        #expect(derived[0] == derived[3] && derived[0] != derived[1] && derived[0] != derived[2])
    }
}
