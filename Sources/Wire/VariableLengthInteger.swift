// QUIC's variable-length integers (RFC 9000 §16): the two high bits of the first byte say whether the number takes
// 1, 2, 4 or 8 bytes; the rest of them is the number in network order. A reader takes any length, a writer the shortest.

/// What has to be known about variable-length integers before writing one.
public enum VariableLengthInteger {
    /// The largest number that can be written, 2^62 − 1.
    public static var maximum: UInt64 {
        @inlinable get { 0x3fff_ffff_ffff_ffff }
    }

    /// Bytes of `number` in its shortest form: 1, 2, 4 or 8.
    @inlinable
    public static func size(of number: UInt64) -> Int {
        number < 1 << 6 ? 1 : number < 1 << 14 ? 2 : number < 1 << 30 ? 4 : 8
    }
}

extension RawSpan {
    /// The variable-length integer at `offset`, which moves behind it. Nil where it would cross the end.
    @inlinable
    public func variableLengthInteger(at offset: inout Int) -> UInt64? {
        guard let first = uint8(at: offset) else { return nil }
        switch first >> 6 {
        case 0:
            offset += 1
            return UInt64(first)
        case 1:
            guard let number = uint16(at: offset) else { return nil }
            offset += 2
            return UInt64(number & 0x3fff)
        case 2:
            guard let low = uint24(at: offset + 1) else { return nil }
            offset += 4
            return UInt64(first & 0x3f) << 24 | UInt64(low)
        default:
            guard let number = uint64(at: offset) else { return nil }
            offset += 8
            return number & VariableLengthInteger.maximum
        }
    }
}

extension MutableRawSpan {
    /// Writes `number` in its shortest form at `offset`, which moves behind it. Returns false, and writes nothing,
    /// where it would cross the end or `number` is above the maximum.
    @inlinable
    public mutating func write(variableLengthInteger number: UInt64, at offset: inout Int) -> Bool {
        guard number <= VariableLengthInteger.maximum else { return false }
        let size = VariableLengthInteger.size(of: number)
        let isWritten =
            switch size {
            case 1: write(UInt8(truncatingIfNeeded: number), at: offset)
            case 2: write(UInt16(truncatingIfNeeded: number) | 0x4000, at: offset)
            case 4: write(UInt32(truncatingIfNeeded: number) | 0x8000_0000, at: offset)
            default: write(number | 0xc000_0000_0000_0000, at: offset)
            }
        if isWritten { offset += size }
        return isWritten
    }
}
