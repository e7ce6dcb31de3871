// Data easily overtakes a handshake's last flight. What comes before the keys are there, or before the association's
// owner has accepted the peer, waits here.

import Wire

/// A bounded queue of whole protected records, in order of arrival.
struct EarlyRecords {
    /// The most records that wait.
    static let maximumCount = 32
    /// The most bytes that wait, headers included; a single record of any legal size fits.
    static let maximumBytes = 32_768

    private(set) var records: [[UInt8]] = []
    private var byteCount = 0

    /// Adds a record; returns false where there is no room for it.
    mutating func append(_ record: borrowing RawSpan) -> Bool {
        guard records.count < EarlyRecords.maximumCount,
            byteCount + record.byteCount <= EarlyRecords.maximumBytes
        else { return false }
        records.append(record.copied())
        byteCount += record.byteCount
        return true
    }
}
