// What the commands say, as functions from values to lines: widths, figures, tables and the report of `culvert status`.

import Control
import Foundation
import Testing

@testable import culvert

let pipe = TextStyle(columns: nil, isColoured: false, isUnicode: true)
let narrow = TextStyle(columns: 80, isColoured: false, isUnicode: true)
let ascii = TextStyle(columns: 80, isColoured: false, isUnicode: false)

/// The words of lines.
func words(_ lines: [StyledLine], _ style: TextStyle) -> String {
    lines.map { $0.text(style) }.joined(separator: "\n")
}

@Suite struct TextWidthTests {
    @Test(arguments: [
        ("", 0), ("abc", 3), ("äöü", 3), ("a\u{308}", 1), ("日本語", 6), ("한국어", 6), ("🙂", 2), ("…→", 2), ("▁▇", 2),
    ])
    func `text takes as many columns as a terminal gives it`(text: String, columns: Int) {
        #expect(text.columns == columns)
    }

    @Test func `long text is cut in the middle`() {
        #expect("collector.example.net".shortened(to: 11, mark: "…") == "colle…e.net")
        #expect("collector.example.net".shortened(to: 11, mark: "...") == "coll....net")
        #expect("short".shortened(to: 5, mark: "…") == "short")
        #expect("short".shortened(to: 1, mark: "…") == "s")
        #expect("short".shortened(to: 0, mark: "…") == "")
        #expect("日本語日本語".shortened(to: 8, mark: "…").columns <= 8)
    }

    @Test(arguments: 0..<60)
    func `whatever is shortened fits`(limit: Int) {
        for text in ["日本語 and a\u{308}bc 🙂 more of it, much more than fits in it", "plain words"] {
            for mark in ["…", "..."] { #expect(text.shortened(to: limit, mark: mark).columns <= limit) }
        }
    }

    @Test func `nothing that a terminal would obey is left in a name`() {
        #expect("CN=\u{1b}[2J\u{7}x\u{202e}y\u{200b}z\r\n".printable(isUnicode: true) == "CN=?[2J?x?y?z??")
        #expect("CN=Müller".printable(isUnicode: true) == "CN=Müller")
        #expect("CN=Müller".printable(isUnicode: false) == "CN=M?ller")
        for value in UInt32(0)..<0x3000 {
            guard let scalar = Unicode.Scalar(value) else { continue }
            let shown = String(Character(scalar)).printable(isUnicode: true)
            #expect(!shown.unicodeScalars.contains { $0.value < 0x20 || 0x7f...0x9f ~= $0.value })
        }
    }
}

@Suite struct FiguresTests {
    @Test func `counts are short and have three digits at least`() {
        let cases: [(UInt64, String)] = [
            (0, "0"), (9_999, "9999"), (10_000, "10.0k"), (99_950, "100k"), (999_499, "999k"), (999_600, "1.00M"),
            (1_845_020, "1.85M"), (.max, "18.4E"),
        ]
        for (value, text) in cases { #expect(Figures.count(value) == text) }
    }

    @Test func `bytes have binary units`() {
        let cases: [(UInt64, String)] = [
            (0, "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (402_214_000, "384 MiB"), (.max, "16.0 EiB"),
        ]
        for (value, text) in cases { #expect(Figures.bytes(value) == text) }
    }

    @Test func `times say what matters`() {
        #expect(Figures.milliseconds(0.423) == "0.42 ms" && Figures.milliseconds(12.44) == "12.4 ms")
        #expect(Figures.milliseconds(312.4) == "312 ms" && Figures.milliseconds(1_250) == "1.25 s")
        #expect(Figures.milliseconds(-1) == "?" && Figures.milliseconds(.nan) == "?")
        let durations: [(Double, String)] = [
            (0, "0 s"), (-5, "0 s"), (59.9, "59 s"), (60, "1 min"), (303, "5 min 3 s"), (11_040, "3 h 4 min"),
            (86_400, "1 d"), (273_900, "3 d 4 h"), (.infinity, "?"), (1e300, "11574074074 d 1 h"),
        ]
        for (seconds, text) in durations { #expect(Figures.duration(seconds) == text) }
        #expect(Figures.instant(Date(timeIntervalSince1970: 1_790_000_000)) == "2026-09-21 14:13:20Z")
    }

    @Test func `rates are readable from a trickle to a flood`() {
        let cases: [(Double, String)] = [
            (0, "0"), (-1, "0"), (.nan, "0"), (0.01, "<0.1"), (0.3, "0.3"), (9.96, "10"), (812.4, "812"),
            (12_345, "12.3k"), (1e30, "1.00E"),
        ]
        for (value, text) in cases { #expect(Figures.rate(value) == text) }
    }
}

@Suite struct SparklineTests {
    @Test func `the greatest value is the measure, and anything above nothing is seen`() {
        #expect(Sparkline.text([0, 1, 50, 100], width: 6, narrow) == "  ▁▂▅█")
        #expect(Sparkline.text([0, 0, nil, 0], width: 4, narrow) == "▁▁ ▁")
        #expect(Sparkline.text([], width: 3, narrow) == "   ")
        #expect(Sparkline.text([9, 9, 1, 2, 4], width: 3, ascii) == "-=#")
    }
}

@Suite struct TableTests {
    private var table: Table {
        var table = Table([
            .init("NAME", least: 8), .init("COUNT", isNumeric: true), .init("EXTRA", rank: 1), .init("MORE", rank: 2),
        ])
        table.add([.init("short"), .init("7"), .init("extra"), .init(nil)])
        table.add([.init("a name of many words"), .init("1234567"), .init("e", .bad), .init("more")])
        return table
    }

    @Test func `numbers end below each other, and a missing value is a dash`() {
        #expect(
            words(table.lines(pipe), pipe) == """
                NAME                    COUNT  EXTRA  MORE
                short                       7  extra  -
                a name of many words  1234567  e      more
                """)
    }

    @Test func `where room is short, what matters least goes first, and then texts are cut`() {
        func at(_ columns: Int) -> String {
            let style = TextStyle(columns: columns, isColoured: false, isUnicode: true)
            return words(table.lines(style), style)
        }
        #expect(at(42) == words(table.lines(pipe), pipe))
        #expect(at(30).hasPrefix("NAME        COUNT  EXTRA  MORE\n"))
        #expect(at(29).hasPrefix("NAME             COUNT  EXTRA\n"))
        #expect(at(24) == "NAME        COUNT  EXTRA\nshort           7  extra\na na…rds  1234567  e")
        #expect(at(17) == "NAME        COUNT\nshort           7\na na…rds  1234567")
        #expect(at(10) == "NAME\nshort\na na…rds")
    }

    @Test(arguments: [1, 5, 17, 20, 24, 29, 36, 41, 42, 79, 80])
    func `no line is wider than the terminal`(columns: Int) {
        for isUnicode in [true, false] {
            let style = TextStyle(columns: columns, isColoured: false, isUnicode: isUnicode)
            #expect(table.lines(style).allSatisfy { $0.text(style).columns <= columns })
        }
    }

    @Test func `colours change nothing but colours`() {
        let coloured = TextStyle(columns: 80, isColoured: true, isUnicode: true)
        let lines = table.lines(coloured)
        #expect(lines[2].text(coloured).contains("\u{1b}[1;31me"))
        #expect(words(lines, narrow) == words(table.lines(narrow), narrow))
    }
}

@Suite struct StyleTests {
    @Test func `colours are for terminals that want them`() {
        #expect(TextStyle.knowsColours { ["TERM": "xterm"][$0] })
        #expect(!TextStyle.knowsColours { ["TERM": "xterm", "NO_COLOR": "1"][$0] })
        #expect(!TextStyle.knowsColours { ["TERM": "dumb"][$0] })
        #expect(!TextStyle.knowsColours { _ in nil })
    }

    @Test func `the first variable of the locale that is set decides about Unicode`() {
        #expect(TextStyle.isUnicode { ["LANG": "de_DE.UTF-8"][$0] })
        #expect(TextStyle.isUnicode { ["LANG": "C", "LC_ALL": "C.utf8"][$0] })
        #expect(TextStyle.isUnicode { ["LANG": "ca_ES.UTF-8@valencia"][$0] })
        #expect(!TextStyle.isUnicode { ["LANG": "C.UTF-8", "LC_ALL": "POSIX"][$0] })
        #expect(!TextStyle.isUnicode { ["LANG": "de_DE.ISO-8859-1"][$0] })
        #expect(!TextStyle.isUnicode { _ in nil })
    }
}

@Suite struct StatusReportTests {
    private let now = Date(timeIntervalSince1970: 1_790_000_000)

    private func report(_ change: (inout DaemonFacts) -> Void = { _ in }) -> StatusReport {
        var facts = DaemonFacts.ordinary(now: now)
        change(&facts)
        return StatusReport(status: facts.status, tunnels: facts.tunnels, now: now)
    }

    @Test func `the first lines say whether it is encrypted, with what, to whom`() {
        let report = report { facts in
            facts.status.tunnels.removeLast()
            facts.tunnels.removeLast()
        }
        let lines = report.lines(pipe).map { $0.text(pipe) }
        #expect(
            lines[0]
                == "syslog  up  udp 127.0.0.1:5514 → dtls collector.example.net:6514  encrypted: DTLS 1.2, ECDHE-ECDSA-AES128-GCM-SHA256, peer DNS:collector.example.net, shared"
        )
        #expect(
            lines[1]
                == "radius  up  dtls [::]:2083 → udp 127.0.0.1:1812                   encrypted: DTLS 1.2, ECDHE-ECDSA-AES256-GCM-SHA384, 2 peers CN=branch-7, CN=branch-9"
        )
        #expect(lines[2] == "" && lines[3].hasPrefix("culvert 1.2.3, pid 4242, up 3 d 4 h, 4 associations, 2 flows"))
    }

    @Test func `on a terminal of 80 columns each tunnel has a line for its path and one for its protection`() {
        #expect(
            words(report().lines(narrow), narrow) == """
                ATTENTION: 1 of 3 tunnels: coap
                syslog  up    udp 127.0.0.1:5514 → dtls collector.example.net:6514
                        encrypted: DTLS 1.2, ECDHE-ECDSA-AES128-GCM-SHA256,
                        peer DNS:collector.example.net, shared
                radius  up    dtls [::]:2083 → udp 127.0.0.1:1812
                        encrypted: DTLS 1.2, ECDHE-ECDSA-AES256-GCM-SHA384, 2 peers CN=branch-7,
                        CN=branch-9
                coap    DOWN  udp [::1]:5683 → dtls 198.51.100.40:5684
                        ! nothing passes: 198.51.100.40:5684 has not answered yet: check that it
                          runs, its address and port, the firewalls between, and a pre-shared
                          key at both ends (for 4 minutes)
                        ! the certificate CN=edge-7 expires in 5 days, on 2026-09-27

                culvert 1.2.3, pid 4242, up 3 d 4 h, 4 associations, 2 flows, 2 workers,
                    23.4 MiB, OpenSSL 3.0.17, log level info, /etc/culvert/culvert.toml
                """)
    }

    @Test(arguments: [20, 40, 60, 80, 100, 132, 200])
    func `no line is wider than the terminal`(columns: Int) {
        for isUnicode in [true, false] {
            let style = TextStyle(columns: columns, isColoured: false, isUnicode: isUnicode)
            for line in report().lines(style) { #expect(line.text(style).columns <= columns, "\(line.plain)") }
        }
    }

    @Test func `without Unicode there is ASCII only`() {
        let text = words(report { $0.status.tunnels[0].peerIdentities = ["CN=Müller"] }.lines(ascii), ascii)
        #expect(text.utf8.allSatisfy { $0 < 0x80 })
        #expect(text.contains("udp 127.0.0.1:5514 -> dtls collector") && text.contains("CN=M?ller"))
    }

    @Test func `a peer's name cannot take over the terminal`() {
        let coloured = TextStyle(columns: nil, isColoured: false, isUnicode: true)
        let hostile = "CN=\u{1b}]0;taken\u{7}\u{1b}[2J\n\u{9b}31m"
        let report = report { facts in
            facts.status.tunnels[0].peerIdentities = [hostile]
            facts.status.tunnels[2].problem = hostile
            facts.status.tunnels[1].name = hostile
            facts.tunnels[2].certificate?.subject = hostile
        }
        for line in report.lines(coloured) {
            #expect(line.text(coloured).unicodeScalars.allSatisfy { $0.value >= 0x20 && !(0x7f...0x9f ~= $0.value) })
        }
    }

    @Test func `a peer with several associations is one peer`() {
        let report = report { facts in
            facts.status.tunnels[0].peers = 2
            facts.status.tunnels[1].peers = 500
        }
        let text = words(report.lines(pipe), pipe)
        #expect(text.contains(", peer DNS:collector.example.net, shared\n"), "\(text)")
        #expect(text.contains(", 2 peers CN=branch-7, CN=branch-9\n"), "\(text)")
    }

    @Test func `many peers are counted, and some are named`() {
        let report = report { facts in
            facts.status.tunnels[1].peers = 1_200
            facts.status.tunnels[1].peerIdentities = (1...8).map { "CN=branch-\($0)" }
        }
        let text = words(report.lines(pipe), pipe)
        #expect(text.contains("1200 peers CN=branch-1, CN=branch-2") && text.contains("CN=branch-8, 1192 more"))
    }

    @Test func `what is wrong is said, the gravest as such`() {
        let now = now
        var report = report { facts in
            facts.status.draining = true
            facts.tunnels[0].serviceRefused = .init(
                reason: "unknown_service", message: "there is no service 'syslog'", since: now - 90)
            facts.tunnels[1].certificate = .init(subject: "CN=radius", notAfter: now - 5)
        }
        report.drops = ["radius": ["queue_full": 30, "replayed": 2]]
        report.seconds = 0.5
        let text = words(report.lines(pipe), pipe)
        #expect(text.hasPrefix("ATTENTION: 3 of 3 tunnels: syslog, radius, coap\nDRAINING: "))
        #expect(
            text.contains(
                "! the peer has refused the service 'syslog' for 1 min 30 s: there is no service 'syslog'"
            ))
        #expect(text.contains("! the certificate CN=radius has expired on 2026-09-21"))
        #expect(text.contains("! dropping 64/s now: mostly queue_full"))
    }

    @Test(arguments: [true, false])
    func `a service that the peer refuses is said once, with for how long`(isDown: Bool) {
        let now = now
        let report = report { facts in
            facts.status.tunnels[0].state = isDown ? .down : .up
            facts.status.tunnels[0].problem = "the peer does not give the service 'syslog': unknown service"
            facts.tunnels[0].serviceRefused = .init(
                reason: "unknown_service", message: "unknown service", since: now - 90)
        }
        let warnings = report.lines(pipe).map { words([$0], pipe) }.filter { $0.contains("service") }
        let sentence = "the peer has refused the service 'syslog' for 1 min 30 s: unknown service"
        #expect(
            warnings.map { $0.trimmingCharacters(in: .whitespaces) } == [
                "! \(isDown ? "nothing passes: " : "")\(sentence)"
            ])
    }

    @Test func `a tunnel that nobody has used says so without alarm`() {
        let report = report { facts in
            for index in facts.status.tunnels.indices {
                facts.status.tunnels[index].state = .idle
                facts.status.tunnels[index].protocols = []
                facts.status.tunnels[index].peers = 0
                facts.status.tunnels[index].problem = nil
            }
            facts.tunnels[2].certificate = nil
        }
        let text = words(report.lines(pipe), pipe)
        #expect(text.contains("idle: the first datagram begins an association"))
        #expect(text.contains("idle: no client has called") && !text.contains("ATTENTION"))
    }

    @Test func `drops are what has been added since, also after a restart`() {
        #expect(TunnelWarnings.growth(of: ["a": 5, "b": 2, "c": 1], since: ["a": 3, "b": 2]) == ["a": 2, "c": 1])
        #expect(TunnelWarnings.growth(of: ["a": 1], since: ["a": 3]) == [:])
    }
}

@Suite struct StatusTableTests {
    private let facts = DaemonFacts.ordinary()

    @Test func `tables of ordinary values fit 80 columns and lose nothing in a pipe`() {
        let tables = [
            StatusTables.tunnels(facts.tunnels), StatusTables.associations(facts.associations, now: Date()),
            StatusTables.flows(facts.flows),
        ]
        for table in tables {
            #expect(table.lines(narrow).allSatisfy { $0.text(narrow).columns <= 80 })
            let header = table.lines(pipe)[0].text(pipe).split(separator: "  ").count
            #expect(header == table.columns.count)
            for row in table.lines(pipe).dropFirst() {
                #expect(!row.text(pipe).contains("…") && row.text(pipe).split(separator: "  ").count == header)
            }
        }
    }
}
