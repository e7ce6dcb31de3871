import DTLS
import Testing
import Wire

@testable import Tunnel

private struct Part {
    var flow: UInt64 = 1
    var id: UInt64 = 1
    var offset: Int
    var isLast = false
    var bytes: [UInt8]
}

extension Reassembler {
    fileprivate mutating func take(_ part: Part, at seconds: Double = 0) -> Outcome {
        let fragment = SharedFrame.Fragment(datagram: part.id, offset: part.offset, isLast: part.isLast, payload: 0..<0)
        return take(flow: part.flow, fragment: fragment, payload: part.bytes.bytes, now: .at(seconds))
    }

    /// Takes `count` bytes at `offset`.
    fileprivate mutating func take(
        flow: UInt64 = 1, _ id: UInt64, _ offset: Int, _ count: Int, isLast: Bool = false, at seconds: Double = 0
    ) -> Outcome {
        take(
            Part(flow: flow, id: id, offset: offset, isLast: isLast, bytes: [UInt8](repeating: 7, count: count)),
            at: seconds)
    }
}

/// Bytes of which no two places look alike.
private let noise: [UInt8] = {
    var random = SplitMix64(seed: 1)
    return (0..<70_000).map { _ in UInt8(truncatingIfNeeded: random.next()) }
}()

/// A datagram of `count` bytes, another one for another seed.
private func datagram(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
    let start = Int(seed % UInt64(noise.count - count))
    return Array(noise[start..<start + count])
}

/// The datagram in parts of at most `size` bytes.
private func cut(_ datagram: [UInt8], into size: Int, flow: UInt64 = 1, id: UInt64 = 1) -> [Part] {
    stride(from: 0, to: datagram.count, by: size).map { offset in
        let end = min(offset + size, datagram.count)
        return Part(
            flow: flow, id: id, offset: offset, isLast: end == datagram.count, bytes: Array(datagram[offset..<end]))
    }
}

/// All orders of `items`.
private func permutations<Item>(_ items: [Item]) -> [[Item]] {
    guard let first = items.first else { return [[]] }
    return permutations(Array(items.dropFirst())).flatMap { rest in
        (0...rest.count).map { Array(rest[..<$0]) + [first] + rest[$0...] }
    }
}

@Suite struct ReassemblerTests {
    @Test func `fragments in every order make the datagram, with the last one of them and not before`() {
        let whole = datagram(5 * 130 - 60)
        let orders = permutations(cut(whole, into: 130))
        #expect(orders.count == 120)
        var reassembler = Reassembler()
        for (index, order) in orders.enumerated() {
            for (place, part) in order.enumerated() {
                var part = part
                part.id = UInt64(index)
                #expect(reassembler.take(part) == (place == order.count - 1 ? .complete(whole) : .incomplete))
            }
        }
        #expect(reassembler.count == 0 && reassembler.byteCount == 0 && reassembler.deadline == nil)
        #expect(reassembler.takeDiscarded().isEmpty)
    }

    @Test(arguments: [128, 1200, 1373, 16_000, 65_535])
    func `the largest datagrams arrive whole, in order, backwards and shuffled`(size: Int) {
        var reassembler = Reassembler()
        var random = SplitMix64(seed: UInt64(size))
        for (id, count) in [65_507, 65_527, 65_535].enumerated() {
            let whole = datagram(count, seed: UInt64(id))
            let parts = cut(whole, into: size)
            for (turn, order) in [parts, parts.reversed(), parts.shuffled(using: &random)].enumerated() {
                var outcomes: [Reassembler.Outcome] = []
                for var part in order {
                    part.id = UInt64(id * 3 + turn)
                    outcomes.append(reassembler.take(part))
                }
                #expect(outcomes.last == .complete(whole))
                #expect(outcomes.dropLast().allSatisfy { $0 == .incomplete })
            }
        }
        #expect(reassembler.takeDiscarded().isEmpty)
    }

    @Test func `a datagram in one fragment is whole at once`() {
        var reassembler = Reassembler()
        #expect(reassembler.take(1, 0, 1, isLast: true) == .complete([7]))
        #expect(reassembler.take(1, 0, 1, isLast: true) == .discarded(.late))
        #expect(reassembler.takeDiscarded().isEmpty)
    }

    @Test func `an overlap of any kind discards the datagram once, and its other fragments come late`() {
        // In place are 200..<400 and 600..<800.
        let overlaps = [
            (200, 200), (200, 128), (272, 128), (200, 300), (100, 400), (72, 129), (399, 128), (399, 201), (0, 1000),
            (473, 128), (600, 200), (799, 128), (400, 201), (300, 400),
        ]
        for (offset, count) in overlaps {
            for isLast in [false, true] {
                var reassembler = Reassembler()
                #expect(reassembler.take(flow: 9, 1, 200, 200) == .incomplete)
                #expect(reassembler.take(flow: 9, 1, 600, 200) == .incomplete)
                let outcome = reassembler.take(flow: 9, 1, offset, count, isLast: isLast)
                #expect(outcome == .discarded(.contradiction), "\(count) at \(offset)")
                #expect(reassembler.takeDiscarded() == [9])
                #expect(reassembler.take(flow: 9, 1, 0, 200) == .discarded(.late))
                #expect(reassembler.take(flow: 9, 1, 800, 1, isLast: true) == .discarded(.late))
                #expect(reassembler.takeDiscarded().isEmpty)
                #expect(reassembler.count == 0 && reassembler.byteCount == 0)
            }
        }
        var neighbours = Reassembler()
        #expect(neighbours.take(1, 200, 200) == .incomplete)
        #expect(neighbours.take(1, 400, 200) == .incomplete)
        #expect(neighbours.take(1, 600, 1, isLast: true) == .incomplete)
        #expect(neighbours.take(1, 0, 200) == .complete([UInt8](repeating: 7, count: 601)))
    }

    @Test func `fragments that disagree about the end discard the datagram`() {
        let contradictions: [[(Int, Int, Bool)]] = [
            [(128, 10, true), (138, 10, true)],  // Two ends, one behind the other.
            [(128, 10, true), (0, 20, true)],
            [(128, 10, true), (138, 128, false)],  // Something behind the end.
            [(300, 128, false), (128, 10, true)],  // An end in front of something.
            [(128, 128, false), (128, 128, true)],
        ]
        for parts in contradictions {
            var reassembler = Reassembler()
            #expect(reassembler.take(1, parts[0].0, parts[0].1, isLast: parts[0].2) == .incomplete)
            let outcome = reassembler.take(1, parts[1].0, parts[1].1, isLast: parts[1].2)
            #expect(outcome == .discarded(.contradiction))
            #expect(reassembler.takeDiscarded() == [1])
        }
    }

    @Test func `one datagram has one flow; another's fragment ends it, counted for the flow that began it`() {
        var reassembler = Reassembler()
        #expect(reassembler.take(flow: 1, 1, 0, 200) == .incomplete)
        #expect(reassembler.take(flow: 2, 1, 200, 200, isLast: true) == .discarded(.contradiction))
        #expect(reassembler.takeDiscarded() == [1])
    }

    @Test func `what no reader of frames would let through is a contradiction, not a trap`() {
        var id: UInt64 = 0
        for (offset, count, isLast) in [
            (0, 0, true), (0, 0, false), (0, 127, false), (-1, 128, false), (.min, 128, false), (.max, 128, false),
            (.max, 128, true), (65_535, 1, true), (65_408, 128, false), (0, 65_536, true),
        ] {
            var reassembler = Reassembler()
            id += 1
            #expect(reassembler.take(id, offset, count, isLast: isLast) == .discarded(.contradiction))
            #expect(reassembler.takeDiscarded() == [1] && reassembler.byteCount == 0)
        }
    }

    @Test func `a datagram has five seconds from its first fragment on`() {
        var reassembler = Reassembler()
        #expect(reassembler.deadline == nil)
        #expect(reassembler.take(flow: 1, 1, 0, 128, at: 10) == .incomplete)
        #expect(reassembler.take(flow: 2, 2, 0, 128, at: 12) == .incomplete)
        #expect(reassembler.take(flow: 1, 1, 128, 128, at: 14) == .incomplete)
        #expect(reassembler.deadline == .at(15))
        reassembler.handleTimeout(now: .at(14.9))
        #expect(reassembler.count == 2 && reassembler.takeDiscarded().isEmpty)
        reassembler.handleTimeout(now: .at(15))
        #expect(reassembler.count == 1 && reassembler.deadline == .at(17) && reassembler.takeDiscarded() == [1])
        // Late by the clock although no timer has run.
        #expect(reassembler.take(flow: 2, 2, 128, 1, isLast: true, at: 17) == .discarded(.late))
        #expect(reassembler.takeDiscarded() == [2] && reassembler.deadline == nil && reassembler.byteCount == 0)
        #expect(reassembler.take(flow: 1, 1, 256, 1, isLast: true, at: 18) == .discarded(.late))
        #expect(reassembler.takeDiscarded().isEmpty)
    }

    @Test func `of 65 incomplete datagrams the oldest gives way`() {
        var reassembler = Reassembler()
        for id in 1...64 as ClosedRange<UInt64> { #expect(reassembler.take(flow: id, id, 0, 128) == .incomplete) }
        #expect(reassembler.takeDiscarded().isEmpty)
        #expect(reassembler.take(flow: 65, 65, 0, 128) == .incomplete)
        #expect(reassembler.count == 64 && reassembler.takeDiscarded() == [1])
        #expect(reassembler.take(flow: 1, 1, 128, 1, isLast: true) == .discarded(.late))
        // A datagram that is whole at once needs no room.
        #expect(reassembler.take(flow: 66, 66, 0, 1, isLast: true) == .complete([7]))
        #expect(reassembler.count == 64)
        #expect(reassembler.take(flow: 2, 2, 128, 1, isLast: true) == .complete([UInt8](repeating: 7, count: 129)))
    }

    @Test func `bytes are bounded, and the oldest datagrams give way`() {
        var reassembler = Reassembler()
        for id in 1...100 as ClosedRange<UInt64> {
            for offset in stride(from: 0, to: 60_000, by: 12_000) {
                #expect(reassembler.take(flow: id, id, offset, 12_000) == .incomplete)
                #expect(reassembler.byteCount <= Reassembler.maximumBytes)
            }
        }
        #expect(reassembler.count == 8)
        #expect(reassembler.takeDiscarded() == Array(1...92))
        // The newest are still whole with their last fragments.
        #expect(
            reassembler.take(flow: 100, 100, 60_000, 1, isLast: true) == .complete([UInt8](repeating: 7, count: 60_001))
        )
    }

    @Test func `the oldest gives way also when it is the one that grows`() {
        var reassembler = Reassembler()
        for id in 1...8 as ClosedRange<UInt64> {
            for offset in stride(from: 0, to: 64_000, by: 16_000) { _ = reassembler.take(flow: id, id, offset, 16_000) }
        }
        for id in 2...5 as ClosedRange<UInt64> { #expect(reassembler.take(flow: id, id, 64_000, 1_500) == .incomplete) }
        #expect(reassembler.takeDiscarded().isEmpty)
        #expect(reassembler.take(flow: 1, 1, 64_000, 1_500) == .discarded(.limit))
        #expect(reassembler.takeDiscarded() == [1] && reassembler.count == 7)
        #expect(reassembler.take(flow: 1, 1, 65_500, 1, isLast: true) == .discarded(.late))
        #expect(reassembler.byteCount <= Reassembler.maximumBytes && reassembler.takeDiscarded().isEmpty)
    }

    @Test func `far offsets hold no more than their bytes`() {
        var reassembler = Reassembler()
        for id in 1...64 as ClosedRange<UInt64> { #expect(reassembler.take(id, 65_000, 128) == .incomplete) }
        #expect(reassembler.count == 64 && reassembler.byteCount < 64 * 512)
    }

    @Test func `endless fragments of one datagram end where it has the largest size`() {
        var reassembler = Reassembler()
        var kept = 0
        for offset in stride(from: 0, to: 10_000_000, by: 128) {
            switch reassembler.take(1, offset, 128) {
            case .incomplete: kept += 1
            case .discarded(let reason): #expect(reason == (offset == 65_408 ? .contradiction : .late))
            case .complete: Issue.record("no fragment was the last")
            }
        }
        #expect(kept == 511 && reassembler.byteCount == 0 && reassembler.takeDiscarded() == [1])
    }

    @Test func `a flow that has ended takes its datagrams with it, and no others`() {
        var reassembler = Reassembler()
        for id in 1...9 as ClosedRange<UInt64> { _ = reassembler.take(flow: id % 3, id, 0, 128) }
        reassembler.forget(flow: 1)
        #expect(reassembler.count == 6 && reassembler.takeDiscarded() == [1, 1, 1])
        #expect(reassembler.take(flow: 1, 4, 128, 1, isLast: true) == .discarded(.late))
        #expect(reassembler.take(flow: 2, 5, 128, 1, isLast: true) == .complete([UInt8](repeating: 7, count: 129)))
        reassembler.forget(flow: 8)
        #expect(reassembler.count == 5 && reassembler.takeDiscarded().isEmpty)
    }

    @Test func `a datagram far behind the newest ended ones is late, unless it had begun`() {
        var reassembler = Reassembler()
        #expect(reassembler.take(1, 0, 128) == .incomplete)
        #expect(reassembler.take(5_000, 0, 1, isLast: true) == .complete([7]))
        #expect(reassembler.take(2, 0, 128) == .discarded(.late))
        #expect(reassembler.take(5_000 - ReplayWindow.size + 1, 0, 1, isLast: true) == .complete([7]))
        #expect(reassembler.take(1, 128, 1, isLast: true) == .complete([UInt8](repeating: 7, count: 129)))
        #expect(reassembler.take(1, 0, 128) == .discarded(.late))
        #expect(reassembler.take(VariableLengthInteger.maximum, 0, 1, isLast: true) == .complete([7]))
        #expect(reassembler.takeDiscarded().isEmpty)
    }

    @Test func `an association without fragments holds a few words`() {
        #expect(MemoryLayout<Reassembler>.size <= 32)
    }
}

@Suite struct ReassemblerPropertyTests {
    /// A path that loses and reorders the fragments of several flows' datagrams.
    private func run(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let loss = [0, 0, 1, 5, 20][Int.random(in: 0..<5, using: &random)]
        let spread = [1, 4, 100, 4000][Int.random(in: 0..<4, using: &random)]
        var sent: [UInt64: (flow: UInt64, bytes: [UInt8], parts: Int)] = [:]
        var path: [(due: Int, part: Part)] = []
        for id in 0..<40 as Range<UInt64> {
            let flow = UInt64.random(in: 1...5, using: &random)
            let count = Int.random(in: 1...(Bool.random(using: &random) ? 300 : 9_000), using: &random)
            let whole = datagram(count, seed: random.next())
            let parts = cut(whole, into: Int.random(in: 128...2_000, using: &random), flow: flow, id: id)
            sent[id] = (flow, whole, parts.count)
            for part in parts {
                path.append((path.count + Int.random(in: 0..<spread, using: &random), part))
            }
        }
        path.sort { $0.due < $1.due }

        var reassembler = Reassembler()
        var lost: [UInt64: Int] = [:]
        var begun: Set<UInt64> = []
        var completed: Set<UInt64> = []
        var discarded: [UInt64] = []
        for (_, part) in path {
            guard Int.random(in: 0..<100, using: &random) >= loss else {
                lost[part.id, default: 0] += 1
                continue
            }
            begun.insert(part.id)
            let outcome = reassembler.take(part)
            discarded += reassembler.takeDiscarded()
            if case .complete(let bytes) = outcome {
                #expect(bytes == sent[part.id]?.bytes, "seed \(seed)")
                #expect(completed.insert(part.id).inserted && lost[part.id] == nil, "seed \(seed)")
            }
            #expect(outcome != .discarded(.contradiction), "seed \(seed)")
        }
        reassembler.handleTimeout(now: .at(5))
        discarded += reassembler.takeDiscarded()
        // Nothing was crowded out: 40 datagrams of 9,000 bytes are within the bounds.
        #expect(completed == Set(sent.keys).subtracting(lost.keys), "seed \(seed)")
        let incomplete = begun.subtracting(completed).compactMap { sent[$0]?.flow }
        #expect(discarded.sorted() == incomplete.sorted(), "seed \(seed)")
        #expect(reassembler.count == 0 && reassembler.byteCount == 0, "seed \(seed)")
    }

    @Test func `over 500 lossy paths every datagram arrives whole or is counted once for its flow`() {
        for seed in 1...500 as ClosedRange<UInt64> { run(seed: seed) }
    }

    @Test func `whatever a peer sends, the bounds hold and every datagram ends once`() {
        for seed in 1...100 as ClosedRange<UInt64> {
            var random = SplitMix64(seed: seed)
            var reassembler = Reassembler()
            var begun: Set<UInt64> = []
            var ends = 0
            var seconds = 0.0
            for _ in 0..<400 {
                let part = Part(
                    flow: .random(in: 1...3, using: &random), id: .random(in: 0...200, using: &random),
                    offset: [0, 128, 256, 1_000, 30_000, 65_000, 65_535, .max, -1].randomElement(using: &random) ?? 0,
                    isLast: Int.random(in: 0..<20, using: &random) == 0,
                    bytes: [UInt8](
                        repeating: 1, count: [0, 1, 128, 256, 16_000, 40_000].randomElement(using: &random) ?? 0))
                seconds += Double.random(in: 0...0.05, using: &random)
                let outcome = reassembler.take(part, at: seconds)
                if outcome != .discarded(.late) { begun.insert(part.id) }
                if case .complete = outcome { ends += 1 }
                ends += reassembler.takeDiscarded().count
                #expect(reassembler.byteCount <= Reassembler.maximumBytes && reassembler.count <= 64)
                #expect(ends + reassembler.count == begun.count)
                #expect((reassembler.deadline != nil) == (reassembler.count > 0))
                #expect(reassembler.deadline.map { $0 > .at(seconds) } ?? true)
            }
        }
    }
}
