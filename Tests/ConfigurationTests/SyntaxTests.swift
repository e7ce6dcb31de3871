// What is wrong with a file as a text: syntax, encoding, keys and tables given twice, sizes.

import Configuration
import Testing

struct SyntaxTests {
    @Test(arguments: [
        ("[daemon]\nlog_level 5", "c.toml:2:11: error: not valid TOML: in key-value pair: expected '=', saw '5'"),
        ("[daemon\n", "c.toml:1:8: error: not valid TOML: in table header: expected ']', saw '\\n'"),
        (
            "[daemon]\nworkers = 1\nlog_level = \"info\"\nworkers = 2",
            "c.toml:4:11: error: 'workers' is given twice; the first is at c.toml:2:1"
        ),
        (
            "[daemon]\n[trust.a]\nca = \"x\"\n[daemon]",
            "c.toml:4:1: error: [daemon] is given twice; the first is at c.toml:1:2"
        ),
        ("[trust.a]\nca = \"x\"\n[trust.a]", "c.toml:3:1: error: [trust.a] is given twice; the first is at c.toml:1:8"),
        (
            "[daemon]\nlog_level = debug",
            "c.toml:2:13: error: not valid TOML: in value: could not determine value type; a string needs quotes"
        ),
    ])
    func `a mistake of syntax has its line and column`(text: String, expected: String) {
        #expect(check(text) == [expected])
    }

    @Test(arguments: [
        ("x = ä", 5), ("ä = 1", 1), ("x = 1 ä", 7), ("x =\u{a0}1", 4), ("x = 1\u{2028}y = 2", 6), ("x = 1\u{feff}", 6),
        ("[ä]", 2), ("x = [1 α]", 8), ("x = \u{85}1", 5),
    ])
    func `letters beyond ASCII and foreign spaces stand in strings and comments only`(text: String, column: Int) {
        let found = check(text)
        #expect(found.count == 1)
        #expect(found.first?.hasPrefix("c.toml:1:\(column): error: not valid TOML: ") == true, "\(found)")
    }

    @Test(arguments: [
        ("[daemon]\n[=]\nx = 1", 2, 2, "="), ("# ä\n[ä]", 2, 2, "ä"), ("[[α.b]]\n", 1, 3, "α"),
        ("\n\n[a]\n[ 😀😀]\n", 4, 3, "😀"),
    ])
    func `a table's heading that begins wrongly has its place`(text: String, line: Int, column: Int, character: String)
    {
        let found = check(text).filter { !$0.contains("unknown key") }
        #expect(found == ["c.toml:\(line):\(column): error: not valid TOML: unexpected '\(character)'"])
    }

    @Test func `letters beyond ASCII are kept in strings`() throws {
        let text =
            preamble.replacing("a.crt", with: "schlüssel α\u{a0}😀.crt")
            + "[[tunnel]] # äöü\u{2028}\nname = 'a'\nlisten = 'udp://127.0.0.1:5'\n"
            + "forward = \"\"\"\\\n  \\\n  dtls://h:6\"\"\"\n"
        let configuration = try parsed(text)
        guard case .certificate(let file, _)? = configuration.identities.first?.credential else {
            Issue.record("no certificate")
            return
        }
        #expect(file.value == "schlüssel α\u{a0}😀.crt")
        #expect(configuration.tunnels[0].forward.value.description == "dtls://h:6")
        #expect(check("[daemon]\ncontrol_socket = \"\"\"\\\nä\"\"\"\n").count == 1)
    }

    @Test func `mistakes before a mistake of syntax are reported too, but nothing is said to be missing`() {
        let text = """
            [daemon]
            wrkers = 2
            [[tunnel]]
            name = "a"
            listen = "tcp://127.0.0.1:1"
            identity = "later"
            forward =
            """
        #expect(
            check(text) == [
                "c.toml:2:1: error: unknown key 'wrkers' in [daemon]; did you mean 'workers'?",
                "c.toml:5:10: error: 'listen': unknown scheme 'tcp'; it is 'udp' or 'dtls'; culvert carries UDP only",
                "c.toml:7:10: error: not valid TOML: in key-value pair: encountered end-of-file",
            ])
    }

    @Test func `a byte order mark is accepted`() throws {
        let bytes = [0xef, 0xbb, 0xbf] + Array("[daemon]\nworker = 1".utf8)
        let (_, diagnostics) = Configuration.parse(sources: [ConfigurationSource(name: "c.toml", bytes: bytes)])
        #expect(diagnostics.first?.description.hasPrefix("c.toml: error: the configuration has no tunnel") == true)
        #expect(diagnostics.last?.location == SourceLocation(file: "c.toml", line: 2, column: 1))
    }

    @Test(
        arguments: [
            ([0xff], 1, 1), (Array("[daemon]\n# \u{e4}\u{1F600}".utf8) + [0xc3], 2, 5),
            ([0xef, 0xbb, 0xbf, 0x61, 0x80], 1, 2),
            (Array("\r\n\n".utf8) + [0xed, 0xa0, 0x80], 3, 1),
        ] as [([UInt8], Int, Int)])
    func `bytes that are not UTF-8 are pointed at`(bytes: [UInt8], line: Int, column: Int) {
        let (configuration, diagnostics) = Configuration.parse(
            sources: [ConfigurationSource(name: "c.toml", bytes: bytes)])
        #expect(configuration == nil)
        #expect(diagnostics.map(\.description) == ["c.toml:\(line):\(column): error: the file is not UTF-8"])
    }

    @Test func `hostile nesting is refused, not followed`() {
        let parts = [String](repeating: "a", count: 200_000).joined(separator: ".")
        let texts = [
            parts + " = 1", "[\(parts)]", "x = { \(parts) = 1 }", "x = " + String(repeating: "[", count: 500_000),
            "x = \"\"\"\"\"\"\n\(parts) = 1", "x = '''\n'''''\n\(parts) = 1", "x = \"\\\"#\"\n\(parts) = 1",
            "x = '#'\n[[\(parts)]]",
            String(repeating: "{a=", count: 300_000), "# \"\n\(parts) = 1", "x = \"\"\"\\\"\"\"\"\n\(parts) = 1",
        ]
        for text in texts {
            let diagnostics = check(text)
            #expect(diagnostics.contains { $0.contains("not valid TOML") }, "\(text.prefix(40))")
        }
    }

    @Test func `dots in strings and comments are no nesting`() throws {
        let dots = String(repeating: ".", count: 1000)
        let allowed = (0..<100).map { "\"10.0.\($0).0/24\"" }.joined(separator: ", ")
        let text = """
            # \(dots)
            \(preamble)
            [[tunnel]]
            name = "a" # '\(dots)
            listen = "dtls://127.0.0.1:2083"
            forward = 'udp://127.0.0.1:1812'
            allow_peers = ["CN:\(dots)", 'CN:"\(dots)', "CN:\\"\(dots)"]
            allow_from = [\(allowed)]
            """
        #expect(try parsed(text).tunnels[0].access.sources.count == 100)
    }

    @Test func `a text beyond 1 MiB is refused`() {
        let text = String(repeating: "#", count: (1 << 20) + 1)
        #expect(check(text) == ["c.toml: error: not valid TOML: the text is longer than 1 MiB"])
    }

    @Test func `what a file says cannot move the cursor of a terminal`() {
        let diagnostics = check("\"\\u001b[31m\\u202e\" = 1\n[[tunnel]]\nname = \"\\u0007\"\n")
        #expect(diagnostics[0] == #"c.toml:1:1: error: unknown key '\u{1b}[31m\u{202e}' at the top level"#)
        let long = String(repeating: "x", count: 5000)
        #expect(check("\(long) = 1").allSatisfy { $0.utf8.count < 300 })
        #expect(
            check("[identity.\"a\\nb\"]\ncertificate = 1\n").contains { $0.contains(#"'a\u{a}b' cannot be the name"#) })
    }
}
