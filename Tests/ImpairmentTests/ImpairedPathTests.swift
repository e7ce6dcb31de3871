// The model of a bad path: each effect on its own, what it must never do, and shares over many datagrams with fixed
// seeds, so that no run differs from another.

import Impairment
import Testing

private let millisecond: Int64 = 1_000_000

/// A datagram of `size` bytes that begins with `number`.
private func datagram(_ number: Int, size: Int = 100) -> [UInt8] {
    [UInt8(number >> 16 & 255), UInt8(number >> 8 & 255), UInt8(number & 255)] + Array(repeating: 0x5a, count: size - 3)
}

private func number(_ datagram: [UInt8]) -> Int {
    Int(datagram[0]) << 16 | Int(datagram[1]) << 8 | Int(datagram[2])
}

/// Sends `count` datagrams, one every `interval`, and collects all that arrives with its time.
private func run(
    _ path: inout ImpairedPath, count: Int, interval: Int64 = millisecond, size: Int = 100
) -> [(time: Int64, datagram: [UInt8])] {
    var arrived: [(time: Int64, datagram: [UInt8])] = []
    func drain(_ path: inout ImpairedPath, until end: Int64) {
        while let time = path.nextDeparture, time <= end {
            arrived += path.takeDeparted(at: time).map { (time, $0) }
        }
    }
    for index in 0..<count {
        drain(&path, until: Int64(index) * interval)
        path.submit(datagram(index, size: size), at: Int64(index) * interval)
    }
    drain(&path, until: .max)
    return arrived
}

@Suite struct ImpairedPathTests {
    @Test func `a path without impairments hands everything on at once, unchanged and in order`() {
        var path = ImpairedPath(Impairment(), seed: 1)
        let arrived = run(&path, count: 500)
        #expect(arrived.map { number($0.datagram) } == Array(0..<500))
        #expect(arrived.allSatisfy { $0.datagram == datagram(number($0.datagram)) })
        #expect(arrived.allSatisfy { $0.time == Int64(number($0.datagram)) * millisecond })
        #expect(path.counters.submitted == 500 && path.counters.delivered == 500 && path.count == 0)
    }

    @Test func `the same seed and input give the same output and another seed gives another`() {
        let impairment = Impairment(
            drop: 0.1, bursts: BurstLoss(begin: 0.02, end: 0.3), delay: .milliseconds(20), jitter: .milliseconds(5),
            duplicate: 0.1, reorder: 0.1, corrupt: 0.1, rate: 2_000_000, mtu: 1280)
        func outcome(seed: UInt64) -> ([Int64], [[UInt8]], ImpairmentCounters) {
            var path = ImpairedPath(impairment, seed: seed)
            let arrived = run(&path, count: 2000)
            return (arrived.map(\.time), arrived.map(\.datagram), path.counters)
        }
        #expect(outcome(seed: 7) == outcome(seed: 7))
        #expect(outcome(seed: 7) != outcome(seed: 8))
    }

    @Test func `the numbers of a seed are those of the published algorithm`() {
        var generator = SeededGenerator(seed: 1_234_567)
        #expect(generator.next() == 6_457_827_717_110_365_317)
        #expect(generator.next() == 3_203_168_211_198_807_973)
    }

    @Test(arguments: [0.01, 0.1, 0.2, 0.5])
    func `the share of lost datagrams is the probability that was asked for`(probability: Double) {
        var path = ImpairedPath(Impairment(drop: probability), seed: 42)
        let arrived = run(&path, count: 20_000)
        let lost = Double(20_000 - arrived.count) / 20_000
        #expect(abs(lost - probability) < 0.012)
        #expect(path.counters.dropped == 20_000 - arrived.count)
    }

    @Test func `drop loses the same datagrams with and without other effects`() {
        var plain = ImpairedPath(Impairment(drop: 0.3), seed: 5)
        var jittery = ImpairedPath(
            Impairment(drop: 0.3, delay: .milliseconds(50), jitter: .milliseconds(40), reorder: 0.2), seed: 5)
        let expected = run(&plain, count: 1000).map { number($0.datagram) }
        #expect(run(&jittery, count: 1000).map { number($0.datagram) }.sorted() == expected)
    }

    @Test func `bursts lose runs of datagrams at the share and length of the model`() {
        var path = ImpairedPath(Impairment(bursts: BurstLoss(begin: 0.02, end: 0.2)), seed: 3)
        let arrived = Set(run(&path, count: 50_000).map { number($0.datagram) })
        let lost = (0..<50_000).filter { !arrived.contains($0) }
        let bursts = lost.filter { $0 == 0 || arrived.contains($0 - 1) }.count
        #expect(abs(Double(lost.count) / 50_000 - 0.02 / 0.22) < 0.01)
        #expect(abs(Double(lost.count) / Double(bursts) - 5) < 0.5)
        #expect(path.counters.droppedInBurst == lost.count && path.counters.dropped == 0)
    }

    @Test func `delay with jitter stays within its bounds and keeps the order`() {
        var path = ImpairedPath(Impairment(delay: .milliseconds(30), jitter: .milliseconds(10)), seed: 9)
        let arrived = run(&path, count: 5000, interval: 50 * millisecond)
        let delays = arrived.map { $0.time - Int64(number($0.datagram)) * 50 * millisecond }
        #expect(delays.allSatisfy { (20 * millisecond...40 * millisecond).contains($0) })
        #expect(abs(delays.reduce(0, +) / 5000 - 30 * millisecond) < millisecond / 2)
        var dense = ImpairedPath(Impairment(delay: .milliseconds(30), jitter: .milliseconds(10)), seed: 9)
        #expect(run(&dense, count: 2000, interval: 1000).map { number($0.datagram) } == Array(0..<2000))
    }

    @Test func `nothing leaves before its time and nextDeparture tells when it does`() {
        var path = ImpairedPath(Impairment(delay: .milliseconds(30)), seed: 1)
        #expect(path.nextDeparture == nil)
        path.submit([1], tag: 4, at: 100)
        #expect(path.nextDeparture == 30 * millisecond + 100)
        #expect(path.takeNext(at: 30 * millisecond + 99) == nil)
        let departure = path.takeNext(at: 30 * millisecond + 100)
        #expect(departure?.datagram == [1] && departure?.tag == 4)
        #expect(path.nextDeparture == nil)
    }

    @Test func `duplicates are exact copies at the share that was asked for`() {
        var path = ImpairedPath(Impairment(duplicate: 0.05), seed: 11)
        let arrived = run(&path, count: 20_000)
        #expect(arrived.count == 20_000 + path.counters.duplicated)
        #expect(abs(path.counters.duplicated - 1000) < 120)
        #expect(arrived.allSatisfy { $0.datagram == datagram(number($0.datagram)) })
    }

    @Test func `a reordered datagram is overtaken and every other keeps its place`() {
        var path = ImpairedPath(Impairment(reorder: 0.1, reorderDelay: .milliseconds(5)), seed: 13)
        let arrived = run(&path, count: 5000)
        let late = arrived.filter { $0.time != Int64(number($0.datagram)) * millisecond }
        #expect(late.count == path.counters.reordered && abs(late.count - 500) < 80)
        #expect(late.allSatisfy { $0.time == Int64(number($0.datagram) + 5) * millisecond })
        let lateNumbers = Set(late.map { number($0.datagram) })
        let inPlace = arrived.map { number($0.datagram) }.filter { !lateNumbers.contains($0) }
        #expect(inPlace == inPlace.sorted() && arrived.count == 5000)
    }

    @Test func `corruption flips between one bit and the limit and keeps the size`() {
        var path = ImpairedPath(Impairment(corrupt: 0.5, corruptBits: 4), seed: 17)
        var flips: [Int: Int] = [:]
        for _ in 0..<4000 {
            path.submit(datagram(0), at: 0)
            guard let arrived = path.takeNext(at: 0)?.datagram, arrived.count == 100 else {
                Issue.record("a corrupted datagram was lost or changed its size")
                return
            }
            flips[zip(arrived, datagram(0)).map { ($0 ^ $1).nonzeroBitCount }.reduce(0, +), default: 0] += 1
        }
        #expect(Set(flips.keys) == [0, 1, 2, 3, 4])
        #expect(abs(path.counters.corrupted - 2000) < 130)
        #expect(flips[0] == 4000 - path.counters.corrupted)
    }

    @Test func `an empty datagram and a corruption of every bit are harmless`() {
        var path = ImpairedPath(Impairment(corrupt: 1, corruptBits: .max), seed: 1)
        path.submit([], at: 0)
        path.submit([0], at: 0)
        let arrived = path.takeDeparted(at: 0)
        #expect(arrived.count == 2 && arrived[0].isEmpty && arrived[1] != [0])
    }

    @Test func `the MTU counts the IP packet`() {
        for (headerSize, fits) in [(28, 1252), (48, 1232)] {
            var path = ImpairedPath(Impairment(mtu: 1280, headerSize: headerSize), seed: 1)
            path.submit(datagram(1, size: fits), at: 0)
            path.submit(datagram(2, size: fits + 1), at: 0)
            #expect(path.takeDeparted(at: 0).map(number) == [1])
            #expect(path.counters.droppedOverMTU == 1)
        }
    }

    @Test func `a rate limit spaces packets out and drops what the queue cannot hold`() {
        // 1000-byte packets at 8 Mbit/s take 1 ms each.
        let impairment = Impairment(rate: 8_000_000, queueLimit: 10_000)
        var path = ImpairedPath(impairment, seed: 1)
        for index in 0..<50 { path.submit(datagram(index, size: 972), at: 0) }
        #expect(path.counters.droppedQueueFull == 40)
        var times: [Int64] = []
        while let time = path.nextDeparture {
            times.append(time)
            #expect(path.takeNext(at: time) != nil)
        }
        #expect(times == (1...10).map { Int64($0) * millisecond })
        var slow = ImpairedPath(impairment, seed: 1)
        #expect(run(&slow, count: 1000, interval: 2 * millisecond, size: 972).count == 1000)
        var fast = ImpairedPath(impairment, seed: 1)
        #expect(abs(run(&fast, count: 1000, interval: millisecond / 2, size: 972).count - 505) <= 10)
    }

    @Test func `what is on its way is bounded`() {
        var path = ImpairedPath(Impairment(delay: .seconds(1)), seed: 1)
        for _ in 0..<ImpairedPath.capacity + 10 { path.submit([], at: 0) }
        #expect(path.count == ImpairedPath.capacity && path.counters.droppedQueueFull == 10)
    }

    @Test func `senseless settings and times never trap`() {
        let extremes: [Double] = [-1, 2, .nan, .infinity, -.infinity]
        let durations: [Duration] = [.seconds(Int64.max), .seconds(Int64.min), .zero, .nanoseconds(-5)]
        for probability in extremes {
            for duration in durations {
                for size in [Int.min, -1, 0, Int.max] {
                    let impairment = Impairment(
                        drop: probability == 2 ? 0 : probability, bursts: BurstLoss(begin: probability, end: .nan),
                        delay: duration, jitter: duration, duplicate: probability, reorder: probability,
                        reorderDelay: duration, corrupt: probability, corruptBits: size, rate: size, queueLimit: size,
                        mtu: size == Int.min ? nil : size, headerSize: size)
                    var path = ImpairedPath(impairment, seed: .max)
                    for now in [Int64.min, 0, .max, 5] {
                        path.submit([1, 2, 3], at: now)
                        _ = path.takeDeparted(at: now)
                    }
                    #expect(path.takeDeparted(at: .max).count <= 8)
                }
            }
        }
    }
}
