import Glibc
import LinuxIO
import TestSupport
import Testing

@Suite struct `The journal` {
    @Test func `an entry is one line a field, and what spans lines has its length before it`() throws {
        var entry = JournalEntry()
        entry.add("MESSAGE", "a=b")
        #expect(entry.bytes == Array("MESSAGE=a=b\n".utf8))
        entry.add("NEXT", "a\nMESSAGE=forged")
        #expect(
            entry.bytes == Array("MESSAGE=a=b\nNEXT\n".utf8) + [16, 0, 0, 0, 0, 0, 0, 0]
                + Array("a\nMESSAGE=forged\n".utf8))
        #expect(try journalFields(entry.bytes) == ["MESSAGE": ["a=b"], "NEXT": ["a\nMESSAGE=forged"]])
    }

    @Test(arguments: [
        ("culvert_tunnel", "CULVERT_TUNNEL"), ("path-mtu x", "PATH_MTU_X"), ("_trusted", "TRUSTED"), ("9a", "A"),
        (String(repeating: "x", count: 99), String(repeating: "X", count: 64)), ("ä", nil), ("=\n", nil), ("", nil),
    ])
    func `names have the form that the journal demands`(_ name: String, _ expected: String?) throws {
        var entry = JournalEntry()
        entry.add(name, "1")
        #expect(try journalFields(entry.bytes) == (expected.map { [$0: ["1"]] } ?? [:]))
    }

    @Test func `a value that is too long is cut between characters`() throws {
        var entry = JournalEntry()
        entry.add("MESSAGE", "x" + String(repeating: "ä", count: 20_000))
        let value = try #require(try journalFields(entry.bytes)["MESSAGE"]?.first)
        #expect(value == "x" + String(repeating: "ä", count: 8191))
    }

    @Test func `entries arrive, a full journal loses them without a wait, and one that is gone refuses`() throws {
        let path = "/tmp/culvert-journal-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        let sender = try #require(JournalSocket(path: path))
        var entry = JournalEntry()
        entry.add("MESSAGE", "hello")
        guard case .refused = sender.send(entry) else { throw TimedOut(arrived: 1) }

        let journal = try UnixReceiver(path)
        var sent = 0
        while case .sent = sender.send(entry), sent < 1_000_000 { sent += 1 }
        #expect(sent > 0 && sent < 1_000_000)
        guard case .busy = sender.send(entry) else { throw TimedOut(arrived: sent) }
        for _ in 0..<sent { #expect(journal.takeBytes() == entry.bytes) }
        guard case .sent = sender.send(entry) else { throw TimedOut(arrived: 0) }
    }

    @Test func `the identity of a file is its device and inode`() throws {
        let path = "/tmp/culvert-line-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        let file = try LineFile(appendingTo: path)
        defer { unsafe unlink(path) }
        var status = stat()
        #expect(unsafe stat(path, &status) == 0)
        #expect(file.identity == "\(status.st_dev):\(status.st_ino)")
    }
}
