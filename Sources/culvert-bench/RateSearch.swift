// Finds the highest rate that a path carries with almost no loss: doubling and halving in short trials for a first
// bracket, then climbing in steps of six percent at full length. A trial that fails is tried once more, so that a burst
// of noise from elsewhere on the machine does not end the climb. Bounded in trials, whatever the path does.

/// What one trial at one rate showed.
struct Trial {
    /// Datagrams handed to the kernel, and those of them that arrived, each counted once.
    var sent: Int
    var received: Int
    /// Datagrams per second that were really offered.
    var offeredRate: Double
    /// CPU time in nanoseconds that the contender's processes took.
    var cpuTime: Int

    /// Share of datagrams that did not arrive.
    var loss: Double { sent == 0 ? 1 : Double(sent - received) / Double(sent) }
    /// CPU time in microseconds for each datagram that arrived.
    var cpuPerDatagram: Double { received == 0 ? .infinity : Double(cpuTime) / Double(received) / 1000 }

    /// Whether the path carried `rate`: loss below 0.1 %, and the generator did not fall behind.
    func carried(_ rate: Double) -> Bool {
        loss < 0.001 && offeredRate > 0.97 * rate
    }
}

/// The search for the highest rate.
struct RateSearch {
    /// Seconds of a full and of a short trial.
    var fullTrial: Double
    var shortTrial: Double
    /// Full-length rates to try at most.
    var maximumSteps = 10
    /// Runs one trial at a rate in datagrams per second for a time in seconds.
    let trial: (_ rate: Double, _ seconds: Double) throws -> Trial

    /// The outcome of a search.
    struct Outcome {
        /// Highest rate carried, datagrams per second; 0 if even the lowest rate was not.
        var rate: Double
        /// The trial at that rate.
        var trial: Trial
        /// Whether the steps ran out before a trial failed, so that the true rate may be higher.
        var isLowerBound: Bool
    }

    private static let step = 1.06
    private static let lowestRate = 500.0
    private static let highestRate = 20_000_000.0

    /// Searches from nothing.
    func run() throws -> Outcome {
        var low = 8000.0
        while low > Self.lowestRate, try !carries(low) { low /= 2 }
        var high = low * 2
        while high < Self.highestRate, try carries(high) {
            low = high
            high *= 2
        }
        for _ in 0..<2 {
            let middle = (low * high).squareRoot()
            if try carries(middle) { low = middle } else { high = middle }
        }
        return try climb(from: low)
    }

    /// Searches near the outcome of an earlier search.
    func run(near rate: Double) throws -> Outcome {
        try climb(from: max(rate / Self.step, Self.lowestRate))
    }

    private func carries(_ rate: Double) throws -> Bool {
        try trial(rate, shortTrial).carried(rate)
    }

    /// A trial at full length, repeated once if it fails.
    private func settled(_ rate: Double) throws -> Trial {
        let first = try trial(rate, fullTrial)
        return first.carried(rate) ? first : try trial(rate, fullTrial)
    }

    private func climb(from start: Double) throws -> Outcome {
        var best: (rate: Double, trial: Trial)?
        var rate = start
        for _ in 0..<maximumSteps {
            let result = try settled(rate)
            if result.carried(rate) {
                let wasFalling = rate < start
                best = (rate, result)
                if wasFalling { break }
                rate *= Self.step
            } else if let best {
                return Outcome(rate: best.rate, trial: best.trial, isLowerBound: false)
            } else {
                // The short trials flattered this path: come down until one of full length passes.
                rate /= rate < start ? Self.step * Self.step : Self.step
                guard rate >= Self.lowestRate else { break }
            }
        }
        guard let best else {
            return Outcome(
                rate: 0, trial: Trial(sent: 0, received: 0, offeredRate: 0, cpuTime: 0), isLowerBound: false)
        }
        return Outcome(rate: best.rate, trial: best.trial, isLowerBound: best.rate >= start)
    }
}
