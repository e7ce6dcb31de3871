// Links that go, servers that die or hang, while a legacy application only sends: the daemons find out by heartbeats, and the
// client is back as soon as the way is.

import Foundation
import Testing
import TestSupport
import Wire

@Suite(.enabled(if: Lab.isPossible, "needs root, ip, nft and sysctl"), .timeLimit(.minutes(3)))
struct LivenessTests {
    private static let quick = """
        [tunnel.heartbeat]
        interval = "500ms"
        timeout = "300ms"
        retries = 2
        """
    private static let reconnect = """
        [tunnel.reconnect]
        minimum = "200ms"
        maximum = "500ms"
        """
    /// How long `quick` may take: the interval, three requests, and what a busy machine adds.
    private static let noticed = Duration.milliseconds(500 + 3 * 300 + 2000)

    @Test func `a link that is cut is noticed, and used again within two seconds of its return, twenty times`()
        async throws
    {
        let lab = try await Lab()
        let bench = try await Bench()
        let ports = (0..<20).map { UInt16(6514 + $0) }
        var targets: [Peer] = []
        for _ in ports {
            targets.append(try await lab.peer(on: .server, Endpoint(address: .loopbackIPv4, port: 0)))
        }
        func tunnels(_ tunnel: (Int) -> String) -> String { ports.indices.map(tunnel).joined(separator: "\n") }
        try bench.configure(
            "server", sharing: "never",
            tunnels: tunnels { number in
                """
                [[tunnel]]
                name = "run-\(number)"
                listen = "dtls://\(lab.serverAddress):\(ports[number])"
                forward = "udp://\(targets[number].endpoint)"
                \(Self.quick)
                """
            })
        try bench.configure(
            "client", sharing: "never",
            tunnels: tunnels { number in
                """
                [[tunnel]]
                name = "run-\(number)"
                listen = "udp://127.0.0.1:\(5000 + number)"
                forward = "dtls://\(lab.serverAddress):\(ports[number])"
                server_name = "localhost"
                \(Self.quick)
                \(Self.reconnect)
                """
            })
        let server = try await bench.start("server", prefix: lab.on(.server))
        let client = try await bench.start("client", prefix: lab.on(.client))
        var random = SeededGenerator(seed: 3)
        let times = try await withThrowingTaskGroup(of: (noticed: Duration, back: Duration).self) { group in
            for number in ports.indices {
                let sender = try await lab.peer(
                    on: .client, Endpoint(address: .loopbackIPv4, port: 0),
                    connectedTo: Endpoint(address: .loopbackIPv4, port: UInt16(5000 + number)))
                let traffic = Traffic(from: sender, to: targets[number], sizes: [200], every: .milliseconds(50))
                let before = Duration.milliseconds(.random(in: 200...4000, using: &random))
                let away = Duration.milliseconds(.random(in: 0...9000, using: &random))
                group.addTask {
                    let clock = ContinuousClock()
                    func state() throws -> String? {
                        try client.associations().first { $0.tunnel == "run-\(number)" }?.state
                    }
                    try await eventually("data in run \(number)", within: .seconds(30)) {
                        traffic.arrival(ofWhatWasSentAfter: clock.now - .seconds(60)) != nil
                    }
                    try await Task.sleep(for: before)
                    try await lab.cut(ports[number], true)
                    let cutAt = clock.now
                    try await eventually("run \(number) to be given up", every: .milliseconds(50)) {
                        try state() != "established"
                    }
                    let noticed = clock.now - cutAt
                    try await Task.sleep(for: away)
                    try await lab.cut(ports[number], false)
                    let returnedAt = clock.now
                    let arrival = try await eventually("data again in run \(number): \(client.log.suffix(2000))") {
                        traffic.arrival(ofWhatWasSentAfter: returnedAt)
                    }
                    try await traffic.end()
                    return (noticed, arrival - returnedAt)
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        let slowest = (noticed: times.map(\.noticed).max(), back: times.map(\.back).max())
        let means = times.map(\.back).reduce(.zero, +) / times.count
        print(
            "liveness: 20 cuts noticed within \(slowest.noticed!), back within \(slowest.back!), \(means) in the mean")
        #expect(times.count == 20)
        for (noticed, back) in times { #expect(noticed <= Self.noticed && back <= .seconds(2)) }
        #expect(client.lines(with: "ended: the peer is gone").count >= 20)
        // The server has noticed as well, and let go of what the client held.
        try await server.has("one association for each tunnel") { list in
            Set(list.map(\.tunnel)).count == list.filter { $0.state == "established" }.count
        }
    }

    @Test(arguments: [false, true])
    func `the link itself goes down and comes up`(_ isIPv6: Bool) async throws {
        let pair = try await LabPair(isIPv6: isIPv6, Self.quick, client: Self.reconnect)
        let traffic = Traffic(from: pair.sender, to: pair.target, sizes: [200], every: .milliseconds(50))
        for _ in 0..<2 {
            let begin = ContinuousClock.now
            try await eventually("data") { traffic.arrival(ofWhatWasSentAfter: begin) != nil }
            try await pair.lab.setLink(isUp: false)
            try await pair.client.has("another state") { $0.first?.state != "established" }
            try await pair.server.has("no association") { $0.isEmpty }
            try await pair.lab.setLink(isUp: true)
            let up = ContinuousClock.now
            let arrival = try await eventually("data again; \(pair.logs)") { traffic.arrival(ofWhatWasSentAfter: up) }
            print("liveness: back \(arrival - up) after the link, IPv\(isIPv6 ? 6 : 4)")
            #expect(arrival - up <= .seconds(isIPv6 ? 4 : 2))
        }
        try await traffic.end()
    }

    // Of IPv6 the kernel goes on sending from an address that is gone, so there only heartbeats tell.
    @Test func `a client whose host has got another IPv4 address goes on at once`() async throws {
        let pair = try await LabPair("", sharing: nil)
        var sources: Set<Endpoint> = []
        func pass(within limit: Duration) async throws {
            try await eventually("an answer: \(pair.logs)", within: limit, every: .milliseconds(20)) {
                pair.sender.send([1])
                while let asked = pair.target.take() {
                    sources.insert(asked.source)
                    pair.target.send(asked.bytes, to: asked.source)
                }
                return pair.sender.take() != nil
            }
        }
        try await pass(within: .seconds(20))
        try await pair.lab.replaceClientAddress()
        pair.sender.drain()
        let begin = ContinuousClock.now
        try await pass(within: .seconds(10))
        let took = ContinuousClock.now - begin
        print("liveness: data again \(took) after the host's address was replaced")
        #expect(took < .seconds(4), "\(pair.logs)")
        #expect(
            pair.client.lines(with: "this host's address, from which it was sent, is gone").count == 1, "\(pair.logs)")
    }

    @Test func `datagrams that this host's firewall refuses are counted, and told with what to look at`() async throws {
        let pair = try await LabPair("")
        pair.sender.send([1])
        #expect(try await pair.target.receive()?.bytes == [1], "\(pair.logs)")
        try await pair.lab.setFirewall(isClosed: true)
        try await eventually("the refusals: \(pair.logs)", every: .milliseconds(20)) {
            pair.sender.send([2])
            return try pair.client.client.tunnels()[0].dropped["unreachable", default: 0] > 10
        }
        let lines = pair.client.lines(with: "Operation not permitted; this host's firewall refuses it")
        #expect(lines.count == 1 && lines.first?.contains("send to 10.77.2.2:6514") == true, "\(pair.client.log)")
        try await pair.lab.setFirewall(isClosed: false)
        pair.target.drain()
        pair.sender.send([3])
        #expect(try await pair.target.receive()?.bytes == [3], "\(pair.logs)")
    }

    @Test func `with the defaults a dead peer is noticed within 25 seconds by both ends`() async throws {
        let pair = try await LabPair("")
        let traffic = Traffic(from: pair.sender, to: pair.target, sizes: [200], every: .milliseconds(100))
        try await pair.client.has("an association") { $0.first?.state == "established" }
        try await pair.server.has("an association") { $0.first?.datagrams.in ?? 0 > 0 }
        try await pair.lab.cut(6514, true)
        let cut = Date.now
        try await pair.client.has("the end", within: .seconds(60)) { $0.first?.state != "established" }
        try await pair.server.has("the end", within: .seconds(60)) { $0.isEmpty }
        // By the daemons' own words: this test may be kept from looking when the machine is busy.
        let client = try Self.time(of: try #require(pair.client.lines(with: "the peer is gone").first, "\(pair.logs)"))
        let server = try Self.time(of: try #require(pair.server.lines(with: "the peer is gone").first, "\(pair.logs)"))
        let (atClient, atServer) = (client.timeIntervalSince(cut), server.timeIntervalSince(cut))
        print("liveness: with the defaults noticed after \(atClient) s (client) and \(atServer) s (server)")
        #expect(atClient <= 25 && atServer <= 25)
        try await traffic.end()
    }

    /// When a line of a daemon's log was written.
    private static func time(of line: String) throws -> Date {
        try Date.ISO8601FormatStyle(includingFractionalSeconds: true).parse(String(line.prefix { $0 != " " }))
    }

    @Test func `a server that was killed and started again gets its client back by itself`() async throws {
        let pair = try await LabPair(Self.quick, client: Self.reconnect)
        let traffic = Traffic(from: pair.sender, to: pair.target, sizes: [200], every: .milliseconds(50))
        try await pair.server.has("an association") { $0.first?.datagrams.in ?? 0 > 0 }
        try await pair.server.stop(SIGKILL)
        try await pair.restartServer()
        let up = ContinuousClock.now
        let arrival = try await eventually("data again; \(pair.logs)") { traffic.arrival(ofWhatWasSentAfter: up) }
        print("liveness: back \(arrival - up) after a killed server")
        #expect(arrival - up <= Self.noticed + .seconds(2))
        #expect(pair.client.lines(with: "ended: the peer is gone").count == 1)
        try await traffic.end()
    }

    @Test func `a server that hangs is given up, and found again when it goes on`() async throws {
        let pair = try await LabPair(Self.quick, client: Self.reconnect)
        let traffic = Traffic(from: pair.sender, to: pair.target, sizes: [200], every: .milliseconds(50))
        try await pair.server.has("an association") { $0.first?.datagrams.in ?? 0 > 0 }
        pair.server.process.signal(SIGSTOP)
        try await pair.client.has("another state", within: Self.noticed + .seconds(5)) {
            $0.first?.state != "established"
        }
        pair.server.process.signal(SIGCONT)
        let goesOn = ContinuousClock.now
        let arrival = try await eventually("data again; \(pair.logs)") {
            traffic.arrival(ofWhatWasSentAfter: goesOn)
        }
        #expect(arrival - goesOn <= .seconds(3))
        try await traffic.end()
        // The old one goes when its client does not answer, and the new one stays.
        try await pair.server.has("one association") { $0.count == 1 && $0.first?.state == "established" }
    }

    @Test func `a client that has gone is let go by the server`() async throws {
        let pair = try await LabPair(Self.quick)
        pair.sender.send([1])
        try await pair.server.has("an association") { $0.first?.state == "established" }
        try await pair.client.stop(SIGKILL)
        try await pair.server.has("none", within: Self.noticed + .seconds(5)) { $0.isEmpty }
        #expect(pair.server.lines(with: "ended: the peer is gone").count == 1, "\(pair.logs)")
    }
}

/// The same numbers for the same seed.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
        return mixed ^ mixed >> 31
    }
}
