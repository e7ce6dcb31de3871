import Testing
import Wire

private let service = Array("syslog".utf8)
private let flows: [UInt64] = [1, 63, 64, 16_383, 16_384, 1_073_741_823, 1_073_741_824, VariableLengthInteger.maximum]

/// A header of `size` bytes as `body` writes it, which has to take them all, and `payload` behind it. Nil where `body`
/// answers anything but `size`, or answers other than 0 to a buffer that is a byte shorter.
private func frame(
    _ size: Int, payload: [UInt8] = [], _ body: (inout MutableRawSpan) -> Int
) -> [UInt8]? {
    var header = [UInt8](repeating: 0xee, count: size)
    var tooShort = [UInt8](repeating: 0xee, count: size - 1)
    guard header.withMutableBytes(body) == size, tooShort.withMutableBytes(body) == 0 else { return nil }
    return header + payload
}

private func makeDatagram(_ flow: UInt64, _ payload: [UInt8]) -> [UInt8]? {
    frame(SharedFrame.datagramHeaderSize(flow: flow), payload: payload) {
        SharedFrame.writeDatagramHeader(flow: flow, into: &$0)
    }
}

private func makeOpen(_ flow: UInt64, _ service: [UInt8], _ payload: [UInt8]) -> [UInt8]? {
    frame(SharedFrame.openHeaderSize(flow: flow, service: service), payload: payload) {
        SharedFrame.writeOpenHeader(flow: flow, service: service, into: &$0)
    }
}

private func makeOpened(_ flow: UInt64) -> [UInt8]? {
    frame(SharedFrame.openedSize(flow: flow)) { SharedFrame.writeOpened(flow: flow, into: &$0) }
}

private func makeClose(_ flow: UInt64, _ reason: CloseReason) -> [UInt8]? {
    frame(SharedFrame.closeSize(flow: flow, reason: reason)) {
        SharedFrame.writeClose(flow: flow, reason: reason, into: &$0)
    }
}

private func makeFragment(
    _ flow: UInt64, service: [UInt8]? = nil, _ datagram: UInt64, _ offset: Int, isLast: Bool, _ payload: [UInt8]
) -> [UInt8]? {
    guard let service else {
        let size = SharedFrame.fragmentHeaderSize(flow: flow, datagram: datagram, offset: offset)
        return frame(size, payload: payload) {
            SharedFrame.writeFragmentHeader(flow: flow, datagram: datagram, offset: offset, isLast: isLast, into: &$0)
        }
    }
    let size = SharedFrame.openFragmentHeaderSize(flow: flow, service: service, datagram: datagram, offset: offset)
    return frame(size, payload: payload) {
        SharedFrame.writeOpenFragmentHeader(
            flow: flow, service: service, datagram: datagram, offset: offset, isLast: isLast, into: &$0)
    }
}

@Suite struct SharedFrameTests {
    @Test(arguments: flows)
    func `datagrams survive a round trip with flow ids of every length`(flow: UInt64) throws {
        for size in [0, 1, 2, 1200, 16_000] {
            let payload = [UInt8](repeating: 0xab, count: size)
            let record = try #require(makeDatagram(flow, payload))
            let start = VariableLengthInteger.size(of: flow)
            #expect(readFrame(record) == .datagram(flow: flow, payload: start..<record.count))
            #expect(record.count == start + size)

            let open = try #require(makeOpen(flow, service, payload))
            let name = start + 3..<start + 9
            #expect(readFrame(open) == .open(flow: flow, service: name, payload: start + 9..<open.count))
            #expect(open[name].elementsEqual(service) && open.dropFirst(start + 9).elementsEqual(payload))
        }
    }

    @Test func `the first 63 flows cost one byte a datagram`() {
        for flow in 1...63 as ClosedRange<UInt64> { #expect(SharedFrame.datagramHeaderSize(flow: flow) == 1) }
        #expect(SharedFrame.datagramHeaderSize(flow: 64) == 2)
    }

    @Test(arguments: flows)
    func `OPENED and CLOSE survive a round trip with flow ids and reasons of every length`(flow: UInt64) throws {
        #expect(try readFrame(#require(makeOpened(flow))) == .opened(flow: flow))
        for reason in [0, 1, 6, 7, 63, 64, 16_384, VariableLengthInteger.maximum] as [UInt64] {
            let close = try #require(makeClose(flow, CloseReason(rawValue: reason)))
            #expect(readFrame(close) == .close(flow: flow, CloseReason(rawValue: reason)))
        }
    }

    @Test(arguments: flows)
    func `fragments survive a round trip with ids and offsets of every length`(flow: UInt64) throws {
        let places: [(UInt64, Int, Int)] = [
            (0, 0, 128), (1, 63, 128), (64, 64, 1200), (16_384, 16_383, 16_000),
            (VariableLengthInteger.maximum, 65_407, 128),
        ]
        for isLast in [false, true] {
            for (datagram, offset, size) in places {
                let payload = [UInt8](repeating: 0xab, count: size)
                let record = try #require(makeFragment(flow, datagram, offset, isLast: isLast, payload))
                let start = record.count - size
                #expect(
                    readFrame(record)
                        == .fragment(
                            flow: flow,
                            .init(datagram: datagram, offset: offset, isLast: isLast, payload: start..<record.count)))
                let open = try #require(
                    makeFragment(flow, service: service, datagram, offset, isLast: isLast, payload))
                let name = VariableLengthInteger.size(of: flow) + 3
                #expect(
                    readFrame(open)
                        == .openFragment(
                            flow: flow, service: name..<name + 6,
                            .init(
                                datagram: datagram, offset: offset, isLast: isLast,
                                payload: open.count - size..<open.count)))
            }
        }
    }

    @Test func `the layout is the documented one`() {
        #expect(makeDatagram(5, [1, 2]) == hex("05 0102"))
        #expect(makeOpen(5, service, [1, 2]) == hex("00 01 05 06 7379736c6f67 0102"))
        #expect(makeOpened(300) == hex("00 02 412c"))
        #expect(makeClose(5, .unknownService) == hex("00 03 05 02"))
        #expect(makeFragment(5, 9, 1000, isLast: false, []) == hex("00 04 05 09 43e8"))
        #expect(makeFragment(5, 9, 1000, isLast: true, []) == hex("00 05 05 09 43e8"))
        #expect(makeFragment(5, service: [97], 9, 0, isLast: false, []) == hex("00 06 05 01 61 09 00"))
        #expect(makeFragment(5, service: [97], 9, 0, isLast: true, []) == hex("00 07 05 01 61 09 00"))
        #expect(SharedFrame.applicationProtocol == "culvert/1")
    }

    @Test func `numbers that are longer than they have to be are read`() {
        #expect(readFrame(hex("4005 aa")) == .datagram(flow: 5, payload: 2..<3))
        #expect(readFrame(hex("4000 80000002 c000000000000005")) == .opened(flow: 5))
        #expect(readFrame(hex("00 4003 05 4002")) == .close(flow: 5, .unknownService))
    }

    @Test func `every truncation in front of the payload is malformed`() throws {
        let part = [UInt8](repeating: 1, count: 128)
        for flow in flows {
            let headersOnly = try [
                #require(makeDatagram(flow, [])), #require(makeOpen(flow, service, [])), #require(makeOpened(flow)),
                #require(makeClose(flow, .limit)), #require(makeClose(flow, CloseReason(rawValue: 70_000))),
            ]
            for record in headersOnly {
                #expect(readFrame(record) != nil)
                for count in 0..<record.count {
                    #expect(readFrame(Array(record.prefix(count))) == nil, "\(count) of \(record)")
                }
            }
            for isLast in [false, true] {
                for name in [nil, service] {
                    let record = try #require(makeFragment(flow, service: name, 70, 300, isLast: isLast, part))
                    let fewest = record.count - part.count + (isLast ? 1 : part.count)
                    for count in 0...record.count {
                        #expect((readFrame(Array(record.prefix(count))) != nil) == (count >= fewest))
                    }
                }
            }
        }
    }

    @Test func `a control frame for flow 0 is malformed`() {
        for type in 1...7 {
            let rest = [UInt8](repeating: 1, count: 200)
            #expect(readFrame([0, UInt8(type), 0] + rest) == nil)
            #expect(readFrame([0, UInt8(type), 0x40, 0] + rest) == nil)
        }
        #expect(makeDatagram(0, [1]) == nil && makeOpen(0, service, []) == nil && makeOpened(0) == nil)
    }

    @Test func `bytes behind OPENED and CLOSE are malformed`() {
        #expect(readFrame(hex("00 02 05")) != nil && readFrame(hex("00 02 05 00")) == nil)
        #expect(readFrame(hex("00 03 05 01")) != nil && readFrame(hex("00 03 05 01 00")) == nil)
    }

    @Test func `control types that are not known are told as such, whatever follows`() {
        for type in [0, 8, 9, 63, 64, 16_384, VariableLengthInteger.maximum] as [UInt64] {
            var header = [UInt8](repeating: 0, count: 9)
            var end = 1
            #expect(header.withMutableBytes { $0.write(variableLengthInteger: type, at: &end) })
            for rest in [[], [0], [1, 2, 3]] as [[UInt8]] {
                #expect(readFrame(header.prefix(end) + rest) == .unknown(type: type))
            }
        }
    }

    @Test func `services are 1 to 63 letters, digits, dots, underscores and hyphens`() throws {
        func open(_ name: [UInt8], length: Int? = nil) -> SharedFrame? {
            readFrame([0, 1, 5, UInt8(length ?? name.count)] + name)
        }
        for size in 0...80 {
            let name = [UInt8](repeating: 97, count: size)
            #expect((open(name) != nil) == (1...63).contains(size))
            #expect((makeOpen(5, name, []) != nil) == (1...63).contains(size))
        }
        let allowed = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-".utf8)
        for byte in 0...255 as ClosedRange<UInt8> {
            #expect((open([97, byte, 98]) != nil) == allowed.contains(byte))
            #expect((makeOpen(5, [97, byte, 98], []) != nil) == allowed.contains(byte))
            #expect((makeFragment(5, service: [byte], 1, 0, isLast: true, []) != nil) == allowed.contains(byte))
        }
        #expect(open(service, length: 7) == nil)
        #expect(open(service, length: 255) == nil)
    }

    @Test func `a fragment has at least 128 bytes, the last one at least one`() throws {
        for size in 0...200 {
            let payload = [UInt8](repeating: 1, count: size)
            for name in [nil, service] {
                #expect(
                    try (readFrame(#require(makeFragment(5, service: name, 1, 0, isLast: false, payload))) != nil)
                        == (size >= 128))
                #expect(
                    try (readFrame(#require(makeFragment(5, service: name, 1, 0, isLast: true, payload))) != nil)
                        == (size >= 1))
            }
        }
    }

    @Test func `no fragment ends beyond the largest datagram`() throws {
        for (offset, size, isFit) in [
            (65_407, 128, true), (65_408, 128, false), (65_534, 1, true), (65_535, 1, false), (65_536, 1, false),
            (1 << 40, 1, false), (1 << 61, 200, false), (0, 65_535, true), (0, 65_536, false), (0, 70_000, false),
        ] {
            let payload = [UInt8](repeating: 1, count: size)
            let record = try #require(makeFragment(5, 1, offset, isLast: true, payload))
            #expect((readFrame(record) != nil) == isFit, "\(size) bytes at \(offset)")
        }
        #expect(makeFragment(5, 1, -1, isLast: true, [1]) == nil)
    }

    @Test func `numbers above the maximum are not written`() {
        let tooLarge = VariableLengthInteger.maximum + 1
        #expect(makeDatagram(tooLarge, []) == nil && makeOpened(tooLarge) == nil)
        #expect(makeClose(1, CloseReason(rawValue: tooLarge)) == nil)
        #expect(makeFragment(1, tooLarge, 0, isLast: true, [1]) == nil)
    }

    @Test func `reasons say themselves in words`() {
        #expect(
            (0...7).map { CloseReason(rawValue: $0).description } == [
                "idle or done", "unknown flow", "unknown service", "forbidden", "limit reached", "target unreachable",
                "shutting down", "reason 7",
            ])
    }

    @Test func `arbitrary bytes are read without a trap, and what is taken stays inside`() {
        var random = SeededRandom(seed: 3)
        for _ in 0..<10_000 {
            var record = random.bytes(Int.random(in: 0...200, using: &random))
            if record.count > 2, Bool.random(using: &random) {
                record.replaceSubrange(0..<2, with: [0, record[1] & 7])
            }
            switch readFrame(record) {
            case .datagram(_, let payload): #expect(payload.upperBound == record.count)
            case .open(_, let name, let payload):
                #expect(name.upperBound == payload.lowerBound && payload.upperBound == record.count)
            case .fragment(_, let fragment), .openFragment(_, _, let fragment):
                #expect(fragment.payload.upperBound == record.count && !fragment.payload.isEmpty)
                #expect(fragment.offset + fragment.payload.count <= 65_535)
            case .opened, .close, .unknown, nil: break
            }
        }
    }
}
