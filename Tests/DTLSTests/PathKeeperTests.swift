import Settings
import Testing
import Wire

@testable import DTLS

/// A keeper of one end, on a path to a peer that answers small and large requests after a round trip.
private final class Keeping {
    var keeper: PathKeeper
    var now = Instant.at(0)
    var roundTrip: Duration
    /// The largest packet that the path carries; nil where the peer is dead.
    var carries: Int?
    var packets: [Int] = []
    var changes: [Int?] = []
    var roundTrips: [Duration] = []
    var pings: [Duration?] = []
    var isDead = false
    private var answers: [(at: Instant, content: [UInt8])] = []
    private var random = SeededRandom(seed: 5)

    static let headers = 28
    static let overhead = 37

    init(
        _ settings: PathSettings = PathSettings(), carries: Int? = 1500, roundTrip: Duration = .milliseconds(40),
        mode: HeartbeatMode? = .peerAllowedToSend
    ) {
        self.carries = carries
        self.roundTrip = roundTrip
        keeper = PathKeeper(
            settings, headers: Self.headers, overhead: Self.overhead, peerMode: mode, seed: 3, now: .at(0))
    }

    func receive(_ content: [UInt8]) -> [PathKeeper.Action]? { keeper.receive(content.bytes, now: now) }

    func refuse() -> [PathKeeper.Action]? { keeper.handleRefusal(now: now) }

    func run(for duration: Duration, whileUsing size: Int? = nil) {
        let end = now + duration
        var steps = 0
        while !isDead {
            if let size { _ = keeper.sent(size) }
            let timer = keeper.deadline ?? .at(1e9)
            let next = min(timer, answers.first?.at ?? .at(1e9))
            guard next <= end else { break }
            steps = next > now ? 0 : steps + 1
            guard steps < 100 else {
                Issue.record("time stands still at \(now)")
                return
            }
            now = max(now, next)
            if let answer = answers.first, answer.at <= now {
                answers.removeFirst()
                keeper.heard(now)
                follow(receive(answer.content) ?? [])
            } else {
                follow(keeper.handleTimeout(now: now))
            }
        }
        now = max(now, end)
    }

    func follow(_ actions: [PathKeeper.Action]) {
        for action in actions {
            switch action {
            case .dead: isDead = true
            case .roundTrip(let duration): roundTrips.append(duration)
            case .pinged(let duration): pings.append(duration)
            case .pathMTUChanged(let before): changes.append(before)
            case .send(let content, let mayFragment):
                let packet = content.count + Self.overhead + Self.headers
                packets.append(packet)
                #expect(!mayFragment)
                guard let carries, packet <= carries, let message = HeartbeatMessage(content.bytes) else { continue }
                let payload = Array(content[message.payload])
                guard let answer = HeartbeatMessage.bytes(.response, payload: payload.bytes, random: &random) else {
                    continue
                }
                #expect(answer.count == 35)
                answers.append((now + roundTrip, answer))
            }
        }
    }
}

@Suite struct PathKeeperTests {
    @Test func `a probe fills exactly the packet whose size is in question, and what is found is told once`() {
        let keeping = Keeping(carries: 1404)
        keeping.run(for: .seconds(9))
        #expect(keeping.packets.first == 1228 && keeping.packets.contains(1500))
        #expect(keeping.keeper.pathMTU.state == .complete && keeping.keeper.isSettled)
        #expect((1397...1404).contains(keeping.keeper.pathMTU.current))
        #expect(keeping.keeper.maximumDatagram == keeping.keeper.pathMTU.current - 28 - 37)
        #expect(keeping.changes == [nil])
        keeping.carries = 1300
        keeping.run(for: .seconds(30), whileUsing: 1300)
        // First the fall, which is told at once, then what has been found instead.
        #expect(keeping.changes.count == 3)
        #expect((1293...1300).contains(keeping.keeper.pathMTU.current))
    }

    @Test func `no size is claimed that a heartbeat cannot fill`() {
        // A heartbeat has at most 2^14 bytes: a smaller one that is answered proves nothing about 65535.
        let keeping = Keeping(PathSettings(pathMTU: PathMTUSettings(maximum: 65_535)), carries: 2000)
        keeping.run(for: .seconds(60))
        #expect((1993...2000).contains(keeping.keeper.pathMTU.current))
        let large = Keeping(PathSettings(pathMTU: PathMTUSettings(maximum: 65_535)), carries: 65_535)
        large.run(for: .seconds(60))
        #expect(large.keeper.pathMTU.current == large.packets.max())
        #expect(large.keeper.maximumDatagram == 16_384)
    }

    @Test(arguments: [1, 40, 130, 200, 400, 490, 700], [nil, 1400] as [Int?])
    func `a dead peer is noticed within 25 seconds, whatever was being probed`(roundTrip: Int, usedSize: Int?) {
        // Probes of a dead path must not keep the requests for life waiting.
        for moment in stride(from: 300, through: 30_000, by: 270) {
            let keeping = Keeping(roundTrip: .milliseconds(roundTrip))
            keeping.run(for: .milliseconds(moment), whileUsing: usedSize)
            keeping.carries = nil
            let diedAt = keeping.now
            var waited = Duration.zero
            while !keeping.isDead, waited < .seconds(120) {
                keeping.run(for: .milliseconds(100), whileUsing: usedSize)
                waited = keeping.now - diedAt
            }
            // What was under way when it died still counts as life.
            guard waited <= .seconds(25) + .milliseconds(roundTrip + 100) else {
                Issue.record("noticed \(waited) after it died at \(moment) ms")
                return
            }
        }
    }

    @Test func `short intervals leave room for probes on a long path`() {
        let settings = PathSettings(heartbeat: HeartbeatSettings(interval: .milliseconds(100)))
        let keeping = Keeping(settings, roundTrip: .milliseconds(400))
        keeping.run(for: .seconds(60))
        #expect(!keeping.isDead && keeping.keeper.pathMTU.current == 1500)
        #expect(keeping.keeper.pathMTU.state == .complete)
    }

    @Test func `requests are answered with their payload and padding of our own`() throws {
        let keeping = Keeping()
        var random = SeededRandom(seed: 8)
        for payloadSize in [0, 1, 16, 17, 1000, 16_365] {
            keeping.now = keeping.now + .seconds(1)
            let payload = (0..<payloadSize).map { _ in UInt8.random(in: 0...255, using: &random) }
            let size = min(payloadSize + 100, 16_384)
            let request = try #require(
                HeartbeatMessage.bytes(.request, payload: payload.bytes, size: size, random: &random))
            let actions = try #require(keeping.receive(request))
            guard case .send(let answer, let mayFragment)? = actions.first, actions.count == 1 else {
                Issue.record("\(actions)")
                return
            }
            // The smallest path carries 576 bytes: what is no larger has no need to be cut.
            #expect(mayFragment == (payloadSize >= 1000))
            #expect(answer.count == payloadSize + 19 && answer[0] == 2)
            #expect(answer[3..<3 + payloadSize].elementsEqual(payload))
            #expect(!answer.suffix(16).elementsEqual(request.suffix(16)))
        }
        #expect(keeping.keeper.heartbeat?.answers == 6)
    }

    @Test func `answers that nobody asked for, and messages that do not fit, are nothing`() {
        let keeping = Keeping()
        var random = SeededRandom(seed: 8)
        for content in [
            [], [1], [1, 0x40, 0], [3, 0, 0] + [UInt8](repeating: 0, count: 16),
            [1, 0, 17] + [UInt8](repeating: 0, count: 32),
        ] {
            #expect(keeping.receive(content) == nil)
        }
        let response =
            HeartbeatMessage.bytes(
                .response, payload: HeartbeatMonitor.payload(0).bytes, random: &random) ?? []
        #expect(keeping.receive(response) == nil)
    }

    @Test(arguments: [nil, .peerNotAllowedToSend] as [HeartbeatMode?])
    func `a peer that takes no requests gets none, and has no timer`(mode: HeartbeatMode?) {
        let keeping = Keeping(mode: mode)
        #expect(keeping.keeper.deadline == nil && keeping.keeper.pathMTU.state == .disabled)
        keeping.run(for: .seconds(100_000), whileUsing: 1500)
        #expect(keeping.packets.isEmpty && keeping.keeper.handleTimeout(now: keeping.now) == [])
        keeping.follow(keeping.keeper.handleHint(1400, now: keeping.now))
        #expect(keeping.keeper.pathMTU.current == 1400 && keeping.changes == [nil] && keeping.packets.isEmpty)
        var random = SeededRandom(seed: 8)
        let request = HeartbeatMessage.bytes(.request, payload: [1].bytes, random: &random) ?? []
        #expect((keeping.receive(request) != nil) == (mode != nil))
        #expect(keeping.refuse() == nil)
    }

    @Test func `a ping is sent at once, and the time that its answer took is told`() {
        let keeping = Keeping(PathSettings(pathMTU: PathMTUSettings(discover: false)))
        for count in 1...3 {
            keeping.follow(keeping.keeper.ping(now: keeping.now) ?? [])
            #expect(keeping.packets.count == count)
            keeping.run(for: .seconds(1))
            #expect(keeping.roundTrips == [Duration](repeating: .milliseconds(40), count: count))
            #expect(keeping.pings == keeping.roundTrips)
        }
        let statistics = keeping.keeper.heartbeat
        #expect(statistics?.sent == 3 && statistics?.answered == 3 && statistics?.lost == 0)
    }

    @Test func `a ping waits for the request in flight, and for that only`() {
        let keeping = Keeping()
        keeping.follow(keeping.keeper.handleTimeout(now: keeping.now))
        #expect(keeping.packets == [1228])
        for _ in 1...3 { #expect(keeping.keeper.ping(now: keeping.now) == []) }
        keeping.run(for: .milliseconds(60))
        // The search for the path MTU goes on behind it.
        #expect(keeping.packets.count == 2 && keeping.packets[1] < 150 && keeping.roundTrips.count == 1)
        #expect(keeping.pings.isEmpty)
        keeping.run(for: .seconds(5))
        #expect(keeping.packets.count > 2 && keeping.packets.filter { $0 < 150 }.count == 1)
        #expect(keeping.pings == [.milliseconds(40)])
        #expect(keeping.keeper.pathMTU.state == .complete)
    }

    @Test func `a lost ping is counted, sent once and no sign of death`() {
        let keeping = Keeping(PathSettings(pathMTU: PathMTUSettings(discover: false)), carries: nil)
        for _ in 1...4 {
            #expect(keeping.packets.isEmpty)
            keeping.follow(keeping.keeper.ping(now: keeping.now) ?? [])
            keeping.keeper.heard(keeping.now)
            keeping.run(for: .seconds(3))
            #expect(keeping.packets.count == 1)
            keeping.packets = []
        }
        #expect(keeping.keeper.heartbeat?.lost == 4 && keeping.roundTrips.isEmpty && !keeping.isDead)
        #expect(keeping.pings == [nil, nil, nil, nil])
    }

    @Test func `pings do not put off that a dead peer is noticed`() {
        let keeping = Keeping(PathSettings(pathMTU: PathMTUSettings(discover: false)), carries: nil)
        for _ in 1...300 where !keeping.isDead {
            keeping.follow(keeping.keeper.ping(now: keeping.now) ?? [])
            keeping.run(for: .milliseconds(100))
        }
        #expect(keeping.isDead && keeping.now <= .at(26.5))
    }

    @Test(arguments: [nil, .peerNotAllowedToSend] as [HeartbeatMode?])
    func `a peer that takes no requests is not pinged`(mode: HeartbeatMode?) {
        let keeping = Keeping(mode: mode)
        #expect(keeping.keeper.ping(now: keeping.now) == nil && keeping.packets.isEmpty)
    }

    @Test func `a refusal counts for the probe that is under way, and for nothing else`() {
        let keeping = Keeping()
        #expect(keeping.refuse() == nil)
        keeping.follow(keeping.keeper.handleTimeout(now: .at(0)))
        #expect(keeping.packets == [1228])
        keeping.follow(keeping.refuse() ?? [])
        // The base does not fit the interface: on from the minimum.
        #expect(keeping.keeper.pathMTU.current == 576 && keeping.packets.count == 2)
        #expect((577...1227).contains(keeping.packets[1]))
    }
}
