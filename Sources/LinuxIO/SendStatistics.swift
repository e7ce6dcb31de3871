// What a SendBatch counts: what the kernel has taken, what it has refused, and in how many system calls. It is counted
// per message, never per datagram. It is how tests see how datagrams were put together.

/// What a `SendBatch` has done since it was made.
struct SendStatistics: Equatable, Sendable {
    /// Datagrams that the kernel has taken.
    var datagrams: UInt64 = 0
    /// Their bytes, without UDP and IP headers.
    var bytes: UInt64 = 0
    /// Datagrams that the kernel has refused.
    var failures: UInt64 = 0
    /// System calls.
    var systemCalls: UInt64 = 0
    /// Messages of more than one datagram that went out whole.
    var segmentedMessages: UInt64 = 0
    /// Messages of more than one datagram that the kernel refused, so that each datagram went by itself.
    var refusedSegmentations: UInt64 = 0
}
