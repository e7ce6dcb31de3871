// What is compared with what, and how.

import FoundationEssentials
import Testing

@testable import culvert_bench

@Suite struct RatioTests {
    @Test func `repetitions are compared with their neighbours`() {
        // The machine was half as fast in the second turn, for both.
        let ratio = samples(12, 24, 13).ratio(to: samples(10, 20, 10))
        #expect(ratio.text(digits: 2) == "1.20 [1.20..1.30]")
    }

    @Test func `medians are compared where a repetition is missing`() {
        #expect(samples(12, 24, 12).ratio(to: samples(10, 20)).text(digits: 2) == "1.20")
        #expect(samples().ratio(to: samples(10)).median == nil && samples(1).ratio(to: samples()).median == nil)
    }

    @Test func `nothing is divided by nothing`() {
        #expect(samples(1, 3).ratio(to: samples(0, 2)).values == [1.5])
    }

    @Test func `each contender is compared with the relay, the baseline and socat`() throws {
        let report = Report(
            machine: "", trialSeconds: 1, repetitions: 1,
            measurements: [
                measurement(.direct, 64, nil), measurement(.relay, 64, 2), measurement(.culvert, 64, 3),
                measurement(.baseline, 64, 4), measurement(.socat, 64, 12), measurement(.culvert, 300, 3),
                measurement(.relay, 300, 2),
            ], absent: [:])
        let ratios = report.ratios.map {
            "\($0.contender) : \($0.base), \($0.datagramSize): \($0.cpuBatched.text(digits: 2)) of \($0.cpuAim ?? 0)"
        }
        #expect(
            ratios == [
                "culvert : relay, 64: 1.50 of 1.2", "baseline : relay, 64: 2.00 of 1.2",
                "socat : relay, 64: 6.00 of 0.0", "culvert : relay, 300: 1.50 of 0.0",
                "culvert : baseline, 64: 0.75 of 0.0",
                "culvert : socat, 64: 0.25 of 0.0", "baseline : socat, 64: 0.33 of 0.0",
            ])
        #expect(try report.json().contains("\"cpuAim\""))
    }

    @Test func `many tunnels are compared with one, and one daemon with the other`() {
        var report = WakeupReport(machine: "", turnSeconds: 1, repetitions: 1, measurements: [])
        for (contender, end, tunnels, cpu) in [
            (ContenderKind.culvert, DaemonEnd.client, 1, 40.0), (.baseline, .client, 1, 50), (.culvert, .client, 9, 44),
            (.baseline, .client, 9, 200), (.culvert, .server, 9, 7),
        ] {
            var measurement = WakeupMeasurement(contender: contender, end: end, tunnels: tunnels)
            measurement.cpu.add(cpu)
            report.measurements.append(measurement)
        }
        #expect(report.ratioToOne(.baseline, .client, 9).median == 4)
        #expect(report.ratioToOne(.culvert, .server, 9).median == nil)
        let rows = report.text().split(separator: "\n").map { $0.split(separator: " ").joined(separator: " ") }
        #expect(rows.contains("client 1 40.0 50.0 0.80"))
        #expect(rows.contains("client 9 44.0 1.10 200.0 4.00 0.22"))
        #expect(rows.contains("server 9 7.0 - - - -"))
    }

    private func samples(_ values: Double...) -> Samples {
        var samples = Samples()
        for value in values { samples.add(value) }
        return samples
    }

    private func measurement(_ contender: ContenderKind, _ size: Int, _ cpu: Double?) -> Measurement {
        var measurement = Measurement(contender: contender, datagramSize: size)
        if let cpu { measurement.cpuBatched.add(cpu) }
        return measurement
    }
}
