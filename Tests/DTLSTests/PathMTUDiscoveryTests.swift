import Settings
import Testing
import Wire

@testable import DTLS

/// A discovery on a simulated path.
private final class Walk {
    var discovery: PathMTUDiscovery
    var now = Instant.at(0)
    /// The largest packet that the path carries.
    var carries: Int
    /// The largest packet that the interface takes.
    var interface = 65_535
    /// Probability that a probe or its answer gets lost by chance.
    var loss = 0.0
    var random = SeededRandom(seed: 99)
    /// Every size that was tried.
    var tried: [Int] = []
    var changes = 0

    init(
        carries: Int, _ settings: PathMTUSettings = PathMTUSettings(), headers: Int = 28, isProbing: Bool = true,
        loss: Double = 0, seed: UInt64 = 99
    ) {
        self.carries = carries
        self.loss = loss
        random = SeededRandom(seed: seed)
        discovery = PathMTUDiscovery(
            PathSettings(pathMTU: settings), headers: headers, isProbing: isProbing, now: .at(0))
    }

    /// Lets time pass. A round trip takes 40 ms, a loss is noticed after 250.
    func run(for seconds: Double, usedSize: Int? = nil) {
        let end = now + .milliseconds(Int64(seconds * 1000))
        var idleSteps = 0
        while true {
            if let usedSize { _ = discovery.used(usedSize) }
            guard let due = discovery.deadline, due <= end else { break }
            now = max(now, due)
            guard let size = discovery.probe(now: now) else {
                idleSteps += 1
                guard idleSteps < 3 else {
                    Issue.record("a timer is due and nothing is done in state \(discovery.state)")
                    return
                }
                continue
            }
            idleSteps = 0
            tried.append(size)
            #expect(probe(at: now) == nil && discovery.deadline == nil, "two probes at once")
            let before = (discovery.current, discovery.state)
            let isTold: Bool
            if size > interface {
                isTold = discovery.handleRefusal(size, now: now)
            } else if size > carries || Double.random(in: 0..<1, using: &random) < loss {
                now = now + .milliseconds(250)
                isTold = discovery.handleLoss(size, now: now)
            } else {
                now = now + .milliseconds(40)
                isTold = discovery.handleAnswer(size, now: now)
            }
            #expect(isTold == (before != (discovery.current, discovery.state)))
            if isTold { changes += 1 }
        }
        now = max(now, end)
    }

    func probe(at time: Instant) -> Int? { discovery.probe(now: time) }

    func answer(_ size: Int, at time: Instant) -> Bool { discovery.handleAnswer(size, now: time) }

    func loss(_ size: Int, at time: Instant) -> Bool { discovery.handleLoss(size, now: time) }

    func refusal(_ size: Int, at time: Instant) -> Bool { discovery.handleRefusal(size, now: time) }

    func hint(_ size: Int, at time: Instant) -> Bool { discovery.handleHint(size, now: time) }

    /// Whether the size is as exact as promised.
    var isExact: Bool {
        discovery.current <= carries && carries - discovery.current < PathMTUDiscovery.step
    }
}

@Suite struct PathMTUDiscoveryTests {
    @Test(arguments: [28, 48], [(576, 1500), (296, 1500), (1280, 1500), (576, 1400), (576, 576), (1400, 1407)])
    func `every path MTU is found to within the step, with a bounded number of probes`(
        headers: Int, bounds: (minimum: Int, maximum: Int)
    ) {
        let settings = PathMTUSettings(minimum: bounds.minimum, maximum: bounds.maximum)
        for carries in bounds.minimum...bounds.maximum {
            let walk = Walk(carries: carries, settings, headers: headers)
            walk.run(for: 30)
            guard walk.discovery.state == .complete, walk.isExact, walk.tried.count <= 36 else {
                Issue.record(
                    "\(carries): \(walk.discovery.current) \(walk.discovery.state) after \(walk.tried.count) probes")
                return
            }
            #expect(walk.discovery.probes == UInt64(walk.tried.count))
            #expect(walk.tried.allSatisfy { $0 >= bounds.minimum && $0 <= bounds.maximum })
            if carries == bounds.maximum { #expect(walk.tried.count <= 3) }
        }
    }

    @Test func `large frames are found too`() {
        let settings = PathMTUSettings(minimum: 576, maximum: 9000)
        for carries in stride(from: 576, through: 9000, by: 13) {
            let walk = Walk(carries: carries, settings)
            walk.run(for: 60)
            #expect(walk.discovery.state == .complete && walk.isExact && walk.tried.count <= 50, "\(carries)")
        }
    }

    @Test(arguments: [0.02, 0.1, 0.3, 0.5])
    func `chance losses never make it claim too much, and the periodic search repairs what they cost`(loss: Double) {
        var exact = 0
        var walks = 0
        for carries in stride(from: 576, through: 1500, by: 11) {
            let walk = Walk(carries: carries, loss: loss, seed: UInt64(carries) * 77)
            for _ in 1...6 {
                walk.run(for: 620)
                walks += 1
                if walk.isExact { exact += 1 }
                #expect(walk.discovery.current <= max(walk.carries, 576) && walk.discovery.current >= 576)
            }
        }
        // Three losses in a row refuse a size: at 10 % a chance of 1 in 1000 for each of some seven sizes.
        let expected = 1 - 12 * loss * loss * loss
        #expect(Double(exact) >= expected * Double(walks), "\(exact) of \(walks)")
    }

    @Test func `a path that shrinks is noticed while it is in use, and searched again from the base`() {
        for carries in [1499, 1400, 1300, 1280, 1229, 1228, 1227, 1000, 576] {
            let walk = Walk(carries: 1500)
            walk.run(for: 10, usedSize: 1400)
            #expect(walk.discovery.current == 1500 && walk.discovery.state == .complete)
            walk.carries = carries
            walk.run(for: 7, usedSize: 1400)
            #expect(walk.discovery.current <= 1499)
            walk.run(for: 15, usedSize: 1400)
            #expect(walk.isExact && walk.discovery.state == .complete, "\(carries): \(walk.discovery.current)")
            // And when the path recovers, the periodic search finds it.
            walk.carries = 1500
            walk.run(for: 620, usedSize: 1400)
            #expect(walk.discovery.current == 1500, "after \(carries)")
        }
    }

    @Test func `nothing is confirmed while nothing larger than the minimum is sent`() {
        let walk = Walk(carries: 1500)
        walk.run(for: 1)
        let count = walk.tried.count
        walk.run(for: 590, usedSize: 576)
        #expect(walk.tried.count == count)
        walk.run(for: 5, usedSize: 577)
        #expect(walk.tried.count > count)
        // Once in five seconds, however much is sent.
        let before = walk.tried.count
        walk.run(for: 0.001)
        for _ in 0..<1000 {
            _ = walk.discovery.used(1500)
            walk.run(for: 0.1)
        }
        #expect(walk.tried.count - before <= 100 / 5 + 5)
    }

    @Test func `one or two lost confirmations change nothing`() {
        let walk = Walk(carries: 1500)
        walk.run(for: 1)
        _ = walk.discovery.used(1500)
        walk.now = walk.now + .seconds(10)
        for isLast in [false, false, true] {
            #expect(walk.probe(at: walk.now) == 1500)
            if isLast {
                #expect(!walk.answer(1500, at: walk.now))
            } else {
                #expect(!walk.loss(1500, at: walk.now))
            }
        }
        #expect(walk.discovery.current == 1500 && walk.discovery.state == .complete)
        #expect(walk.probe(at: walk.now) == nil)
    }

    @Test func `where not even the base gets through the minimum has to do, and more is found from there`() {
        for carries in [576, 577, 600, 1000, 1200, 1227] {
            let walk = Walk(carries: carries)
            walk.run(for: 20)
            #expect(walk.isExact && walk.discovery.state == .complete)
            #expect(walk.tried.first == 1228)
        }
    }

    @Test func `a path that carries less than the minimum is an error, with a pause between searches`() {
        let walk = Walk(carries: 500)
        walk.run(for: 30, usedSize: 600)
        #expect(walk.discovery.current == 576 && walk.discovery.state == .error)
        // A search from the minimum takes less than 40 probes; one follows each pause of a minute.
        let before = walk.tried.count
        walk.run(for: 3600, usedSize: 600)
        #expect(walk.discovery.current == 576)
        #expect(walk.tried.count - before <= 60 * 40)
        #expect(walk.tried.allSatisfy { $0 >= 576 })
        walk.carries = 1500
        walk.run(for: 70, usedSize: 600)
        #expect(walk.discovery.current == 1500 && walk.discovery.state == .complete)
    }

    @Test func `in the error state there is a time to wait, even while large datagrams are sent`() {
        let walk = Walk(carries: 500)
        var now = Instant.at(0)
        while walk.discovery.state != .error, now < .at(60) {
            _ = walk.discovery.used(1200)
            now = max(now, walk.discovery.deadline ?? now)
            if let size = walk.probe(at: now) { _ = walk.loss(size, at: now) }
        }
        #expect(walk.discovery.state == .error)
        _ = walk.discovery.used(1200)
        #expect(walk.discovery.deadline == now + .seconds(60))
        #expect(walk.probe(at: now + .seconds(59)) == nil)
        #expect(walk.probe(at: now + .seconds(60)) == 1500)
    }

    @Test func `a lower hint is taken at once and confirmed, a forged one is undone within minutes`() {
        let walk = Walk(carries: 1500)
        walk.run(for: 1)
        #expect(walk.hint(1400, at: walk.now))
        #expect(walk.discovery.current == 1400 && walk.discovery.state == .complete)
        walk.run(for: 59, usedSize: 1400)
        #expect(walk.discovery.current == 1400 && walk.tried.contains(1400))
        walk.run(for: 10, usedSize: 1400)
        #expect(walk.discovery.current == 1500)
    }

    @Test func `a true hint is the size in use until more gets through`() {
        let walk = Walk(carries: 1500)
        walk.run(for: 1)
        walk.carries = 1400
        _ = walk.hint(1400, at: walk.now)
        for _ in 1...20 {
            walk.run(for: 60, usedSize: 1400)
            #expect(walk.discovery.current == 1400)
        }
        walk.carries = 1500
        walk.run(for: 700, usedSize: 1400)
        #expect(walk.discovery.current == 1500)
    }

    @Test func `a hint above what is proven proves nothing, one below the minimum is not heard`() {
        let walk = Walk(carries: 1300)
        walk.run(for: 20)
        let found = walk.discovery.current
        for size in [found, found + 1, 1400, 1500, 9000, 65_535, .max, 575, 68, 0, -1, .min] {
            #expect(!walk.hint(size, at: walk.now))
            #expect(walk.discovery.current == found && walk.discovery.state == .complete)
        }
        walk.run(for: 3000)
        #expect(walk.isExact)
    }

    @Test func `hints at any time, however many and however wrong, never lead out of the bounds`() {
        for seed in 1...300 as ClosedRange<UInt64> {
            var random = SeededRandom(seed: seed &* 0x9e37_79b9)
            let walk = Walk(carries: Int.random(in: 576...1500, using: &random), loss: 0.05, seed: seed)
            for _ in 0..<40 {
                walk.run(for: Double.random(in: 0...3, using: &random), usedSize: Bool.random() ? 1400 : nil)
                for _ in 0..<3 {
                    _ = walk.hint(Int.random(in: 0...2000, using: &random), at: walk.now)
                }
                #expect((576...1500).contains(walk.discovery.current))
            }
            walk.loss = 0
            walk.run(for: 1300, usedSize: 1400)
            #expect(walk.isExact && walk.discovery.state == .complete, "seed \(seed)")
        }
    }

    @Test func `a hint in the midst of a search is tried next, and has all its attempts`() {
        let walk = Walk(carries: 1404)
        let now = Instant.at(1)
        #expect(walk.probe(at: now) == 1228)
        _ = walk.answer(1228, at: now)
        for _ in 1...2 {
            #expect(walk.probe(at: now) == 1500)
            _ = walk.loss(1500, at: now)
        }
        #expect(walk.probe(at: now) == 1500)
        #expect(!walk.hint(1404, at: now))
        _ = walk.loss(1500, at: now)
        for _ in 1...2 {
            // Chance losses are no refusal.
            #expect(walk.probe(at: now) == 1404)
            _ = walk.loss(1404, at: now)
        }
        #expect(walk.probe(at: now) == 1404)
        _ = walk.answer(1404, at: now)
        #expect(walk.discovery.current == 1404 && walk.discovery.state == .complete)
    }

    @Test func `a refusal of the interface takes no second try`() {
        for interface in [1499, 1400, 1280, 1000, 600] {
            let walk = Walk(carries: 65_535)
            walk.interface = interface
            walk.run(for: 5)
            #expect(walk.discovery.current <= interface && interface - walk.discovery.current < 8)
            #expect(Set(walk.tried).count == walk.tried.count)
        }
    }

    @Test func `answers and losses of other sizes than the one under way change nothing`() {
        let walk = Walk(carries: 1500)
        for size in [0, 1227, 1229, 1500, 65_535] {
            #expect(!walk.answer(size, at: .at(1)))
            #expect(!walk.loss(size, at: .at(1)) && !walk.refusal(size, at: .at(1)))
        }
        #expect(walk.probe(at: .at(1)) == 1228)
        #expect(!walk.answer(1500, at: .at(1)))
        #expect(walk.discovery.current == 1228 && walk.discovery.state == .base)
    }

    @Test func `larger sizes are looked for again after each interval`() {
        let walk = Walk(carries: 1400)
        walk.run(for: 30)
        #expect(walk.isExact)
        let count = walk.tried.count
        walk.run(for: 560)
        #expect(walk.tried.count == count)
        walk.carries = 1500
        walk.run(for: 30)
        #expect(walk.discovery.current == 1500)
        let quick = Walk(carries: 1400, PathMTUSettings(interval: .seconds(1)))
        quick.run(for: 100)
        #expect(quick.isExact)
    }

    @Test func `where the peer takes no requests, or discovery is off, only the interface's word counts`() {
        for (isProbing, discover) in [(false, true), (true, false), (false, false)] {
            let walk = Walk(carries: 1500, PathMTUSettings(discover: discover), isProbing: isProbing)
            #expect(walk.discovery.state == .disabled && walk.discovery.current == 1500)
            walk.run(for: 1e6, usedSize: 1500)
            #expect(walk.tried.isEmpty && walk.discovery.deadline == nil && walk.probe(at: .at(9)) == nil)
            #expect(walk.hint(1400, at: .at(9)))
            #expect(walk.discovery.current == 1400 && walk.discovery.state == .disabled)
            #expect(!walk.hint(100, at: .at(9)) && !walk.hint(1500, at: .at(9)))
        }
    }

    @Test func `settings are brought within what is possible`() {
        for (minimum, maximum) in [(0, 0), (-1, .max), (70_000, 10), (1500, 576), (.min, .min)] {
            let settings = PathMTUSettings(minimum: minimum, maximum: maximum)
            #expect((296...65_535).contains(settings.minimum))
            #expect((settings.minimum...65_535).contains(settings.maximum))
            let walk = Walk(carries: settings.maximum, settings)
            walk.run(for: 30)
            #expect(walk.discovery.current == settings.maximum)
        }
    }
}
