import Control
import DTLS
import Testing

@Test func `times are counted in the ranges that the control API tells`() {
    #expect(TimeHistogram.bounds == Histogram.bounds)
}
