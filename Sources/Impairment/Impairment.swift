// What is wrong with one direction of a path: a plain value that configures `ImpairedPath`. Every effect is off by
// default. No value here can trap: probabilities outside 0...1 act as the nearer end, negative durations and sizes act
// as zero.

/// How one direction of a path treats the datagrams that cross it.
///
/// The effects apply in this order: the MTU cap, loss, the rate limit with its queue, duplication, and then for each
/// copy on its own corruption, delay with jitter, and reordering.
public struct Impairment: Hashable, Sendable {
    /// Probability that a datagram is lost, 0...1.
    public var drop: Double
    /// Losses that come in bursts, beside `drop`; nil for none.
    public var bursts: BurstLoss?
    /// Time that every datagram spends on the way.
    public var delay: Duration
    /// The delay of each datagram varies evenly by up to this much, more or less. Jitter alone never changes the
    /// order: a datagram waits for the one before it, as in a router's queue.
    public var jitter: Duration
    /// Probability that a datagram arrives twice, 0...1.
    public var duplicate: Double
    /// Probability that a datagram (or a copy) is held back by `reorderDelay`, so that later ones overtake it, 0...1.
    public var reorder: Double
    /// How long a reordered datagram is held back.
    public var reorderDelay: Duration
    /// Probability that bits of a datagram (or a copy) are flipped, 0...1.
    public var corrupt: Double
    /// A corrupted datagram has from one to this many of its bits flipped.
    public var corruptBits: Int
    /// Rate of the link in bits per second, counted over IP packets; nil for no limit.
    public var rate: Int?
    /// Bytes of IP packets that may wait for a link with a `rate`; a datagram that does not fit any more is dropped.
    public var queueLimit: Int
    /// Largest IP packet in bytes that passes; a larger one is dropped silently, as on a path where neither
    /// fragmentation nor ICMP works. Nil for no limit.
    public var mtu: Int?
    /// Bytes of IP and UDP headers that count beside the UDP payload: 28 for IPv4, 48 for IPv6.
    public var headerSize: Int

    /// Makes a description of a path; what is not named does nothing.
    public init(
        drop: Double = 0, bursts: BurstLoss? = nil, delay: Duration = .zero, jitter: Duration = .zero,
        duplicate: Double = 0, reorder: Double = 0, reorderDelay: Duration = .milliseconds(10), corrupt: Double = 0,
        corruptBits: Int = 3, rate: Int? = nil, queueLimit: Int = 65536, mtu: Int? = nil, headerSize: Int = 28
    ) {
        self.drop = drop
        self.bursts = bursts
        self.delay = delay
        self.jitter = jitter
        self.duplicate = duplicate
        self.reorder = reorder
        self.reorderDelay = reorderDelay
        self.corrupt = corrupt
        self.corruptBits = corruptBits
        self.rate = rate
        self.queueLimit = queueLimit
        self.mtu = mtu
        self.headerSize = headerSize
    }
}

/// Losses in bursts: the two-state Markov model of Gilbert and Elliott, advanced once per datagram.
public struct BurstLoss: Hashable, Sendable {
    /// Probability that a burst begins with a datagram.
    public var begin: Double
    /// Probability that a burst ends before the next datagram; a burst takes 1 / `end` datagrams on average.
    public var end: Double
    /// Probability that a datagram within a burst is lost.
    public var drop: Double

    /// Makes a model whose share of lost datagrams is `drop * begin / (begin + end)`.
    public init(begin: Double, end: Double, drop: Double = 1) {
        self.begin = begin
        self.end = end
        self.drop = drop
    }
}

/// What became of the datagrams of one direction.
public struct ImpairmentCounters: Hashable, Sendable {
    /// Datagrams that were submitted.
    public internal(set) var submitted = 0
    /// Datagrams that left at the far end, copies included.
    public internal(set) var delivered = 0
    /// Lost by the probability `drop`.
    public internal(set) var dropped = 0
    /// Lost within a burst.
    public internal(set) var droppedInBurst = 0
    /// Dropped for being larger than the MTU.
    public internal(set) var droppedOverMTU = 0
    /// Dropped because the queue of a rate-limited link, or the path itself, was full.
    public internal(set) var droppedQueueFull = 0
    /// Copies made beyond the originals.
    public internal(set) var duplicated = 0
    /// Datagrams and copies that were held back.
    public internal(set) var reordered = 0
    /// Datagrams and copies that had bits flipped.
    public internal(set) var corrupted = 0

    /// Makes counters at zero.
    public init() {}
}
