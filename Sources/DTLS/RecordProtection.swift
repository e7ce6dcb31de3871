// The seam behind which the AEADs are. This module decides which record is sealed with which number, and which one is
// opened at all; whoever implements the seam knows ciphers and nothing else.

public import Wire

/// The keys of one epoch of one association, one per direction.
///
/// Owned by one ``RecordLayer`` and used from its thread only. Keys are erased when the object goes.
public protocol RecordProtection: AnyObject {
    /// The keys as a value, for another process to go on with. A secret: whoever holds it erases it.
    associatedtype Keys

    /// The keys of both directions.
    var keys: Keys { get }

    /// Goes on with keys that another one used; nil if they cannot be used here.
    init?(importing keys: Keys)

    /// How many bytes longer than its plaintext a sealed record's content is: explicit nonce and tag together.
    var expansion: Int { get }

    /// Seals one record at the start of `buffer`: header, explicit nonce where the suite has one, ciphertext, tag. The
    /// plaintext is `prefix` and `payload` one behind the other; neither may lie in `buffer`.
    ///
    /// `number` must be above every number that was sealed before: an implementation may count nonces by itself, and
    /// a repeated one gives the key away.
    ///
    /// - Returns: the record's length in bytes, `RecordHeader.size + expansion` more than its plaintext; nil, with
    ///   nothing that may be sent in `buffer`, if the record does not fit or the cipher refuses.
    func seal(
        _ type: ContentType, number: RecordNumber, prefix: borrowing RawSpan, payload: borrowing RawSpan,
        into buffer: inout MutableRawSpan
    ) -> Int?

    /// Opens one record in place.
    ///
    /// `record` is exactly one record, header included, and `header` what was read from it.
    ///
    /// - Returns: where in `record` the plaintext now stands; nil where the record is not authentic, and then the
    ///   bytes behind its header are worthless.
    func open(_ record: inout MutableRawSpan, header: RecordHeader) -> Range<Int>?
}

extension RecordProtection {
    /// Seals one record whose plaintext stands in one piece.
    @inlinable
    public func seal(
        _ type: ContentType, number: RecordNumber, plaintext: borrowing RawSpan, into buffer: inout MutableRawSpan
    ) -> Int? {
        seal(type, number: number, prefix: RawSpan(), payload: plaintext, into: &buffer)
    }
}
