// The seam behind which the records of one epoch are protected: numbers, replay window and AEAD together. DTLS 1.2's is
// in AEADRecordLayer.swift; another version's would be beside it.

public import Wire

/// What has become of a record that was to be opened.
public enum OpenedRecord: Equatable, Sendable {
    /// It is authentic; the range of its plaintext in the record.
    case plaintext(Range<Int>)
    /// It is of no use, and the bytes behind its header are worthless.
    case dropped(DropReason)
}

/// Seals and opens the records of an established association.
public protocol RecordLayer {
    /// What the handshake leaves behind for it.
    associatedtype Protection: RecordProtection

    /// Goes on where the handshake's engine has stopped.
    init(_ result: HandshakeResult<Protection>)

    /// Bytes that a record is longer than its plaintext.
    var overhead: Int { get }

    /// Whether every number has been used, so that nothing can be sealed any more.
    var isExhausted: Bool { get }

    /// Seals one record, whose plaintext is `prefix` and `payload` one behind the other, at the start of `buffer`, under the
    /// next number.
    ///
    /// - Returns: the record's length, ``overhead`` more than its plaintext; nil, with nothing that may be sent in
    ///   `buffer`, if it does not fit or the numbers are used up.
    mutating func seal(
        _ type: ContentType, prefix: borrowing RawSpan, payload: borrowing RawSpan, into buffer: inout MutableRawSpan
    ) -> Int?

    /// Opens one record in place, and remembers its number if it is authentic. `record` is exactly one record, header
    /// included, and `header` what was read from it.
    mutating func open(_ record: inout MutableRawSpan, header: RecordHeader) -> OpenedRecord
}

extension RecordLayer {
    /// Seals one record into a datagram of its own.
    mutating func datagram(_ type: ContentType, _ content: [UInt8]) -> [UInt8]? {
        var datagram = [UInt8](repeating: 0, count: content.count + overhead)
        let length = datagram.withMutableBytes { buffer in
            seal(type, prefix: RawSpan(), payload: content.bytes, into: &buffer)
        }
        return length.map { Array(datagram.prefix($0)) }
    }
}
