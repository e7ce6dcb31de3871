import Foundation
import LinuxIO
import TestSupport
import Testing

@testable import Daemon

@Suite struct `Log forms` {
    private func line(
        _ level: LogLevel = .warning, _ tunnels: [String] = ["syslog"], _ message: String = "it is so",
        _ fields: [String: String] = ["peer": "192.0.2.1:6514"]
    ) -> LogLine { LogLine(level: level, tunnels: tunnels, message: message, fields: fields) }

    @Test func `text has the time, the level and the tunnel in front`() {
        #expect(line().text.contains(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z warning syslog: it is so$/))
        #expect(line(.info, []).text.hasSuffix("Z info it is so"))
        #expect(line(.info, ["a", "b"]).text.hasSuffix("Z info a, b: it is so"))
    }

    @Test(arguments: [
        (LogLevel.trace, 7), (.debug, 7), (.info, 6), (.notice, 5), (.warning, 4), (.error, 3), (.critical, 2),
    ])
    func `the journal gets syslog's priorities`(_ level: LogLevel, _ priority: Int) throws {
        #expect(line(level).prioritized == "<\(priority)>syslog: it is so")
        #expect(try journalFields(line(level).journalEntry.bytes)["PRIORITY"] == ["\(priority)"])
    }

    @Test func `an entry of the journal has a field for everything, and for each of several tunnels`() throws {
        let entry = try journalFields(line(.warning, ["syslog", "radius"]).journalEntry.bytes)
        #expect(
            entry == [
                "MESSAGE": ["syslog, radius: it is so"], "PRIORITY": ["4"], "SYSLOG_IDENTIFIER": ["culvert"],
                "CULVERT_TUNNEL": ["syslog", "radius"], "CULVERT_PEER": ["192.0.2.1:6514"],
            ])
    }

    @Test func `JSON has the fields beside the line, and all tunnels where there are several`() throws {
        func object(_ line: LogLine) throws -> [String: Any] {
            try #require(try JSONSerialization.jsonObject(with: Data(line.json.utf8)) as? [String: Any])
        }
        let one = try object(line())
        #expect(one["message"] as? String == "it is so" && one["level"] as? String == "warning")
        #expect(one["tunnel"] as? String == "syslog" && one["tunnels"] == nil)
        #expect(one["peer"] as? String == "192.0.2.1:6514" && (one["time"] as? String)?.hasSuffix("Z") == true)
        let two = try object(line(.info, ["a", "b"], "x", ["message": "forged"]))
        #expect(two["tunnel"] as? String == "a" && two["tunnels"] as? [String] == ["a", "b"])
        #expect(two["message"] as? String == "x")
        #expect(try object(line(.info, []))["tunnel"] == nil)
    }

    @Test(arguments: ["a\nb", "a\r\nMESSAGE=x", "\u{1B}[31mred", "\0", "\u{9B}31m", "\u{7F}"])
    func `what a peer calls itself breaks no line and colours no terminal`(_ hostile: String) throws {
        let line = line(.info, ["t"], hostile, ["identity": hostile])
        let entry = try journalFields(line.journalEntry.bytes)
        #expect(entry["CULVERT_IDENTITY"] == [hostile])
        for text in try [line.text, line.prioritized, line.json, #require(entry["MESSAGE"]?.first)] {
            #expect(text.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control }, "\(text)")
        }
    }

    @Test func `the journal's form is chosen where standard error leads to it, and only there`() throws {
        let directory = try TemporaryDirectory()
        let file = try LineFile(appendingTo: directory("log"))
        let identity = try #require(file.identity)
        #expect(LogForm.automatic(journalStream: identity, file) == .journal)
        #expect(LogForm.automatic(journalStream: "8:12345", file) == .text)
        #expect(LogForm.automatic(journalStream: "", file) == .text)
        #expect(LogForm.automatic(journalStream: nil, file) == .text)
    }
}

@Suite struct `Lines to the journal` {
    @Test func `entries go to the journal's socket, and to standard error with a prefix while there is none`() throws {
        let directory = try TemporaryDirectory()
        let (log, file) = try LogFile.make(.journal, journalPath: directory("socket"))
        log.write(.warning, "one")
        #expect(file.lines == ["<4>one"])
        do {
            let journal = try UnixReceiver(directory("socket"))
            log.of(tunnel: "syslog").tell(
                .established, .info, "x", "two", ["peer": "192.0.2.1:6514", "identity": "CN=a\nb"])
            let entry = try #require(try journal.takeEntry())
            #expect(
                entry == [
                    "MESSAGE": ["syslog: two"], "PRIORITY": ["6"], "SYSLOG_IDENTIFIER": ["culvert"],
                    "CULVERT_TUNNEL": ["syslog"], "CULVERT_PEER": ["192.0.2.1:6514"],
                    "CULVERT_IDENTITY": ["CN=a\nb"], "CULVERT_EVENT": ["established"],
                ])
            #expect(try journal.takeEntry() == nil)
        }
        log.write(.notice, "three")
        #expect(file.lines == ["<4>one", "<5>three"])
        let again = try UnixReceiver(directory("socket"))
        log.write(.notice, "four")
        #expect(try again.takeEntry()?["MESSAGE"] == ["four"])
    }

    @Test func `a journal that does not keep up stops nobody, and is told how much it has missed`() throws {
        let directory = try TemporaryDirectory()
        let journal = try UnixReceiver(directory("socket"))
        let (log, file) = try LogFile.make(.journal, journalPath: directory("socket"))
        let count = 5_000
        for number in 0..<count { log.write(.info, "\(number) " + String(repeating: "x", count: 500)) }
        var arrived = 0
        while try journal.takeEntry() != nil { arrived += 1 }
        #expect(arrived > 0 && arrived < count)
        log.write(.info, "after")
        #expect(try journal.takeEntry()?["MESSAGE"] == ["after"])
        #expect(
            try journal.takeEntry()?["MESSAGE"] == [
                "the journal was too busy and has not taken \(count - arrived) log lines"
            ])
        #expect(try journal.takeEntry() == nil)
        #expect(file.lines == [])
    }
}
