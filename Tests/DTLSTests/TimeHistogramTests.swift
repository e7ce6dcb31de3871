import Testing

@testable import DTLS

@Suite struct TimeHistogramTests {
    @Test func `every duration falls into the range whose bound it does not exceed`() {
        for (index, bound) in TimeHistogram.bounds.enumerated() {
            var histogram = TimeHistogram()
            let nanoseconds = Int64((bound * 1e9).rounded())
            histogram.add(.nanoseconds(nanoseconds))
            histogram.add(.nanoseconds(nanoseconds + 1))
            #expect(histogram.counts[index] == 1 && histogram.counts[index + 1] == 1 && histogram.count == 2)
        }
        #expect(TimeHistogram.bounds == TimeHistogram.bounds.sorted())
    }

    @Test func `histograms add up`() {
        var sum = TimeHistogram()
        #expect(sum.counts.isEmpty && sum.count == 0 && sum.sum == 0)
        sum.add(TimeHistogram())
        var other = TimeHistogram()
        for milliseconds in [1, 20, 20, 3_600_000] { other.add(.milliseconds(milliseconds)) }
        sum.add(other)
        #expect(sum == other)
        sum.add(.zero)
        sum.add(other)
        #expect(sum.count == 9 && sum.counts.first == 1 && sum.counts.last == 2)
        #expect(sum.counts.count == TimeHistogram.bounds.count + 1)
        #expect(abs(sum.sum - 2 * 3600.041) < 1e-6)
    }

    @Test func `durations that cannot be do no harm`() {
        var histogram = TimeHistogram()
        histogram.add(.seconds(-1))
        histogram.add(.seconds(Int64.max))
        #expect(histogram.counts.first == 1 && histogram.counts.last == 1 && histogram.sum > 0)
    }
}
