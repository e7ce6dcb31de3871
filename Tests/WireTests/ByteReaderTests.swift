import Testing
import Wire

@Suite struct ByteReaderTests {
    private let bytes: [UInt8] = Array(1...12)

    @Test func `numbers are big-endian`() {
        #expect(bytes.bytes.uint8(at: 3) == 4)
        #expect(bytes.bytes.uint16(at: 1) == 0x0203)
        #expect(bytes.bytes.uint24(at: 2) == 0x03_0405)
        #expect(bytes.bytes.uint64(at: 3) == 0x0405_0607_0809_0a0b)
    }

    @Test(arguments: [Int.min, -9, -8, -2, -1, 0, 1, 4, 5, 9, 10, 11, 12, 13, 1 << 40, Int.max - 1, Int.max])
    func `a read never crosses an end`(offset: Int) {
        func fits(_ size: Int) -> Bool { offset >= 0 && offset <= bytes.count - size }
        #expect((bytes.bytes.uint8(at: offset) != nil) == fits(1))
        #expect((bytes.bytes.uint16(at: offset) != nil) == fits(2))
        #expect((bytes.bytes.uint24(at: offset) != nil) == fits(3))
        #expect((bytes.bytes.uint64(at: offset) != nil) == fits(8))
        for count in [Int.min, -1, 0, 1, 3, 12, 13, Int.max] {
            let isInside = offset >= 0 && count >= 0 && offset <= 12 && count <= 12 - offset
            let copy = bytes.bytes.slice(at: offset, count: count)?.copied()
            #expect(copy == (isInside ? Array(bytes[offset..<offset + count]) : nil))
        }
    }

    @Test(arguments: [Int.min, -1, 0, 3, 4, 5, Int.max])
    func `a write that would cross an end writes nothing`(offset: Int) {
        var target = [UInt8](repeating: 0xff, count: 4)
        let number = target.withMutableBytes { $0.write(UInt32(0x0102_0304), at: offset) }
        #expect(number == (offset == 0))
        #expect(target == (offset == 0 ? [1, 2, 3, 4] : [0xff, 0xff, 0xff, 0xff]))
        let isInside = (0...3).contains(offset)
        let source: [UInt8] = [9]
        let span = target.withMutableBytes { $0.write(source.bytes, at: offset) }
        #expect(span == isInside)
        if isInside { #expect(target[offset] == 9) }
    }

    @Test func `writing nothing succeeds wherever there is a place for it`() {
        var target: [UInt8] = []
        let nothing: [UInt8] = []
        #expect(target.withMutableBytes { $0.write(nothing.bytes, at: 0) })
        #expect(!target.withMutableBytes { $0.write(nothing.bytes, at: 1) })
    }

    @Test func `scratch memory is zero and has its size`() {
        for count in [0, 1, 60, 4096] {
            let copy = withScratch(byteCount: count) { bytes in bytes.bytes.copied() }
            #expect(copy == [UInt8](repeating: 0, count: count))
        }
    }
}
