// The one place in this module that reads memory without the compiler's help: every load is checked against the span's
// end first, and returns nil instead of trapping.

extension RawSpan {
    /// The byte at `offset`, or nil beyond the end.
    @inlinable
    public func uint8(at offset: Int) -> UInt8? {
        guard offset >= 0, offset < byteCount else { return nil }
        return unsafe unsafeLoad(fromUncheckedByteOffset: offset, as: UInt8.self)
    }

    /// The big-endian 16-bit number at `offset`, or nil where it would cross the end.
    @inlinable
    public func uint16(at offset: Int) -> UInt16? {
        guard offset >= 0, offset <= byteCount - 2 else { return nil }
        return UInt16(bigEndian: unsafe unsafeLoadUnaligned(fromUncheckedByteOffset: offset, as: UInt16.self))
    }

    /// The big-endian 24-bit number at `offset`, or nil where it would cross the end.
    @inlinable
    public func uint24(at offset: Int) -> UInt32? {
        guard let high = uint8(at: offset), let low = uint16(at: offset + 1) else { return nil }
        return UInt32(high) << 16 | UInt32(low)
    }

    /// The big-endian 64-bit number at `offset`, or nil where it would cross the end.
    @inlinable
    public func uint64(at offset: Int) -> UInt64? {
        guard offset >= 0, offset <= byteCount - 8 else { return nil }
        return UInt64(bigEndian: unsafe unsafeLoadUnaligned(fromUncheckedByteOffset: offset, as: UInt64.self))
    }

    /// The `count` bytes at `offset`, or nil where they would cross the end.
    @inlinable
    @_lifetime(copy self)
    public func slice(at offset: Int, count: Int) -> RawSpan? {
        guard offset >= 0, count >= 0, offset <= byteCount, count <= byteCount - offset else { return nil }
        return extracting(offset..<offset + count)
    }

    /// A copy of these bytes.
    public func copied() -> [UInt8] {
        unsafe withUnsafeBytes { unsafe Array($0) }
    }
}

extension MutableRawSpan {
    /// Copies `source` to `offset`. Returns false, and writes nothing, where it would cross the end.
    @inlinable
    @discardableResult
    public mutating func write(_ source: borrowing RawSpan, at offset: Int) -> Bool {
        let count = source.byteCount
        guard offset >= 0, count <= byteCount - offset else { return false }
        guard count > 0 else { return true }
        unsafe withUnsafeMutableBytes { target in
            unsafe source.withUnsafeBytes { bytes in
                // memmove, because a record may be shifted within its own buffer.
                unsafe target.baseAddress?.advanced(by: offset).copyMemory(
                    from: bytes.baseAddress.unsafelyUnwrapped, byteCount: count)
            }
        }
        return true
    }

    /// Writes a big-endian number at `offset`. Returns false, and writes nothing, where it would cross the end.
    @inlinable
    @discardableResult
    public mutating func write<Number: FixedWidthInteger & BitwiseCopyable>(_ number: Number, at offset: Int) -> Bool {
        guard offset >= 0, offset <= byteCount - MemoryLayout<Number>.size else { return false }
        unsafe storeBytes(of: number.bigEndian, toUncheckedByteOffset: offset, as: Number.self)
        return true
    }
}

extension Array where Element == UInt8 {
    /// The array's bytes, borrowed.
    @inlinable
    public var bytes: RawSpan {
        @_lifetime(borrow self)
        get { unsafe span.bytes }
    }

    /// Lends the array's bytes for changing in place.
    @inlinable
    public mutating func withMutableBytes<Result>(_ body: (inout MutableRawSpan) -> Result) -> Result {
        var elements = mutableSpan
        var bytes = unsafe elements.mutableBytes
        return body(&bytes)
    }
}

extension InlineArray where Element == UInt8 {
    /// The array's bytes, borrowed.
    @inlinable
    var bytes: RawSpan {
        @_lifetime(borrow self)
        get { unsafe span.bytes }
    }

    /// Lends the array's bytes for changing in place.
    @inlinable
    mutating func withMutableBytes<Result>(_ body: (inout MutableRawSpan) -> Result) -> Result {
        var elements = mutableSpan
        var bytes = unsafe elements.mutableBytes
        return body(&bytes)
    }
}

/// Lends `count` zeroed bytes of the stack for the duration of a call.
@inlinable
public func withScratch<Result>(byteCount count: Int, _ body: (inout MutableRawSpan) -> Result) -> Result {
    unsafe withUnsafeTemporaryAllocation(byteCount: count, alignment: 8) { buffer in
        unsafe buffer.initializeMemory(as: UInt8.self, repeating: 0)
        var span = unsafe buffer.mutableBytes
        return body(&span)
    }
}
