// Two daemons in shared mode: many flows and services in one association, what that costs and saves, and what becomes of the
// flows when the other end refuses a service or dies. The figures are printed.

import Foundation
import Synchronization
import Testing
import TestSupport
import Wire

@Suite(.serialized) struct SharedModeTests {
    @Test(.enabled(if: OpenFiles.limit > 6000, "the limit on open files is too low"), .timeLimit(.minutes(2)))
    func `five thousand flows of two services are told apart in one association`() async throws {
        let count = BuildKind.isSanitized ? 500 : 5000
        let pair = try await SharedPair(["syslog", "radius"], workers: 1)
        try await pair.client.has("the association") { $0.first?.state == "established" }
        var senders: [Peer] = []
        var sources: [Endpoint] = []
        let before = (client: try pair.client.memory(), server: try pair.server.memory())

        func service(_ flow: Int) -> SharedPair.Service { pair.services[flow % 2] }
        func text(_ flow: Int, _ round: Int, _ what: String) -> [UInt8] {
            Array("\(service(flow).name) \(flow) \(round) \(what)".utf8)
        }
        /// Has some flows ask and be answered, the last first.
        func converse(_ flows: Range<Int>, round: Int) async throws {
            for flow in flows { senders[flow].send(text(flow, round, "asks")) }
            for flow in flows {
                // Within a service they come in order.
                let asked = try #require(try await service(flow).target.receive(), "\(flow): \(pair.logs)")
                #expect(asked.bytes == text(flow, round, "asks"))
                if sources.count == flow { sources.append(asked.source) }
                #expect(sources[flow] == asked.source)
            }
            for flow in flows.reversed() { service(flow).target.send(text(flow, round, "is told"), to: sources[flow]) }
            for flow in flows {
                let answer = try #require(try await senders[flow].receive(), "\(flow): \(pair.logs)")
                #expect(answer.bytes == text(flow, round, "is told"))
            }
        }
        let begin = ContinuousClock.now
        for round in 0..<2 {
            for first in stride(from: 0, to: count, by: 100) {
                let flows = first..<first + 100
                if round == 0 { for flow in flows { senders.append(try pair.sender(service(flow), number: flow)) } }
                try await converse(flows, round: round)
            }
        }
        let took = ContinuousClock.now - begin
        let after = (client: try pair.client.memory(), server: try pair.server.memory())
        let client = (after.client - before.client) / count
        let server = (after.server - before.server) / count
        print("shared mode: \(count) flows in \(took); memory for each: client \(client) bytes, server \(server) bytes")
        #expect(Set(sources).count == count)
        for daemon in [pair.client, pair.server] {
            let list = try daemon.associations()
            #expect(list.count == 1 && list.first?.mode == "shared" && list.first?.flows == count, "\(list)")
            let tunnels = try daemon.control.tunnels()
            for tunnel in tunnels {
                #expect(tunnel.flows == count / 2 && tunnel.dropped.isEmpty, "\(tunnel)")
                #expect(tunnel.datagrams.in == UInt64(count) && tunnel.datagrams.out == UInt64(count), "\(tunnel)")
            }
        }
        if !BuildKind.isSanitized { #expect(client <= 2048 && server <= 2048) }
    }

    /// Requests from a new port each, `width` at a time, until `count` have been answered.
    ///
    /// - Returns: how many there were in a second; nil when an answer did not come.
    private func requests(_ count: Int, width: Int, _ pair: SharedPair, to entrance: Endpoint) async throws -> Double? {
        let target = pair.services[0].target
        let result: Result<Double?, any Error> = await withCheckedContinuation { done in
            Thread.detachNewThread {
                done.resume(
                    returning: Result {
                        var asked = 0
                        func ask() throws -> Peer {
                            asked += 1
                            let address = IPAddress(ipv4: 0x7f06_0000 + UInt32(asked))
                            let peer = try Peer(Endpoint(address: address, port: 0), connectedTo: entrance)
                            peer.send(Array("request \(asked)".utf8))
                            return peer
                        }
                        let begin = ContinuousClock.now
                        var heard = begin
                        var peers = try (0..<width).map { _ in try ask() }
                        var answered = 0
                        while answered < count {
                            Peer.wait(for: peers + [target], milliseconds: 1000)
                            while let request = target.take() { target.send(request.bytes, to: request.source) }
                            for place in peers.indices where peers[place].take() != nil {
                                answered += 1
                                heard = .now
                                peers[place] = try ask()
                            }
                            if ContinuousClock.now - heard > .seconds(10) { return nil }
                        }
                        return Double(answered) / ((ContinuousClock.now - begin) / .seconds(1))
                    })
            }
        }
        return try result.get()
    }

    @Test(.enabled(if: OpenFiles.limit > 12_000, "the limit on open files is too low"), .timeLimit(.minutes(2)))
    func `a client with a new port for each request is served many times as fast as in plain mode`() async throws {
        let count = BuildKind.isSanitized ? 1000 : 10_000
        func rate(_ count: Int, sharing: String) async throws -> Double {
            let pair = try await SharedPair(["dns"], sharing: sharing)
            let rate = try await requests(count, width: 32, pair, to: pair.services[0].entrance)
            let mode = try pair.client.associations().first?.mode
            #expect(mode == (sharing == "never" ? "plain" : "shared"))
            return try #require(rate, "\(pair.logs)")
        }
        let plain = try await rate(300, sharing: "never")
        let shared = try await rate(count, sharing: "auto")
        print("shared mode: \(Int(shared)) requests a second, each from its own port; plain mode \(Int(plain))")
        print("shared mode: \(shared / plain) times plain mode")
        if !BuildKind.isSanitized { #expect(shared / plain >= (BuildKind.isOptimized ? 20 : 5)) }
    }

    @Test func `the largest datagrams cross whole both ways, between those of other flows`() async throws {
        let pair = try await SharedPair(["coap", "syslog"])
        let (large, small) = (try pair.sender(pair.services[0]), try pair.sender(pair.services[1]))
        for size in [65_507, 16_384, 1500, 0, 65_507] {
            large.send(pattern(size))
            small.send([7])
            let asked = try #require(try await pair.services[0].target.receive(), "\(size): \(pair.logs)")
            #expect(asked.bytes == pattern(size))
            let other = try #require(try await pair.services[1].target.receive(), "\(pair.logs)")
            #expect(other.bytes == [7])
            let answer = Array(pattern(size).reversed())
            pair.services[0].target.send(answer, to: asked.source)
            pair.services[1].target.send([8], to: other.source)
            #expect(try await large.receive()?.bytes == answer, "\(size): \(pair.logs)")
            #expect(try await small.receive()?.bytes == [8])
        }
        #expect(Set(try pair.client.associations().map(\.mode)) == ["shared"])
    }

    @Test(.enabled(if: Lab.isPossible, "needs root, ip, nft and sysctl"), arguments: [false, true])
    func `the largest datagrams cross whole where packets are small and nobody says so`(_ isIPv6: Bool) async throws {
        let pair = try await LabPair(isIPv6: isIPv6, "oversize = \"fragment\"", sharing: "auto") { lab in
            try await lab.filterICMP()
            try await lab.setMTU(1280, to: .server)
            try await lab.setMTU(1280, to: .client)
        }
        // At once, with the path still unknown, and again when it is known.
        for isKnown in [false, true] {
            if isKnown {
                for daemon in [pair.client, pair.server] {
                    try await daemon.has("a known path: \(pair.logs)", within: .seconds(30)) {
                        $0.first?.pathMtu?.state == "complete" && $0.first?.pathMtu.map { $0.out <= 1280 } ?? false
                    }
                }
            }
            for size in [65_507, 1400, 9000] {
                pair.sender.send(pattern(size))
                let asked = try #require(try await pair.target.receive(), "\(size): \(pair.logs)")
                #expect(asked.bytes == pattern(size))
                let answer = Array(pattern(size).reversed())
                pair.target.send(answer, to: asked.source)
                #expect(try await pair.sender.receive()?.bytes == answer, "\(size): \(pair.logs)")
            }
        }
        #expect(Set(try pair.client.associations().map(\.mode)) == ["shared"])
    }

    @Test func `a datagram costs one byte more than in plain mode for 63 flows, and two for later ones`() async throws {
        /// What each flow's datagrams of its own size, 100 and its number, have cost on the wire, both ways.
        func costs(_ flows: Int, sharing: String) async throws -> [[Int]] {
            let exit = try FreePorts.next()
            let sizes = Mutex<[[Int]]>([[], []])
            let relay = try UDPRelay(to: Endpoint(address: .loopbackIPv4, port: exit)) { direction, datagram in
                // Records of application data alone.
                if datagram.first == 23 { sizes.withLock { $0[direction == .toServer ? 0 : 1].append(datagram.count) } }
                return true
            }
            let pair = try await SharedPair(["dns"], sharing: sharing, workers: 1, exit: exit, relay: relay.port)
            let senders = try (1...flows).map { try pair.sender(pair.services[0], number: $0) }
            for isCounted in [false, true] {
                sizes.withLock { $0 = [[], []] }
                for (number, sender) in senders.enumerated() {
                    sender.send(pattern(100 + number))
                    let asked = try #require(try await pair.services[0].target.receive(), "\(pair.logs)")
                    pair.services[0].target.send(asked.bytes, to: asked.source)
                    let answer = try #require(try await sender.receive(), "\(pair.logs)")
                    #expect(answer.bytes == pattern(100 + number))
                }
                if isCounted { break }
            }
            return sizes.withLock { $0.map { $0.enumerated().map { $1 - 100 - $0 } } }
        }
        let plain = try await costs(1, sharing: "never")
        let shared = try await costs(70, sharing: "auto")
        let base = try #require(plain[0].first)
        #expect(plain == [[base], [base]])
        for direction in shared {
            #expect(direction.count == 70)
            #expect(direction.prefix(63).allSatisfy { $0 == base + 1 }, "\(direction)")
            #expect(direction.dropFirst(63).allSatisfy { $0 == base + 2 }, "\(direction)")
        }
        print(
            "shared mode: \(base) bytes for each datagram in plain mode, \(base + 1) for 63 flows, \(base + 2) for later ones"
        )
    }

    @Test func `services that are refused are told once, and carried after the server's reload`() async throws {
        let pair = try await SharedPair(
            ["known", "closed", "absent"],
            server: { ["known": "", "closed": "allow_peers = [\"CN:somebody-else\"]"][$0] })
        let senders = try pair.services.map { try pair.sender($0) }
        func refusals() throws -> [String: String] {
            try pair.client.control.tunnels().reduce(into: [:]) { $0[$1.name] = $1.serviceRefused?.reason }
        }
        let refused = ["closed": "forbidden", "absent": "unknown_service"]
        try await eventually("both refusals: \(pair.logs)") {
            for sender in senders { sender.send([1]) }
            return try refusals() == refused
        }
        // It asks again each second, and is refused each time.
        func denials() throws -> UInt64 {
            try pair.server.associations().reduce(0) { $0 + ($1.dropped["service"] ?? 0) }
        }
        let asked = try denials()
        try await eventually("more denials: \(pair.logs)", every: .milliseconds(50)) {
            for sender in senders { sender.send([2]) }
            return try denials() >= asked + 2
        }
        #expect(try refusals() == refused)
        for (service, _) in refused {
            #expect(pair.client.lines(with: "does not give the service '\(service)'").count == 1, "\(pair.logs)")
        }
        try await eventually("answers of the known one: \(pair.logs)") {
            pair.echo()
            return senders[0].take() != nil
        }
        // Nobody but the known one has got anything.
        #expect(pair.services.dropFirst().allSatisfy { $0.target.take() == nil })

        try pair.configureServer { _ in "" }
        let answer = try pair.server.post("/v1/reload")
        #expect(answer.status == 200, "\(answer.body)")
        for sender in senders {
            try await eventually("answers: \(pair.logs)", every: .milliseconds(50)) {
                sender.send([3])
                pair.echo()
                return sender.take() != nil
            }
        }
        #expect(try refusals() == [:])
        #expect(pair.client.lines(with: "gives the service").filter { !$0.contains("not give") }.count == 2)
        let list = try pair.client.associations()
        #expect(Set(list.map(\.mode)) == ["shared"], "\(list)")
    }

    @Test func `the senders of all services go on when the server was killed and started again`() async throws {
        let pair = try await SharedPair(
            ["syslog", "snmp"],
            """
            [tunnel.heartbeat]
            interval = "500ms"
            timeout = "300ms"
            retries = 2
            """,
            client: """
                [tunnel.reconnect]
                minimum = "100ms"
                maximum = "300ms"
                """, workers: 1)
        let senders = try pair.services.flatMap { service in
            try (1...3).map { (service.name, try pair.sender(service, number: $0)) }
        }
        /// Waits until every sender has been answered, each with what it has sent itself.
        func talk(_ word: String) async throws {
            var silent = Set(senders.indices)
            try await eventually("answers to \(silent): \(pair.logs)", every: .milliseconds(20)) {
                for (number, (name, sender)) in senders.enumerated() {
                    sender.send(Array("\(name) \(number) \(word)".utf8))
                }
                pair.echo()
                for (number, (name, sender)) in senders.enumerated() {
                    while let answer = sender.take() {
                        #expect(String(decoding: answer.bytes, as: UTF8.self).hasPrefix("\(name) \(number) "))
                        if answer.bytes == Array("\(name) \(number) \(word)".utf8) { silent.remove(number) }
                    }
                }
                return silent.isEmpty
            }
        }
        try await talk("before")
        try await pair.server.stop(SIGKILL)
        try await pair.restartServer()
        let up = ContinuousClock.now
        try await talk("after")
        let took = ContinuousClock.now - up
        print("shared mode: six senders are answered \(took) after a killed server is up again")
        // The silence, three requests, one pause, and what a busy machine adds.
        #expect(took <= .milliseconds(500 + 3 * 300 + 300 + 3000))
        let list = try pair.client.associations()
        #expect(list.count == 1 && list.first?.mode == "shared" && list.first?.flows == 6, "\(list)")
        #expect(pair.client.lines(with: "ended: ").count == 1, "\(pair.logs)")
    }
}
