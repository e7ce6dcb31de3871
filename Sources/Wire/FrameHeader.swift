// What goes in front of a datagram in a frame of shared mode. It is made separately from the datagram, so that a record
// can be sealed from the two parts as they are.

/// The front of a frame: as long as it has to be, and never on the heap.
public struct FrameHeader {
    /// The longest one: an OPEN with FRAGMENT, all of its numbers and the service's name at their longest.
    public static let maximumSize = 104

    private var storage: [104 of UInt8]
    private let byteCount: Int

    /// Nothing at all, for what is no frame.
    public init() {
        storage = [104 of UInt8](repeating: 0)
        byteCount = 0
    }

    /// Lets `write` make a header at the start of a buffer that is long enough for any; `write` returns the header's
    /// length, or 0 if it cannot make one.
    private init?(_ write: (inout MutableRawSpan) -> Int) {
        storage = [104 of UInt8](repeating: 0)
        byteCount = storage.withMutableBytes(write)
        guard byteCount > 0 else { return nil }
    }

    /// Its bytes.
    public var bytes: RawSpan {
        @_lifetime(borrow self)
        get { storage.bytes.extracting(first: byteCount) }
    }

    /// In front of a datagram of a flow that the peer knows or, with a service, of one that may be new to it. Nil if a
    /// frame cannot hold the flow or the service.
    public static func datagram(flow: UInt64, opening service: [UInt8]?) -> FrameHeader? {
        FrameHeader { buffer in
            if let service {
                SharedFrame.writeOpenHeader(flow: flow, service: service, into: &buffer)
            } else {
                SharedFrame.writeDatagramHeader(flow: flow, into: &buffer)
            }
        }
    }

    /// In front of a part of a datagram; otherwise the same.
    public static func fragment(
        flow: UInt64, opening service: [UInt8]?, datagram: UInt64, offset: Int, isLast: Bool
    ) -> FrameHeader? {
        FrameHeader { buffer in
            if let service {
                SharedFrame.writeOpenFragmentHeader(
                    flow: flow, service: service, datagram: datagram, offset: offset, isLast: isLast, into: &buffer)
            } else {
                SharedFrame.writeFragmentHeader(
                    flow: flow, datagram: datagram, offset: offset, isLast: isLast, into: &buffer)
            }
        }
    }

    /// The whole of an OPENED.
    public static func opened(flow: UInt64) -> FrameHeader? {
        FrameHeader { SharedFrame.writeOpened(flow: flow, into: &$0) }
    }

    /// The whole of a CLOSE.
    public static func close(flow: UInt64, _ reason: CloseReason) -> FrameHeader? {
        FrameHeader { SharedFrame.writeClose(flow: flow, reason: reason, into: &$0) }
    }
}
