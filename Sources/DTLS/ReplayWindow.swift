// The sliding window against replays (RFC 6347 §4.1.2.6), as a ring of 64-bit blocks (RFC 6479): moving it forward
// clears blocks instead of shifting bits. It is wide because batches from several queues may overtake each other by
// hundreds of records.

/// Which sequence numbers of one epoch have been received.
public struct ReplayWindow: Sendable {
    /// How far behind the newest number a record may come and still be told from a replay.
    public static let size: UInt64 = (blockCount - 1) * 64

    private static let blockCount: UInt64 = 17
    private var blocks = [17 of UInt64](repeating: 0)
    /// Number 0 counts as received once its bit is set.
    private var newest: UInt64 = 0

    /// A window that has received nothing.
    public init() {}

    /// Whether a record with this number may be new. Says nothing about its authenticity, so the window does not move.
    public func admits(_ sequence: UInt64) -> Bool {
        if sequence > newest { return true }
        guard newest - sequence < ReplayWindow.size else { return false }
        return blocks[ReplayWindow.block(sequence)] & ReplayWindow.bit(sequence) == 0
    }

    /// Remembers the number of a record that has proven authentic.
    public mutating func insert(_ sequence: UInt64) {
        if sequence > newest {
            // Blocks between the old and the new newest are stale; at most every one of them.
            let ahead = min(sequence >> 6 - newest >> 6, ReplayWindow.blockCount)
            var step: UInt64 = 1
            while step <= ahead {
                blocks[ReplayWindow.block((newest >> 6 + step) << 6)] = 0
                step += 1
            }
            newest = sequence
        } else if newest - sequence >= ReplayWindow.size {
            return
        }
        blocks[ReplayWindow.block(sequence)] |= ReplayWindow.bit(sequence)
    }

    private static func block(_ sequence: UInt64) -> Int { Int(sequence >> 6 % blockCount) }
    private static func bit(_ sequence: UInt64) -> UInt64 { 1 << (sequence & 63) }
}
