// The records of epoch 1 after the hand-over: numbers, window and AEAD together.

import Wire

/// Seals and opens an established association's records.
struct RecordLayer<Protection: RecordProtection> {
    private let protection: Protection
    private var nextSequence: UInt64
    private var window = ReplayWindow()

    /// The only epoch that carries data: there is no renegotiation.
    static var epoch: UInt16 { 1 }

    init(_ result: HandshakeResult<Protection>) {
        protection = result.protection
        nextSequence = result.nextSequence
        for sequence in result.receivedSequences { window.insert(sequence) }
    }

    /// Bytes that a record is longer than its plaintext.
    var overhead: Int { RecordHeader.size + protection.expansion }

    /// Whether the epoch has numbers left.
    var isExhausted: Bool { nextSequence > RecordNumber.maximumSequence }

    /// Seals one record of `byteCount` bytes, which `write` puts into their place, under the next number. Nil where it
    /// does not fit, or the numbers are used up.
    mutating func seal(
        _ type: ContentType, byteCount: Int, into buffer: inout MutableRawSpan, write: (inout MutableRawSpan) -> Void
    ) -> Int? {
        guard !isExhausted else { return nil }
        let number = RecordNumber(epoch: RecordLayer.epoch, sequence: nextSequence)
        // Taken even if sealing fails: a number is never tried twice.
        nextSequence += 1
        return protection.seal(type, number: number, byteCount: byteCount, into: &buffer, write: write)
    }

    /// Seals one record into a datagram of its own.
    mutating func datagram(_ type: ContentType, _ content: [UInt8]) -> [UInt8]? {
        var datagram = [UInt8](repeating: 0, count: content.count + overhead)
        let length = datagram.withMutableBytes { buffer in
            seal(type, byteCount: content.count, into: &buffer) { $0.write(content.bytes, at: 0) }
        }
        return length.map { Array(datagram.prefix($0)) }
    }

    /// Opens one record in place, and remembers its number.
    mutating func open(_ record: inout MutableRawSpan, header: RecordHeader) -> Opened {
        let sequence = header.number.sequence
        guard window.admits(sequence) else { return .drop(.replayed) }
        guard let plaintext = protection.open(&record, header: header) else { return .drop(.notAuthentic) }
        guard plaintext.count <= RecordHeader.maximumPlaintextLength else { return .drop(.malformed) }
        window.insert(sequence)
        return .plaintext(plaintext)
    }

    enum Opened {
        /// Where in the record the plaintext stands.
        case plaintext(Range<Int>)
        case drop(DropReason)
    }
}
