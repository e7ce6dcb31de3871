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
        let pair = try await SharedPair(["syslog", "radius"])
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
        if !BuildKind.isSanitized { #expect(shared / plain >= (BuildKind.isOptimized ? 20 : 10)) }
    }
}
