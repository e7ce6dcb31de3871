// The seam behind which the AEADs stand. This module decides which record is sealed with which number and which
// one is opened at all; whoever implements the seam knows ciphers and nothing else.

public import Wire

/// The keys of one epoch of one association, one per direction.
///
/// Owned by one ``Association`` and used from its thread only. Keys are erased when the object goes.
public protocol RecordProtection: AnyObject {
    /// How many bytes longer than its plaintext a sealed record's content is: explicit nonce and tag together.
    var expansion: Int { get }

    /// Seals one record at the start of `buffer`: header, explicit nonce where the suite has one, ciphertext, tag.
    ///
    /// The plaintext has `byteCount` bytes, and `write` is given exactly that much of `buffer` to put them into. It is
    /// not called where nothing can be sealed.
    ///
    /// `number` must be above every number that was sealed before: an implementation may count nonces by itself, and
    /// a repeated one gives the key away.
    ///
    /// - Returns: the record's length in bytes, `RecordHeader.size + expansion + byteCount`; nil, with nothing useful in
    ///   `buffer`, where that does not fit it or the cipher refuses.
    func seal(
        _ type: ContentType, number: RecordNumber, byteCount: Int, into buffer: inout MutableRawSpan,
        write: (inout MutableRawSpan) -> Void
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
    /// Seals one record whose plaintext stands elsewhere.
    @inlinable
    public func seal(
        _ type: ContentType, number: RecordNumber, plaintext: borrowing RawSpan, into buffer: inout MutableRawSpan
    ) -> Int? {
        seal(type, number: number, byteCount: plaintext.byteCount, into: &buffer) { $0.write(plaintext, at: 0) }
    }
}
