import Control
import LinuxIO
import Testing

@testable import Daemon

@Suite struct `The events` {
    private func event(_ message: String) -> DaemonEvent {
        DaemonEvent(kind: .limit, level: .warning, tunnels: ["t"], message: message, fields: [:])
    }

    @Test func `everybody who follows gets every event once, numbered from 1`() {
        let hub = EventHub()
        let first = Followed(hub)
        hub.publish(event("a"))
        let second = Followed(hub)
        hub.publish(event("b"))
        #expect(first.messages == ["a", "b"] && first.events.map(\.id) == [1, 2])
        #expect(second.messages == ["b"] && second.events.map(\.id) == [2])
    }

    @Test func `who comes later may have what is remembered, all or after an event`() {
        let hub = EventHub()
        for number in 1...300 { hub.publish(event("\(number)")) }
        #expect(Followed(hub).messages == [])
        #expect(Followed(hub, after: 0).events.map(\.id) == Array(45...300))
        #expect(Followed(hub, after: 297).messages == ["298", "299", "300"])
        #expect(Followed(hub, after: 300).messages == [])
        #expect(Followed(hub, after: .max).messages == [])
        #expect(EventHub.capacity == 256)
    }

    @Test func `nobody gets events after having cancelled`() {
        let hub = EventHub()
        let followed = Followed(hub)
        hub.publish(event("a"))
        followed.cancel()
        followed.cancel()
        hub.publish(event("b"))
        #expect(followed.messages == ["a"])
    }

    @Test func `events of many threads come in the same order to everybody, and none is missing`() throws {
        let hub = EventHub()
        let first = Followed(hub)
        let (threads, each) = (4, 1_000)
        var running: [Thread] = []
        for thread in 0..<threads {
            running.append(
                try Thread {
                    for number in 0..<each {
                        hub.publish(
                            DaemonEvent(
                                kind: .limit, level: .info, tunnels: [], message: "\(thread) \(number)", fields: [:]))
                    }
                })
        }
        let late = Followed(hub, after: 0)
        for thread in running { thread.join() }
        let events = first.events
        #expect(events.map(\.id) == (1...UInt64(threads * each)).map { $0 })
        for thread in 0..<threads {
            #expect(
                events.map(\.message).filter { $0.hasPrefix("\(thread) ") }
                    == (0..<each).map { "\(thread) \($0)" })
        }
        let ids = late.events.map(\.id)
        #expect(ids == Array((ids.first ?? 0)...UInt64(threads * each)))
    }

    /// A thread in an array.
    private final class Thread {
        private var thread: NativeThread?
        init(_ body: @escaping @Sendable () -> Void) throws {
            thread = try NativeThread.start(name: "test", body: body)
        }
        func join() { thread.take()?.join() }
    }
}

@Suite struct `What the daemon tells` {
    @Test func `an event is a line and an event on the stream with the same words and fields`() throws {
        let (log, file) = try LogFile.make(.json)
        let followed = Followed(log.events)
        log.of(tunnels: ["a", "b"]).tell(.limit, .warning, "x", "words", ["limit": "max_flows"])
        let event = try #require(followed.events.first)
        #expect(event.type == .limit && event.level == "warning")
        #expect(event.tunnel == "a" && event.tunnels == ["a", "b"])
        #expect(event.message == "words" && event.fields == ["limit": "max_flows"])
        let line = try #require(file.lines.first)
        #expect(line.contains(#""event":"limit","level":"warning","limit":"max_flows","message":"words""#), "\(line)")
        #expect(line.contains(#""tunnel":"a","tunnels":["a","b"]}"#), "\(line)")
    }

    @Test
    func `the stream has what is of use to anybody even where the log is silent, and details only where it is not`()
        throws
    {
        let (log, file) = try LogFile.make(.text, .critical)
        let followed = Followed(log.events)
        let tunnel = log.of(tunnel: "t")
        tunnel.tell(.established, .info, "x", "one")
        tunnel.tell(.expired, .debug, "x", "two")
        #expect(log.setLevel(.debug, tunnel: "t"))
        tunnel.tell(.expired, .debug, "x", "three")
        tunnel.tell(.expired, .debug, "x", "four")
        #expect(followed.messages == ["one", "log level is now debug", "three", "four"])
        #expect(file.messages == ["notice t: log level is now debug", "debug t: three", "debug t: four"])
    }

    @Test func `what is collapsed in the log is collapsed on the stream`() throws {
        let (log, file) = try LogFile.make(.text)
        let followed = Followed(log.events)
        let tunnel = log.of(tunnel: "t")
        for number in 0..<1_000 { tunnel.tell(.handshakeFailed, .warning, "x", "failed \(number)", ["peer": "p"]) }
        #expect(followed.messages == ["failed 0"])
        #expect(log.tellRepeated(now: .init(nanoseconds: MonotonicClock.now)) != nil)
        #expect(log.tellRepeated(now: .init(nanoseconds: MonotonicClock.now), all: true) == nil)
        #expect(followed.messages == ["failed 0", "failed 1 (repeated 999 times in 1 s)"])
        #expect(followed.events.last?.peerAddress == "p" && followed.events.last?.fields == ["repeated": "999"])
        #expect(file.messages == followed.messages.map { "warning t: \($0)" })
    }

    @Test func `what an administrator causes is told each time`() throws {
        let (log, _) = try LogFile.make(.text)
        let followed = Followed(log.events)
        for level in [LogLevel.debug, .info, .debug] { log.setLevel(level) }
        #expect(followed.messages == ["debug", "info", "debug"].map { "log level is now \($0)" })
        #expect(followed.events.allSatisfy { $0.type == .logLevel && $0.tunnel == nil && $0.tunnels == [] })
    }

    @Test func `a count is told when it is due though nothing else happens, and the last ones at the end`() async throws
    {
        let (log, _) = try LogFile.make(.text)
        let followed = Followed(log.events)
        let reporter = RepeatReporter(log)
        // The window began long enough ago to be over soon.
        let begin = MonotonicClock.now - 9_900_000_000
        for _ in 0..<3 { log.tell(.limit, .warning, "x", "x", now: .init(nanoseconds: begin)) }
        // This one's is not over before the end, however long the test is kept waiting.
        let late = MonotonicClock.now + 3_600_000_000_000
        for _ in 0..<2 { log.tell(.refused, .warning, "y", "y", now: .init(nanoseconds: late)) }
        let bound = ContinuousClock.now + .seconds(120)
        while followed.events.count < 3, ContinuousClock.now < bound { try await Task.sleep(for: .milliseconds(10)) }
        #expect(followed.messages.prefix(2) == ["x", "y"])
        #expect(followed.messages.last?.contains(/^x \(repeated 2 times in \d+ s\)$/) == true, "\(followed.messages)")
        reporter.stop()
        #expect(followed.messages.count == 4 && followed.messages.last?.hasPrefix("y (repeated once in ") == true)
        reporter.stop()
        #expect(followed.messages.count == 4)
    }
}
