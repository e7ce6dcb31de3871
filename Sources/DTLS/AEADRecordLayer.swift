// The records of epoch 1 of DTLS 1.2 under an AEAD (RFC 6347 §4.1.2, RFC 5246 §6.2.3.3).

public import Wire

/// The record layer of DTLS 1.2 after the hand-over. There is no renegotiation, so it has one epoch.
public struct AEADRecordLayer<Protection: RecordProtection>: RecordLayer {
    /// All that another process needs to go on with the records: the keys, the next number to seal with, and what has
    /// been received. Whoever has exported it must not seal any more, or numbers, and so nonces, would be used twice.
    public struct State {
        /// The keys of both directions.
        public var keys: Protection.Keys
        /// The sequence number of the next record that is sealed.
        public var nextSequence: UInt64
        /// The numbers that have been received.
        public var window: ReplayWindow
    }

    private let protection: Protection
    private var nextSequence: UInt64
    private var window = ReplayWindow()

    /// The only epoch that carries data.
    private static var epoch: UInt16 { 1 }

    /// Goes on where the handshake's engine has stopped.
    public init(_ result: HandshakeResult<Protection>) {
        protection = result.protection
        nextSequence = result.nextSequence
        for sequence in result.receivedSequences { window.insert(sequence) }
    }

    /// Goes on where another record layer has stopped; nil where its keys cannot be used here.
    public init?(importing state: State) {
        guard let protection = Protection(importing: state.keys) else { return nil }
        self.protection = protection
        nextSequence = state.nextSequence
        window = state.window
    }

    /// Ends this record layer, for another to go on.
    public consuming func export() -> State {
        State(keys: protection.keys, nextSequence: nextSequence, window: window)
    }

    /// Bytes that a record is longer than its plaintext.
    public var overhead: Int { RecordHeader.size + protection.expansion }

    /// Whether the epoch has no numbers left.
    public var isExhausted: Bool { nextSequence > RecordNumber.maximumSequence }

    /// Seals one record under the next number.
    public mutating func seal(
        _ type: ContentType, prefix: borrowing RawSpan, payload: borrowing RawSpan, into buffer: inout MutableRawSpan
    ) -> Int? {
        guard !isExhausted else { return nil }
        let number = RecordNumber(epoch: Self.epoch, sequence: nextSequence)
        // Taken even if sealing fails: a number is never tried twice.
        nextSequence += 1
        return protection.seal(type, number: number, prefix: prefix, payload: payload, into: &buffer)
    }

    /// Opens one record in place, and remembers its number.
    public mutating func open(_ record: inout MutableRawSpan, header: RecordHeader) -> OpenedRecord {
        let sequence = header.number.sequence
        guard window.admits(sequence) else { return .dropped(.replayed) }
        guard let plaintext = protection.open(&record, header: header) else { return .dropped(.notAuthentic) }
        guard plaintext.count <= RecordHeader.maximumPlaintextLength else { return .dropped(.malformed) }
        window.insert(sequence)
        return .plaintext(plaintext)
    }
}
