// What one record carries in shared mode (ALPN `culvert/1`; docs/PROTOCOL.md). All numbers but the service's length
// are variable-length integers:
//
//     | flow id | datagram |                                                    a datagram of the flow
//     | 0 | 1     | flow id | length | service | datagram |                      OPEN
//     | 0 | 2     | flow id |                                                   OPENED
//     | 0 | 3     | flow id | reason |                                          CLOSE
//     | 0 | 4 / 5 | flow id | datagram id | offset | bytes |                    FRAGMENT, the last one
//     | 0 | 6 / 7 | flow id | length | service | datagram id | offset | bytes | OPEN with FRAGMENT, with the last one
//
// The record's end is the frame's end. An authenticated peer made these bytes, but it may still be hostile.

/// A frame as it stands in the plaintext of a record. Ranges are places in that plaintext.
public enum SharedFrame: Equatable, Sendable {
    /// One whole datagram of a flow that the peer knows; zero bytes are a datagram of length zero.
    case datagram(flow: UInt64, payload: Range<Int>)
    /// One whole datagram of a flow that may be new to the peer, with the service that it is for.
    case open(flow: UInt64, service: Range<Int>, payload: Range<Int>)
    /// The server has the flow; OPEN is no longer needed.
    case opened(flow: UInt64)
    /// The sender has no such flow, or no longer.
    case close(flow: UInt64, CloseReason)
    /// A part of a datagram.
    case fragment(flow: UInt64, Fragment)
    /// A part of a datagram of a flow that may be new to the peer, with the service that it is for.
    case openFragment(flow: UInt64, service: Range<Int>, Fragment)
    /// A control frame of a type that is not known here; it is ignored.
    case unknown(type: UInt64)

    /// A part of a datagram.
    public struct Fragment: Equatable, Sendable {
        /// Which datagram of this association and direction it belongs to.
        public var datagram: UInt64
        /// Where in the datagram its bytes begin.
        public var offset: Int
        /// Whether the datagram ends with it.
        public var isLast: Bool
        /// Its bytes: at least one, and at least ``SharedFrame/minimumFragmentSize`` unless it is the last.
        public var payload: Range<Int>

        /// Makes a fragment.
        public init(datagram: UInt64, offset: Int, isLast: Bool, payload: Range<Int>) {
            self.datagram = datagram
            self.offset = offset
            self.isLast = isLast
            self.payload = payload
        }
    }

    /// The name by which shared mode is negotiated (RFC 7301).
    public static let applicationProtocol = "culvert/1"
    /// The most bytes that a datagram may have when it is whole, the most that UDP's length field can say.
    public static let maximumDatagramSize = 65_535
    /// The fewest bytes of a fragment that is not the last.
    public static let minimumFragmentSize = 128
    /// The most bytes of a service's name.
    public static let maximumServiceSize = 63

    /// Reads a record's plaintext; nil where it is malformed: truncated, a flow id of 0 in a control frame, a service
    /// that ``isService(_:)`` denies, bytes behind OPENED or CLOSE, or a fragment that is too small or ends beyond
    /// ``maximumDatagramSize``.
    @inlinable
    public init?(_ record: borrowing RawSpan) {
        var offset = 0
        guard let flow = record.variableLengthInteger(at: &offset) else { return nil }
        if flow == 0 {
            self.init(control: record, at: offset)
        } else {
            self = .datagram(flow: flow, payload: offset..<record.byteCount)
        }
    }

    /// Whether a service may have this name: 1 to 63 ASCII letters, digits, `.`, `_` or `-`, as tunnels have.
    public static func isService(_ name: borrowing RawSpan) -> Bool {
        guard (1...maximumServiceSize).contains(name.byteCount) else { return false }
        for index in 0..<name.byteCount {
            switch name.uint8(at: index) ?? 0 {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
                continue
            default: return false
            }
        }
        return true
    }
}

// MARK: - Reading control frames

extension SharedFrame {
    private enum Control: UInt64 {
        case open = 1
        case opened = 2
        case close = 3
        case fragment = 4
        case lastFragment = 5
        case openFragment = 6
        case openLastFragment = 7
    }

    @usableFromInline
    init?(control record: borrowing RawSpan, at start: Int) {
        var offset = start
        guard let type = record.variableLengthInteger(at: &offset) else { return nil }
        guard let control = Control(rawValue: type) else {
            self = .unknown(type: type)
            return
        }
        guard let flow = record.variableLengthInteger(at: &offset), flow != 0 else { return nil }
        switch control {
        case .open:
            guard let service = SharedFrame.service(record, at: &offset) else { return nil }
            self = .open(flow: flow, service: service, payload: offset..<record.byteCount)
        case .opened:
            guard offset == record.byteCount else { return nil }
            self = .opened(flow: flow)
        case .close:
            guard let reason = record.variableLengthInteger(at: &offset), offset == record.byteCount else { return nil }
            self = .close(flow: flow, CloseReason(rawValue: reason))
        case .fragment, .lastFragment:
            guard let fragment = Fragment(record, at: offset, isLast: control == .lastFragment) else { return nil }
            self = .fragment(flow: flow, fragment)
        case .openFragment, .openLastFragment:
            guard let service = SharedFrame.service(record, at: &offset),
                let fragment = Fragment(record, at: offset, isLast: control == .openLastFragment)
            else { return nil }
            self = .openFragment(flow: flow, service: service, fragment)
        }
    }

    private static func service(_ record: borrowing RawSpan, at offset: inout Int) -> Range<Int>? {
        guard let length = record.uint8(at: offset), let name = record.slice(at: offset + 1, count: Int(length)),
            isService(name)
        else { return nil }
        let service = offset + 1..<offset + 1 + Int(length)
        offset = service.upperBound
        return service
    }
}

extension SharedFrame.Fragment {
    fileprivate init?(_ record: borrowing RawSpan, at start: Int, isLast: Bool) {
        var place = start
        guard let datagram = record.variableLengthInteger(at: &place),
            let offset = record.variableLengthInteger(at: &place)
        else { return nil }
        let payload = place..<record.byteCount
        guard payload.count >= (isLast ? 1 : SharedFrame.minimumFragmentSize),
            payload.count <= SharedFrame.maximumDatagramSize,
            offset <= UInt64(SharedFrame.maximumDatagramSize - payload.count)
        else { return nil }
        self.init(datagram: datagram, offset: Int(offset), isLast: isLast, payload: payload)
    }
}

// MARK: - Writing

/// Each writer writes what goes in front of the payload at the start of `buffer` and returns its length, which the
/// function beside it gives in advance. It returns 0, and the buffer holds nothing of use, where that does not fit, the
/// flow id is 0, or a number is above ``VariableLengthInteger/maximum``.
extension SharedFrame {
    /// Bytes in front of a datagram.
    @inlinable
    public static func datagramHeaderSize(flow: UInt64) -> Int { VariableLengthInteger.size(of: flow) }

    /// Writes what goes in front of a datagram.
    @inlinable
    public static func writeDatagramHeader(flow: UInt64, into buffer: inout MutableRawSpan) -> Int {
        var offset = 0
        return flow != 0 && buffer.write(variableLengthInteger: flow, at: &offset) ? offset : 0
    }

    /// Bytes in front of the datagram in an OPEN.
    public static func openHeaderSize(flow: UInt64, service: [UInt8]) -> Int {
        controlHeaderSize(flow: flow) + 1 + service.count
    }

    /// Writes what goes in front of the datagram in an OPEN. `service` is a name that ``isService(_:)`` allows.
    public static func writeOpenHeader(flow: UInt64, service: [UInt8], into buffer: inout MutableRawSpan) -> Int {
        var offset = 0
        guard write(.open, flow: flow, into: &buffer, at: &offset), write(service, into: &buffer, at: &offset)
        else { return 0 }
        return offset
    }

    /// Bytes of an OPENED.
    public static func openedSize(flow: UInt64) -> Int { controlHeaderSize(flow: flow) }

    /// Writes an OPENED.
    public static func writeOpened(flow: UInt64, into buffer: inout MutableRawSpan) -> Int {
        var offset = 0
        return write(.opened, flow: flow, into: &buffer, at: &offset) ? offset : 0
    }

    /// Bytes of a CLOSE.
    public static func closeSize(flow: UInt64, reason: CloseReason) -> Int {
        controlHeaderSize(flow: flow) + VariableLengthInteger.size(of: reason.rawValue)
    }

    /// Writes a CLOSE.
    public static func writeClose(flow: UInt64, reason: CloseReason, into buffer: inout MutableRawSpan) -> Int {
        var offset = 0
        guard write(.close, flow: flow, into: &buffer, at: &offset),
            buffer.write(variableLengthInteger: reason.rawValue, at: &offset)
        else { return 0 }
        return offset
    }

    /// Bytes in front of a FRAGMENT's bytes. `offset` is not negative.
    public static func fragmentHeaderSize(flow: UInt64, datagram: UInt64, offset: Int) -> Int {
        controlHeaderSize(flow: flow) + placeSize(datagram: datagram, offset: offset)
    }

    /// Writes what goes in front of a FRAGMENT's bytes.
    public static func writeFragmentHeader(
        flow: UInt64, datagram: UInt64, offset: Int, isLast: Bool, into buffer: inout MutableRawSpan
    ) -> Int {
        var end = 0
        guard write(isLast ? .lastFragment : .fragment, flow: flow, into: &buffer, at: &end),
            write(datagram: datagram, offset: offset, into: &buffer, at: &end)
        else { return 0 }
        return end
    }

    /// Bytes in front of the fragment's bytes in an OPEN with FRAGMENT. `offset` is not negative.
    public static func openFragmentHeaderSize(flow: UInt64, service: [UInt8], datagram: UInt64, offset: Int) -> Int {
        openHeaderSize(flow: flow, service: service) + placeSize(datagram: datagram, offset: offset)
    }

    /// Writes what goes in front of the fragment's bytes in an OPEN with FRAGMENT. `service` is a name that
    /// ``isService(_:)`` allows.
    public static func writeOpenFragmentHeader(
        flow: UInt64, service: [UInt8], datagram: UInt64, offset: Int, isLast: Bool, into buffer: inout MutableRawSpan
    ) -> Int {
        var end = 0
        guard write(isLast ? .openLastFragment : .openFragment, flow: flow, into: &buffer, at: &end),
            write(service, into: &buffer, at: &end),
            write(datagram: datagram, offset: offset, into: &buffer, at: &end)
        else { return 0 }
        return end
    }

    private static func controlHeaderSize(flow: UInt64) -> Int { 2 + VariableLengthInteger.size(of: flow) }

    private static func placeSize(datagram: UInt64, offset: Int) -> Int {
        VariableLengthInteger.size(of: datagram) + VariableLengthInteger.size(of: UInt64(truncatingIfNeeded: offset))
    }

    private static func write(
        _ control: Control, flow: UInt64, into buffer: inout MutableRawSpan, at offset: inout Int
    ) -> Bool {
        flow != 0 && buffer.write(variableLengthInteger: 0, at: &offset)
            && buffer.write(variableLengthInteger: control.rawValue, at: &offset)
            && buffer.write(variableLengthInteger: flow, at: &offset)
    }

    private static func write(_ service: [UInt8], into buffer: inout MutableRawSpan, at offset: inout Int) -> Bool {
        guard isService(service.bytes), buffer.write(UInt8(truncatingIfNeeded: service.count), at: offset),
            buffer.write(service.bytes, at: offset + 1)
        else { return false }
        offset += 1 + service.count
        return true
    }

    private static func write(
        datagram: UInt64, offset: Int, into buffer: inout MutableRawSpan, at end: inout Int
    ) -> Bool {
        buffer.write(variableLengthInteger: datagram, at: &end)
            && buffer.write(variableLengthInteger: UInt64(truncatingIfNeeded: offset), at: &end)
    }
}
