// Fuzzes the reader of shared-mode frames: what it takes stays inside, and what is written of it reads as the same, in no
// more bytes.

import Wire

/// What a frame says, without the places where it stood.
private enum Meaning: Equatable {
    case datagram(UInt64, [UInt8])
    case open(UInt64, [UInt8], [UInt8])
    case opened(UInt64)
    case close(UInt64, CloseReason)
    case fragment(UInt64, service: [UInt8]?, datagram: UInt64, offset: Int, isLast: Bool, [UInt8])

    init?(_ record: [UInt8]) {
        switch SharedFrame(record.bytes) {
        case .datagram(let flow, let payload): self = .datagram(flow, Array(record[payload]))
        case .open(let flow, let service, let payload):
            self = .open(flow, Array(record[service]), Array(record[payload]))
        case .opened(let flow): self = .opened(flow)
        case .close(let flow, let reason): self = .close(flow, reason)
        case .fragment(let flow, let part):
            self = .fragment(
                flow, service: nil, datagram: part.datagram, offset: part.offset, isLast: part.isLast,
                Array(record[part.payload]))
        case .openFragment(let flow, let service, let part):
            self = .fragment(
                flow, service: Array(record[service]), datagram: part.datagram, offset: part.offset,
                isLast: part.isLast, Array(record[part.payload]))
        case .unknown, nil: return nil
        }
    }

    /// The frame as culvert writes it.
    var record: [UInt8] {
        switch self {
        case .datagram(let flow, let payload):
            Self.frame(SharedFrame.datagramHeaderSize(flow: flow), payload) {
                SharedFrame.writeDatagramHeader(flow: flow, into: &$0)
            }
        case .open(let flow, let service, let payload):
            Self.frame(SharedFrame.openHeaderSize(flow: flow, service: service), payload) {
                SharedFrame.writeOpenHeader(flow: flow, service: service, into: &$0)
            }
        case .opened(let flow):
            Self.frame(SharedFrame.openedSize(flow: flow), []) { SharedFrame.writeOpened(flow: flow, into: &$0) }
        case .close(let flow, let reason):
            Self.frame(SharedFrame.closeSize(flow: flow, reason: reason), []) {
                SharedFrame.writeClose(flow: flow, reason: reason, into: &$0)
            }
        case .fragment(let flow, nil, let datagram, let offset, let isLast, let payload):
            Self.frame(SharedFrame.fragmentHeaderSize(flow: flow, datagram: datagram, offset: offset), payload) {
                SharedFrame.writeFragmentHeader(
                    flow: flow, datagram: datagram, offset: offset, isLast: isLast, into: &$0)
            }
        case .fragment(let flow, let service?, let datagram, let offset, let isLast, let payload):
            Self.frame(
                SharedFrame.openFragmentHeaderSize(flow: flow, service: service, datagram: datagram, offset: offset),
                payload
            ) {
                SharedFrame.writeOpenFragmentHeader(
                    flow: flow, service: service, datagram: datagram, offset: offset, isLast: isLast, into: &$0)
            }
        }
    }

    private static func frame(_ size: Int, _ payload: [UInt8], _ write: (inout MutableRawSpan) -> Int) -> [UInt8] {
        var header = [UInt8](repeating: 0, count: size)
        precondition(header.withMutableBytes(write) == size)
        return header + payload
    }
}

/// One input; 0 says that it was looked at.
@c(LLVMFuzzerTestOneInput)
public func fuzzSharedFrame(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let record = Array(UnsafeBufferPointer(start: start, count: count))
    guard let meaning = Meaning(record) else { return 0 }
    if case .fragment(_, _, _, let offset, let isLast, let payload) = meaning {
        precondition(payload.count >= (isLast ? 1 : SharedFrame.minimumFragmentSize))
        precondition(offset + payload.count <= SharedFrame.maximumDatagramSize)
    }
    let written = meaning.record
    precondition(written.count <= count)
    precondition(Meaning(written) == meaning)
    return 0
}
