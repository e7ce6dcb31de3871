// The stream of events, as its readers see it: attentive ones, slow ones, dead ones.

import Foundation
import Synchronization
import Testing

@testable import Control

@Suite(.timeLimit(.minutes(3)))
struct EventStreamTests {
    let scratch: Scratch
    let source = FakeSource()

    init() throws { scratch = try Scratch() }

    private func start(_ limits: ControlLimits = ControlLimits()) throws -> ControlServer {
        try ControlServer.start(path: scratch.socket, source: source, limits: limits)
    }

    private static let request = "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n"

    /// What a reader has been told.
    private final class Told: Sendable {
        private let events = Mutex<[ControlEvent]>([])
        func add(_ event: ControlEvent) -> Int {
            events.withLock {
                $0.append(event); return $0.count
            }
        }
        var messages: [String] { events.withLock { $0.map(\.message) } }
    }

    @Test func `events arrive in order as they happen`() async throws {
        let server = try start()
        defer { server.stop() }
        let told = Told()
        let reading = Task {
            try await blocking {
                try ControlClient(path: server.address).events { told.add($0) < 3 }
            }
        }
        #expect(try await eventually { source.listeners == 1 })
        for number in 1...3 {
            source.tell("event \(number)")
            #expect(try await eventually { told.messages.count == number })
        }
        try await reading.value
        #expect(told.messages == ["event 1", "event 2", "event 3"])
        #expect(try await eventually { source.listeners == 0 })
    }

    @Test func `a reader may ask for one tunnel and for what it has missed`() async throws {
        let server = try start()
        defer { server.stop() }
        for number in 1...4 { source.tell("event \(number)", tunnel: number.isMultiple(of: 2) ? "syslog" : "radius") }
        let told = Told()
        try await blocking {
            let client = ControlClient(path: server.address)
            try client.events(of: "syslog", after: 0) { told.add($0) < 2 }
            try client.events(after: 2) { told.add($0) < 4 }
        }
        #expect(told.messages == ["event 2", "event 4", "event 3", "event 4"])
    }

    @Test(arguments: ["after=x", "after=-1", "after=", "tunnel=%ff", "tunel=syslog", "after=99999999999999999999"])
    func `a question that makes no sense is refused and follows nothing`(query: String) async throws {
        let server = try start()
        defer { server.stop() }
        let error = await #expect(throws: ControlClientError.self) {
            try await blocking {
                try ControlClient(path: server.address).lines(of: "/v1/events?\(query)") { _ in true }
            }
        }
        guard case .refused(let problem) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(problem.status == 400 && source.listeners == 0)
    }

    @Test func `the stream is chunked for those who know that, and bare for others`() async throws {
        let server = try start()
        for version in ["1.1", "1.0"] {
            let client = try await RawClient(server.address)
            await client.send("GET /v1/events?after=0 HTTP/\(version)\r\nHost: x\r\n\r\n")
            #expect(try await eventually { source.listeners == 1 })
            source.tell("hello")
            #expect(try await eventually { client.receivedSoFar.contains("hello") })
            let text = client.receivedSoFar
            #expect(text.hasPrefix("HTTP/\(version) 200 OK\r\n") && text.contains("application/x-ndjson"))
            #expect(text.lowercased().contains("transfer-encoding: chunked\r\n") == (version == "1.1"))
            await client.close()
            #expect(try await eventually { source.listeners == 0 })
        }
        server.stop()
    }

    @Test func `a daemon that stops ends the stream in order`() async throws {
        let server = try start()
        let client = try await RawClient(server.address)
        await client.send(Self.request)
        #expect(try await eventually { source.listeners == 1 })
        source.tell("last words")
        #expect(try await eventually { client.receivedSoFar.contains("last words") })
        server.stop()
        #expect(try await client.answer()?.hasSuffix("\r\n0\r\n\r\n") == true)
        #expect(try await eventually { source.listeners == 0 })
    }

    @Test func `a slow reader loses what does not fit and is told how much`() async throws {
        var limits = ControlLimits()
        limits.streamEvents = 10
        let server = try start(limits)
        defer { server.stop() }
        let client = try await RawClient(server.address)
        await client.send(Self.request)
        #expect(try await eventually { source.listeners == 1 })
        try await client.stopReading()
        let words = String(repeating: "x", count: 10_000)
        for _ in 0..<300 { source.tell(words) }
        // Others are answered meanwhile.
        let other = try await RawClient.exchange(server.address, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(other?.hasPrefix("HTTP/1.1 200 ") == true)
        try await client.startReading()
        #expect(try await eventually { client.receivedSoFar.contains("\"type\":\"lost\"") })
        source.tell("the end")
        #expect(try await eventually { client.receivedSoFar.contains("the end") })
        await client.close()

        let events = client.receivedSoFar.split(whereSeparator: \.isNewline).compactMap {
            try? JSONDecoder.control.decode(ControlEvent.self, from: Data($0.utf8))
        }
        let lost = events.filter { $0.type == .lost }.compactMap { $0.fields["count"].flatMap(Int.init) }.reduce(0, +)
        let heard = events.filter { $0.type == .log }.count
        #expect(lost > 0 && heard >= 10 && lost + heard == 301, "\(lost) lost, \(heard) heard")
        #expect(events.map(\.id) == events.map(\.id).sorted())
    }

    @Test func `a reader that reads nothing for too long is cut off`() async throws {
        var limits = ControlLimits()
        limits.reading = .milliseconds(200)
        let server = try start(limits)
        defer { server.stop() }
        let client = try await RawClient(server.address)
        await client.send(Self.request)
        #expect(try await eventually { source.listeners == 1 })
        try await client.stopReading()
        let words = String(repeating: "x", count: 100_000)
        #expect(
            try await eventually {
                source.tell(words)
                return source.listeners == 0
            })
    }

    @Test func `readers hear that the daemon is alive, and those that are gone are forgotten`() async throws {
        var limits = ControlLimits()
        limits.signOfLife = .milliseconds(50)
        let server = try start(limits)
        defer { server.stop() }
        let client = try await RawClient(server.address)
        await client.send(Self.request)
        #expect(try await eventually { client.receivedSoFar.hasSuffix("1\r\n\n\r\n1\r\n\n\r\n") })
        await client.close()
        #expect(try await eventually { source.listeners == 0 })
        // Empty lines are no events.
        let told = Told()
        let reading = Task {
            try await blocking { try ControlClient(path: server.address).events { told.add($0) < 1 } }
        }
        #expect(try await eventually { source.listeners == 1 })
        try await Task.sleep(for: .milliseconds(120))
        source.tell("awake")
        try await reading.value
        #expect(told.messages == ["awake"])
    }

    @Test func `readers have places of their own, and only so many`() async throws {
        var limits = ControlLimits()
        limits.streams = 2
        let server = try start(limits)
        defer { server.stop() }
        let readers = [try await RawClient(server.address), try await RawClient(server.address)]
        for reader in readers { await reader.send(Self.request) }
        #expect(try await eventually { source.listeners == 2 })
        #expect(try await RawClient.exchange(server.address, Self.request)?.hasPrefix("HTTP/1.1 503 ") == true)
        await readers[0].close()
        #expect(try await eventually { source.listeners == 1 })
        let next = try await RawClient(server.address)
        await next.send(Self.request)
        #expect(try await eventually { source.listeners == 2 })
        await next.close()
        await readers[1].close()
    }

    @Test func `a daemon that is gone is noticed by the reader`() async throws {
        let server = try start()
        let error = Mutex<ControlClientError?>(nil)
        let reading = Task {
            do { try await blocking { try ControlClient(path: server.address).events { _ in true } } } catch let caught
                as ControlClientError
            { error.withLock { $0 = caught } }
        }
        #expect(try await eventually { source.listeners == 1 })
        server.stop()
        try await reading.value
        #expect(error.withLock { $0 } == nil)
        let silent = await #expect(throws: ControlClientError.self) {
            try await blocking {
                let silence = try ControlServer.start(
                    path: server.address, routes: [ControlRoute(.get, "/stuck") { _, _ in }])
                defer { silence.stop() }
                try ControlClient(path: server.address).lines(of: "/stuck", silence: .milliseconds(100)) { _ in true }
            }
        }
        #expect(silent == .timedOut(path: server.address) && silent?.isUnreachable == true)
    }
}
