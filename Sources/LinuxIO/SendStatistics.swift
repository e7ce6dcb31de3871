// The account that a SendBatch keeps of itself: what the kernel has taken, what it has refused, and in how many system calls.
// It is counted per message, never per datagram.

/// What a `SendBatch` has done since it was made.
public struct SendStatistics: Equatable, Sendable {
    /// Datagrams that the kernel has taken.
    public var datagrams: UInt64 = 0
    /// Their bytes, without UDP and IP headers.
    public var bytes: UInt64 = 0
    /// Datagrams that the kernel has refused.
    public var failures: UInt64 = 0
    /// System calls.
    public var systemCalls: UInt64 = 0
    /// Messages of more than one datagram that went out whole.
    public var segmentedMessages: UInt64 = 0
    /// Messages of more than one datagram that the kernel refused, so that each datagram went by itself.
    public var refusedSegmentations: UInt64 = 0
}
