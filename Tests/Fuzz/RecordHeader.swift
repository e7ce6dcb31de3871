// Fuzzes the walk over a datagram's records: it ends, stays inside, and what was read can be written back.

import Wire

/// One input; 0 says that it was looked at.
@c(LLVMFuzzerTestOneInput)
public func fuzzRecordHeader(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let datagram = UnsafeRawBufferPointer(start: start, count: count)
    var offset = 0
    while let header = RecordHeader(datagram.bytes, at: offset) {
        var copy = [UInt8](repeating: 0, count: RecordHeader.size)
        var span = copy.mutableSpan
        var bytes = span.mutableBytes
        precondition(header.write(into: &bytes))
        precondition(copy.elementsEqual(datagram[offset..<offset + RecordHeader.size]))
        offset += RecordHeader.size + header.length
        precondition(offset <= count)
    }
    return 0
}
