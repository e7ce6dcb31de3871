import Logging
import Synchronization
import Testing

@testable import Daemon

@Suite struct `Log levels` {
    @Test func `details below the level are left out, and their words are not even made`() throws {
        let (log, file) = try LogFile.make(.text, .warning)
        let made = Atomic<Int>(0)
        func text(_ words: String) -> String {
            made.add(1, ordering: .relaxed)
            return words
        }
        log.write(.debug, text("one"), ["a": text("two")])
        log.of(tunnel: "t").tell(.expired, .debug, "x", text("three"), ["a": text("four")])
        #expect(file.lines == [])
        #expect(made.load(ordering: .relaxed) == 0)
        log.write(.warning, text("five"))
        #expect(file.lines.count == 1 && made.load(ordering: .relaxed) == 1)
        // What is of use to anybody is made for the stream even where the log is silent.
        log.write(.info, text("six"))
        #expect(file.lines.count == 1 && made.load(ordering: .relaxed) == 2)
    }

    @Test func `every level passes itself and what is graver`() throws {
        for (index, level) in LogLevel.allCases.enumerated() {
            let (log, file) = try LogFile.make(.text, level)
            for other in LogLevel.allCases { log.write(other, "x") }
            #expect(file.lines.count == LogLevel.allCases.count - index)
            #expect(log.level == level)
        }
    }

    @Test func `a change is seen by copies that were made before`() throws {
        let (log, file) = try LogFile.make(.text, .info)
        let tunnel = log.of(tunnel: "t")
        tunnel.write(.debug, "one")
        log.setLevel(.debug)
        tunnel.write(.debug, "two")
        log.setLevel(.error)
        tunnel.write(.warning, "three")
        #expect(file.messages == ["notice log level is now debug", "debug t: two"])
    }

    @Test func `a tunnel has a level of its own until it is taken away`() throws {
        let (log, file) = try LogFile.make(.text, .warning)
        let one = log.of(tunnel: "one")
        let two = log.of(tunnel: "two")
        #expect(log.setLevel(.debug, tunnel: "one"))
        one.write(.debug, "a")
        two.write(.debug, "b")
        log.write(.debug, "c")
        #expect(log.levelsOfTunnels == ["one": .debug])
        log.setLevel(.error)
        one.write(.debug, "d")
        two.write(.warning, "e")
        #expect(log.setLevel(nil, tunnel: "one"))
        one.write(.warning, "f")
        #expect(log.levelsOfTunnels == [:])
        #expect(file.messages == ["notice one: log level is now debug", "debug one: a", "debug one: d"])
    }

    @Test func `a tunnel that does not exist is not made by its level`() throws {
        let (log, _) = try LogFile.make(.text, .warning)
        #expect(!log.setLevel(.debug, tunnel: "nobody"))
        #expect(log.levelsOfTunnels == [:])
    }

    @Test func `a configuration sets all levels anew and forgets other tunnels`() throws {
        let (log, file) = try LogFile.make(.text, .warning)
        let tunnel = log.of(tunnel: "one")
        #expect(log.setLevel(.debug, tunnel: "one"))
        log.configure(.info, tunnels: ["one": nil, "two": .trace])
        #expect(log.level == .info && log.levelsOfTunnels == ["two": .trace])
        tunnel.write(.debug, "a")
        log.of(tunnel: "two").write(.trace, "b")
        log.configure(.info, tunnels: [:])
        #expect(!log.setLevel(.debug, tunnel: "two"))
        #expect(file.messages == ["notice one: log level is now debug", "trace two: b"])
    }

    @Test func `tunnels that share an association tell what one of them wants to see`() throws {
        let (log, file) = try LogFile.make(.text, .warning)
        let group = log.of(tunnels: ["one", "two"])
        group.write(.debug, "a")
        #expect(log.setLevel(.debug, tunnel: "two"))
        group.write(.debug, "b")
        #expect(log.setLevel(.error, tunnel: "two"))
        group.write(.warning, "c")
        #expect(
            file.messages == ["notice two: log level is now debug", "debug one, two: b", "warning one, two: c"])
    }
}
