// The random numbers of the model: SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators",
// 2014), with our own mappings to a range. The standard library's mappings may change from one release to the next,
// and a seed that was noted down has to mean the same path for ever. Never for anything that must stay secret.

/// A small deterministic random number generator: the same seed yields the same numbers on every machine.
public struct SeededGenerator: RandomNumberGenerator, Sendable {
    private var state: UInt64

    /// Starts the sequence that belongs to `seed`; every value is a good seed.
    public init(seed: UInt64) {
        state = seed
    }

    /// The next 64 random bits.
    public mutating func next() -> UInt64 {
        // Arithmetic modulo 2^64 is the algorithm itself.
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
        return mixed ^ mixed >> 31
    }

    /// A number from 0 up to, not including, `bound`; 0 where `bound` is 0.
    public mutating func below(_ bound: UInt64) -> UInt64 {
        next().multipliedFullWidth(by: bound).high
    }

    /// True with the given probability. Always draws one number, so that what follows does not depend on the outcome.
    public mutating func chance(_ probability: Double) -> Bool {
        Double(next() >> 11) * 0x1p-53 < probability
    }
}
