import DTLS
import Testing
import Wire

/// The window as RFC 6347 §4.1.2.6 describes it, without any ring.
private struct NaiveWindow {
    private var seen: Set<UInt64> = []
    private var newest: UInt64?

    func admits(_ sequence: UInt64) -> Bool {
        guard let newest, sequence <= newest else { return true }
        return newest - sequence < ReplayWindow.size && !seen.contains(sequence)
    }

    mutating func insert(_ sequence: UInt64) {
        newest = max(newest ?? 0, sequence)
        seen.insert(sequence)
    }
}

@Suite struct ReplayWindowTests {
    @Test func `it is as wide as promised`() { #expect(ReplayWindow.size >= 1024) }

    @Test(arguments: 0..<6 as Range<UInt64>) func `it decides like a naive model on a random walk`(seed: UInt64) {
        var random = SeededRandom(seed: 1 + seed)
        var window = ReplayWindow()
        var model = NaiveWindow()
        var newest: UInt64 = seed.isMultiple(of: 2) ? 0 : RecordNumber.maximumSequence - 40_000
        for _ in 0..<6000 {
            let back = UInt64.random(in: 0...1300, using: &random)
            var sequence = newest > back ? newest - back : newest
            switch Int.random(in: 0..<40, using: &random) {
            case 0: sequence = newest + UInt64.random(in: 0...300, using: &random)
            case 1: sequence = newest + UInt64.random(in: 900...1200, using: &random)
            case 2 where seed.isMultiple(of: 2): sequence = newest + UInt64.random(in: 0...1 << 36, using: &random)
            case 3...16: sequence = newest + UInt64.random(in: 0...3, using: &random)
            default: break
            }
            sequence = min(sequence, RecordNumber.maximumSequence)
            guard window.admits(sequence) == model.admits(sequence) else {
                Issue.record("\(sequence) after \(newest): \(window.admits(sequence))")
                return
            }
            // Also a number that was not admitted may be handed in; nothing must change.
            if window.admits(sequence) || Bool.random(using: &random) {
                window.insert(sequence)
                model.insert(sequence)
            }
            newest = max(newest, sequence)
        }
    }

    @Test func `every number is admitted once, whatever the order within the window`() {
        var random = SeededRandom(seed: 9)
        var window = ReplayWindow()
        for start in stride(from: UInt64(0), to: 9000, by: 1000) {
            for sequence in (start..<start + 1000).shuffled(using: &random) {
                guard window.admits(sequence) else {
                    Issue.record("\(sequence) refused at first")
                    return
                }
                window.insert(sequence)
                guard !window.admits(sequence) else {
                    Issue.record("\(sequence) admitted twice")
                    return
                }
            }
        }
    }

    @Test func `its edge is exactly its size behind the newest`() {
        var window = ReplayWindow()
        window.insert(10_000)
        #expect(window.admits(10_000 - ReplayWindow.size + 1))
        #expect(!window.admits(10_000 - ReplayWindow.size))
        #expect(!window.admits(0))
        // An insertion from beyond the edge must not mark a number of the window.
        window.insert(10_000 - ReplayWindow.size - 64)
        for sequence in 10_000 - ReplayWindow.size + 1..<10_000 { #expect(window.admits(sequence)) }
    }

    @Test func `the first and the last number of an epoch can be told apart`() {
        var window = ReplayWindow()
        #expect(window.admits(0))
        window.insert(0)
        #expect(!window.admits(0))
        #expect(window.admits(RecordNumber.maximumSequence))
        window.insert(RecordNumber.maximumSequence)
        #expect(!window.admits(RecordNumber.maximumSequence))
        #expect(!window.admits(0))
        #expect(window.admits(RecordNumber.maximumSequence - 1))
        window.insert(.max)
        #expect(!window.admits(.max))
    }
}
