import DTLS
import Testing

@testable import Daemon

private func at(_ seconds: Double) -> Instant { Instant(nanoseconds: 1_000_000_000_000 + Int64(seconds * 1e9)) }

@Suite struct `Repeated lines` {
    private var throttle = LogThrottle<String>()

    /// What is told for a line: the line, with its count if it has one.
    private mutating func say(
        _ text: String, _ seconds: Double, about subject: String = "a", kind: EventKind = .handshakeFailed,
        tunnel: String = "t"
    ) -> String? {
        switch throttle.admit(kind, tunnel: tunnel, subject: subject, now: at(seconds), { text }) {
        case .tell(let line, let repetition): repetition.map { "\(line) (\($0))" } ?? line
        case .withhold: nil
        }
    }

    private mutating func due(_ seconds: Double, all: Bool = false) -> [String] {
        throttle.takeDue(now: at(seconds), all: all).map { "\($0) (\($1))" }
    }

    @Test mutating func `the first is told at once, the others are counted and told when their window is over`() {
        #expect(say("x", 0) == "x")
        #expect(throttle.deadline == nil)
        for number in 0..<41 { #expect(say("y", Double(number) / 10) == nil) }
        #expect(throttle.deadline == at(10))
        #expect(due(9.9) == [])
        #expect(throttle.deadline == at(10))
        #expect(due(10) == ["y (repeated 41 times in 10 s)"])
        #expect(throttle.deadline == nil)
    }

    @Test mutating func `while there is more the windows double, up to ten minutes`() {
        #expect(say("x", 0) == "x")
        var now = 0.0
        for window in [10.0, 20, 40, 80, 160, 320, 600, 600] {
            #expect(say("x", now + 1) == nil)
            #expect(throttle.deadline == at(now + window))
            now += window
            #expect(due(now) == ["x (repeated once in \(Int(window)) s)"])
        }
    }

    @Test mutating func `after a window without another line, the next is told at once`() {
        #expect(say("x", 0) == "x")
        #expect(say("x", 10) == "x")
        #expect(say("x", 11) == nil)
        #expect(due(20) == ["x (repeated once in 10 s)"])
        #expect(say("x", 40) == "x")
    }

    @Test mutating func `where nobody asks for what is due, the next line brings the count`() {
        #expect(say("x", 0) == "x")
        #expect(say("x", 1) == nil)
        #expect(say("y", 30) == "y (repeated 2 times in 30 s)")
        #expect(say("y", 31) == nil)
        #expect(due(50) == ["y (repeated once in 20 s)"])
    }

    @Test mutating func `another subject, kind or tunnel is another line`() {
        #expect(say("1", 0) != nil)
        #expect(say("2", 0, about: "b") != nil)
        #expect(say("3", 0, kind: .refused) != nil)
        #expect(say("4", 0, tunnel: "u") != nil)
        #expect(throttle.count == 4)
    }

    @Test mutating func `at the end all counts are told, the oldest first`() {
        for (second, subject) in ["c", "a", "b"].enumerated() {
            #expect(say(subject, Double(second), about: subject) == subject)
            #expect(say(subject, Double(second), about: subject) == nil)
        }
        #expect(
            due(5, all: true) == [
                "c (repeated once in 5 s)", "a (repeated once in 4 s)", "b (repeated once in 3 s)",
            ])
        #expect(due(5, all: true) == [])
    }

    @Test mutating func `a flood of different lines is bounded in lines and memory, and counted`() {
        let capacity = LogThrottle<String>.capacity
        var told = 0
        for peer in 0..<100_000 where say("\(peer)", 1 + Double(peer) / 50_000, about: "\(peer)") != nil { told += 1 }
        // One more stands for all that have no place of their own.
        #expect(told == capacity + 1)
        #expect(throttle.count == capacity + 1)
        // Other kinds have their own room.
        #expect(say("no", 2, kind: .refused) == "no")
        #expect(due(60) == ["\(capacity + 1) (and \(100_000 - capacity - 1) more like this in 59 s)"])
    }

    @Test mutating func `the room of what was said long ago is used again`() {
        for peer in 0..<5_000 { _ = say("\(peer)", 0, about: "\(peer)") }
        _ = due(30)
        for peer in 5_000..<6_000 { #expect(say("\(peer)", 40, about: "\(peer)") == "\(peer)") }
        #expect(throttle.count <= LogThrottle<String>.capacity + 1)
    }
}
