import Testing
import Wire

/// Reads a number, and says where it ends.
private func read(_ bytes: [UInt8], at start: Int = 0) -> (number: UInt64, end: Int)? {
    var offset = start
    return bytes.bytes.variableLengthInteger(at: &offset).map { ($0, offset) }
}

/// Writes a number in front of nothing.
private func write(_ number: UInt64, room: Int = 8) -> [UInt8]? {
    var bytes = [UInt8](repeating: 0xee, count: room)
    var end = 0
    let isWritten = bytes.withMutableBytes { $0.write(variableLengthInteger: number, at: &end) }
    return isWritten ? Array(bytes.prefix(end)) : nil
}

@Suite struct VariableLengthIntegerTests {
    @Test func `the examples of RFC 9000 A.1 are read and written`() throws {
        let examples: [(String, UInt64)] = [
            ("c2197c5eff14e88c", 151_288_809_941_952_652), ("9d7f3e7d", 494_878_333), ("7bbd", 15293), ("25", 37),
        ]
        for (text, number) in examples {
            let found = try #require(read(hex(text)))
            #expect(found.number == number && found.end == hex(text).count)
            #expect(write(number) == hex(text))
        }
        // The same document's example of a number that is longer than it has to be.
        #expect(read(hex("4025"))?.number == 37)
    }

    @Test func `numbers around every boundary survive a round trip in their shortest form`() throws {
        let boundaries: [(UInt64, Int)] = [
            (0, 1), (1, 1), (63, 1), (64, 2), (16_383, 2), (16_384, 4), (1_073_741_823, 4), (1_073_741_824, 8),
            (VariableLengthInteger.maximum, 8),
        ]
        for (number, size) in boundaries {
            #expect(VariableLengthInteger.size(of: number) == size)
            let bytes = try #require(write(number))
            #expect(bytes.count == size)
            #expect(read(bytes)?.number == number && read(bytes)?.end == size)
        }
    }

    @Test func `every length of a number is read, whatever the number`() {
        for number in [0, 1, 37, 63] as [UInt64] {
            for (size, prefix) in [(1, 0), (2, 0x4000), (4, 0x8000_0000), (8, 0xc000_0000_0000_0000)] as [(Int, UInt64)]
            {
                let bytes = (0..<size).map {
                    UInt8(truncatingIfNeeded: (prefix | number) >> UInt64(8 * (size - 1 - $0)))
                }
                #expect(read(bytes)?.number == number && read(bytes)?.end == size)
                #expect(read([9, 9] + bytes + [9], at: 2)?.end == size + 2)
            }
        }
    }

    @Test func `a number that crosses the end is none`() throws {
        for number in [5, 100, 100_000, 10_000_000_000] as [UInt64] {
            let bytes = try #require(write(number))
            for count in 0..<bytes.count { #expect(read(Array(bytes.prefix(count))) == nil) }
        }
        #expect(read([1], at: 1) == nil && read([1], at: -1) == nil && read([1], at: .max) == nil)
    }

    @Test func `nothing is written beyond the end or above the maximum`() throws {
        for number in [5, 100, 100_000, 10_000_000_000] as [UInt64] {
            let size = VariableLengthInteger.size(of: number)
            #expect(write(number, room: size)?.count == size)
            #expect(write(number, room: size - 1) == nil)
        }
        #expect(write(VariableLengthInteger.maximum + 1) == nil)
        #expect(write(.max) == nil)
    }
}
