// Two contenders beside each other. Only ratios carry over to other machines.

/// One contender beside another, for datagrams of one size: how many times as much it takes or carries.
struct Ratio: Encodable {
    let contender: ContenderKind
    let base: ContenderKind
    let datagramSize: Int
    let highestRate: Samples
    let cpuBatched: Samples
    let cpuUnbatched: Samples
    let roundTripMedian: Samples
    /// What `cpuBatched` is to come down to; nil where nothing is aimed at.
    let cpuAim: Double?

    init(_ measurement: Measurement, to base: Measurement) {
        contender = measurement.contender
        self.base = base.contender
        datagramSize = measurement.datagramSize
        highestRate = measurement.highestRate.ratio(to: base.highestRate)
        cpuBatched = measurement.cpuBatched.ratio(to: base.cpuBatched)
        cpuUnbatched = measurement.cpuUnbatched.ratio(to: base.cpuUnbatched)
        roundTripMedian = measurement.roundTripMedian.ratio(to: base.roundTripMedian)
        cpuAim = base.contender == .relay && contender != .socat ? Self.cpuAims[datagramSize] : nil
    }

    /// By the bytes of a datagram, beside a pair of plaintext relays.
    private static let cpuAims = [64: 1.2, 200: 1.2, 1200: 1.4]
}
