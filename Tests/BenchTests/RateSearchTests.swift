// The search for the highest rate, against paths that are only arithmetic; and the numbers of the report.

import Testing

@testable import culvert_bench

/// A path that loses whatever is beyond its capacity.
private final class ModelPath {
    var capacity: Double
    private(set) var trials = 0
    /// Trials that fail for no reason of the path's own.
    var noise: Set<Int> = []

    init(capacity: Double) {
        self.capacity = capacity
    }

    func trial(_ rate: Double, _ seconds: Double) -> Trial {
        trials += 1
        let sent = Int(rate * seconds)
        let received = noise.contains(trials) ? 0 : min(sent, Int(capacity * seconds))
        return Trial(sent: sent, received: received, offeredRate: rate, cpuTime: received * 2000)
    }

    var search: RateSearch { RateSearch(fullTrial: 3, shortTrial: 0.4, trial: trial) }
}

@Suite struct RateSearchTests {
    @Test(arguments: [700.0, 7_900, 12_345, 61_000, 429_000, 3_700_000])
    func `the search ends within one step below the capacity`(capacity: Double) throws {
        let path = ModelPath(capacity: capacity)
        let outcome = try path.search.run()
        #expect(outcome.rate <= capacity * 1.001 && outcome.rate > capacity / 1.07)
        #expect(abs(outcome.trial.cpuPerDatagram - 2) < 0.01 && !outcome.isLowerBound)
        #expect(path.trials < 40)
    }

    @Test func `a search near an earlier outcome finds a rate that has moved`() throws {
        for capacity in [80_000.0, 100_000, 125_000] {
            let path = ModelPath(capacity: capacity)
            let outcome = try path.search.run(near: 100_000)
            #expect(outcome.rate <= capacity * 1.001 && outcome.rate > capacity / 1.13)
        }
    }

    @Test func `one trial spoilt by noise does not end the climb`() throws {
        let path = ModelPath(capacity: 125_000)
        path.noise = [2]
        #expect(try path.search.run(near: 100_000).rate > 117_000)
    }

    @Test func `a path that carries nothing yields zero after few trials`() throws {
        let path = ModelPath(capacity: 0)
        let outcome = try path.search.run()
        #expect(outcome.rate == 0 && path.trials < 40)
    }

    @Test func `a path without a limit yields a lower bound`() throws {
        let path = ModelPath(capacity: .greatestFiniteMagnitude)
        path.capacity = 1e12
        let outcome = try path.search.run(near: 100_000)
        #expect(outcome.isLowerBound && outcome.rate > 100_000)
    }

    @Test func `a sender that falls behind is not taken for the path's success`() {
        let trial = Trial(sent: 1000, received: 1000, offeredRate: 90_000, cpuTime: 0)
        #expect(!trial.carried(100_000) && trial.carried(90_000))
        #expect(!Trial(sent: 1000, received: 999, offeredRate: 1, cpuTime: 0).carried(1))
    }

    @Test func `numbers are printed with the digits asked for`() {
        #expect(
            fixed(1.005, digits: 1) == "1.0" && fixed(-0.04, digits: 1) == "0.0" && fixed(-1.96, digits: 1) == "-2.0")
        #expect(fixed(12.5, digits: 0) == "13" && fixed(0.05, digits: 2) == "0.05" && fixed(.nan, digits: 1) == "-")
        var samples = Samples()
        #expect(samples.text(digits: 1) == "-")
        for value in [3.0, 1, 2] { samples.add(value) }
        #expect(samples.median == 2 && samples.text(digits: 0) == "2 [1..3]")
    }
}
