// What the two daemons find out about a path whose MTU changes, and what they do with datagrams that are too large for it.

import Testing
import TestSupport

@Suite(.enabled(if: Lab.isPossible, "needs root, ip, nft and sysctl"), .timeLimit(.minutes(3)))
struct PathMTUTests {
    struct Given: Sendable, CustomTestStringConvertible {
        var isIPv6: Bool
        var isFiltered: Bool
        var testDescription: String { "\(isIPv6 ? "IPv6" : "IPv4"), ICMP \(isFiltered ? "filtered" : "passed")" }

        /// `PathMTUDiscovery.step`.
        static let step = 8

        /// IP and UDP headers, and what a record of AES-GCM adds.
        var overhead: Int { (isIPv6 ? 48 : 28) + 13 + 8 + 16 }

        /// Whether a path MTU is as well known as it can be.
        /// A server's own interface tells by IPv4 that a packet is too large, but not for whom; then it has to be searched.
        func accepts(_ found: Int?, _ true: Int, byInterface: Bool = false) -> Bool {
            guard let found else { return false }
            return isFiltered || byInterface && !isIPv6
                ? (`true` - Self.step + 1...`true`).contains(found) : found == `true`
        }

        static let all = [false, true].flatMap { six in [false, true].map { Given(isIPv6: six, isFiltered: $0) } }
    }

    // A search a second, so that raising takes no time.
    private static let settings = """
        oversize = "fragment"
        [tunnel.heartbeat]
        interval = "5s"
        [tunnel.mtu]
        interval = "1s"
        """

    @Test(arguments: Given.all)
    func `a router's MTU is followed down and up again, and small datagrams are never lost`(_ given: Given) async throws
    {
        let pair = try await LabPair(isIPv6: given.isIPv6, Self.settings) { lab in
            if given.isFiltered { try await lab.filterICMP() }
        }
        let clock = ContinuousClock()
        pair.sender.send([1])
        let source = try #require(try await pair.target.receive(), "\(pair.logs)").source
        let sizes = [100, 1000, 1190]
        let directions = [
            Traffic(from: pair.sender, to: pair.target, sizes: sizes),
            Traffic(from: pair.target, to: pair.sender, at: source, sizes: sizes),
        ]
        var disturbances = [clock.now]
        for mtu in [1500, 1400, 1280, 1400, 1500] {
            if disturbances.count > 1 || mtu != 1500 {
                disturbances.append(clock.now)
                try await pair.lab.setMTU(mtu)
            }
            let begin = clock.now
            for (end, daemon) in [("client", pair.client), ("server", pair.server)] {
                try await daemon.has("an MTU of \(mtu) at the \(end), \(given.testDescription)", within: .seconds(30)) {
                    $0.first?.pathMtu?.state != "base"
                        && given.accepts($0.first?.pathMtu?.out, mtu, byInterface: end == "server")
                        && $0.first?.pathMtu.map { $0.out - given.overhead == $0.maxDatagram } ?? false
                }
            }
            print("path MTU: \(mtu) found within \(clock.now - begin), \(given.testDescription)")
        }
        for traffic in directions {
            try await traffic.end()
            // Never mind what was lost within a second of a change, when there is no knowing yet.
            let lost = traffic.lost.filter { lost in
                !disturbances.contains { lost.at >= $0 - .milliseconds(100) && lost.at < $0 + .seconds(1) }
            }
            #expect(lost.isEmpty, "\(lost.count) of \(traffic.sent) lost: \(lost.prefix(10)) \(pair.logs)")
            #expect(traffic.sent > 20)
            print("path MTU: \(traffic.sent) small datagrams, \(traffic.lost.count) lost, \(given.testDescription)")
        }
        #expect(!pair.client.lines(with: "path MTU to").filter { $0.contains("changed from") }.isEmpty, "\(pair.logs)")
    }

    @Test(arguments: Given.all)
    func `each direction has a path MTU of its own`(_ given: Given) async throws {
        let pair = try await LabPair(isIPv6: given.isIPv6, Self.settings) { lab in
            if given.isFiltered { try await lab.filterICMP() }
            try await lab.setMTU(1420, to: .server)
            try await lab.setMTU(1333, to: .client)
        }
        pair.sender.send([1])
        let first = try #require(try await pair.target.receive(), "\(pair.logs)")
        for (daemon, mtu) in [(pair.client, 1420), (pair.server, 1333)] {
            try await daemon.has("\(mtu), \(given.testDescription)", within: .seconds(30)) {
                $0.first?.pathMtu?.state == "complete" && given.accepts($0.first?.pathMtu?.out, mtu)
            }
        }
        // What fits according to each end arrives whole, and what does not as well, in fragments.
        let there = try #require(try pair.client.associations().first?.pathMtu?.maxDatagram)
        let back = try #require(try pair.server.associations().first?.pathMtu?.maxDatagram)
        // Linux fragments no IPv6 packet that its own interface would take, unless ICMP has told it to.
        let isUnknown = given.isIPv6 && given.isFiltered
        for excess in isUnknown ? [-1, 0, 500, 4000] : [-1, 0, 1, 20, 100, 4000] {
            pair.sender.send(pattern(there + excess))
            let asked = try await pair.target.receive(within: .seconds(5))
            #expect(asked?.bytes.count == there + excess, "\(given.testDescription) \(pair.logs)")
            #expect(asked == nil || asked?.bytes == pattern(there + excess))
            pair.target.send(pattern(back + excess), to: first.source)
            let answer = try await pair.sender.receive(within: .seconds(5))
            #expect(answer?.bytes.count == back + excess, "\(given.testDescription) \(pair.logs)")
            #expect(answer == nil || answer?.bytes == pattern(back + excess))
        }
        // One line for each end, its flow and minute, that names the size; none while a size is in doubt, as it is for a moment
        // when a busy machine has lost the probes that confirm it. A search may have gone on by a step since.
        for (daemon, size) in [(pair.client, there), (pair.server, back)] {
            try await eventually("a line that names the size: \(pair.logs)", every: .milliseconds(200)) {
                if !daemon.lines(with: "make the application send at most that").isEmpty { return true }
                pair.sender.send(pattern(there + 4000))
                pair.target.send(pattern(back + 4000), to: first.source)
                return false
            }
            let lines = daemon.lines(with: "make the application send at most that")
            #expect(lines.count == 1, "\(pair.logs)")
            let told = lines.first?.firstMatch(of: /one packet of the path carries (\d+);/).flatMap { Int($0.output.1) }
            #expect(told.map { abs($0 - size) <= 8 } == true, "\(pair.logs)")
        }
    }

    @Test(arguments: Given.all)
    func `what is too large is dropped and counted where that is wanted`(_ given: Given) async throws {
        let pair = try await LabPair(
            isIPv6: given.isIPv6, Self.settings.replacing("fragment", with: "drop")
        ) { lab in
            if given.isFiltered { try await lab.filterICMP() }
            try await lab.setMTU(1400, to: .server)
        }
        pair.sender.send([1])
        #expect(try await pair.target.receive()?.bytes == [1])
        try await pair.client.has("1400", within: .seconds(30)) {
            $0.first?.pathMtu?.state == "complete" && given.accepts($0.first?.pathMtu?.out, 1400)
        }
        let most = try #require(try pair.client.associations().first?.pathMtu?.maxDatagram)
        for size in [most + 1, most + 50, most, 9000] { pair.sender.send(pattern(size)) }
        #expect(try await pair.target.receive()?.bytes.count == most)
        try await pair.client.has("three drops") { $0.first?.dropped["oversize"] == 3 }
        pair.sender.send([2])
        #expect(try await pair.target.receive()?.bytes == [2])
        #expect(pair.client.lines(with: "dropped a datagram of").count == 1, "\(pair.logs)")
    }
}
