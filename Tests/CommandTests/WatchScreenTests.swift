// The live screen as a function from samples and keys to lines; and the keys themselves.

import Control
import Foundation
import Testing

@testable import culvert

private let size = WatchScreen.Size(columns: 80, rows: 24)
private let date = Date(timeIntervalSince1970: 1_790_000_000)

/// The ordinary day, `seconds` later than its beginning; `change` alters it.
private func sample(_ seconds: Double, _ change: (inout DaemonFacts) -> Void = { _ in }) -> WatchScreen.Sample {
    var facts = DaemonFacts.ordinary(now: date)
    change(&facts)
    return WatchScreen.Sample(
        status: facts.status, tunnels: facts.tunnels,
        associations: Page(items: facts.associations, total: facts.associations.count), date: date + seconds,
        seconds: seconds)
}

private func texts(
    _ screen: WatchScreen, _ size: WatchScreen.Size = size, _ style: TextStyle = narrow, at seconds: Double
) -> [String] {
    screen.lines(size, style, at: seconds).map { $0.text(style) }
}

@Suite struct WatchScreenTests {
    @Test func `80 by 24 characters show everything that matters`() {
        var screen = WatchScreen()
        screen.add(sample(0))
        screen.add(
            sample(1) { facts in
                facts.tunnels[0].datagrams.out += 1_200
                facts.tunnels[0].bytes.out += 262_144
                facts.associations[0].datagrams.out += 1_200
                facts.tunnels[1].dropped = ["queue_full": 3]
            })
        #expect(
            texts(screen, at: 1) == [
                "culvert 1.2.3  up 3 d 4 h  4 associations  2 flows  23.4 MiB           14:13:21Z",
                "2 tunnels up, 1 tunnel DOWN   in 0 B/s, out 256 KiB/s",
                "! radius: dropping 3.0/s now: queue_full",
                "! coap: nothing passes: 198.51.100.40:5684 has not answered yet: check that it r",
                "! coap: the certificate CN=edge-7 expires in 5 days, on 2026-09-27",
                "",
                "NAME    STATE  PEERS  FLOWS  IN/s  OUT/s  DROPS/s  HISTORY",
                "syslog  up         1      2     0   1200        0                     █",
                "radius  up         2      2     0      0      3.0                     ▁",
                "coap    DOWN       0      1     0      0        0                     ▁",
                "associations 1 to 4 of 4, by rate",
                "TUNNEL  PEER                   IDENTITY                   RTT   MTU  IN/s  OUT/s",
                "syslog  192.0.2.7:6514         DNS:collec…xample.net  13.6 ms  1500     0   1200",
                "coap    198.51.100.40:5684     -                            -     -     0      0",
                "radius  203.0.113.77:40112     CN=branch-7            35.0 ms  1420     0      0",
                "radius  [2001:db8:9::2]:40000  CN=branch-9            0.46 ms  1280     0      0",
                "", "", "", "", "", "", "",
                "q quit  ↑↓ scroll  sort: r rate t tunnel p peer l round trip m MTU d drops",
            ])
    }

    @Test(arguments: [1, 2, 5, 8, 12, 24, 60], [1, 10, 40, 79, 80, 132, 250])
    func `the screen has the terminal's size, whatever there is to show`(rows: Int, columns: Int) {
        var screen = WatchScreen()
        let size = WatchScreen.Size(columns: columns, rows: rows)
        for step in 0..<3 {
            for style in [narrow, ascii] {
                let lines = texts(screen, size, style, at: 10)
                #expect(lines.count == rows && lines.allSatisfy { $0.columns <= columns })
                #expect(style.isUnicode || lines.allSatisfy { $0.utf8.allSatisfy { $0 < 0x80 } })
            }
            screen.add(
                sample(Double(step)) { facts in
                    let hostile = "CN=\u{1b}[2J日本語日本語日本語\n"
                    facts.associations[0].peerIdentity = hostile
                    facts.tunnels[0].name = hostile
                    facts.status.tunnels[0].problem = hostile
                    facts.status.version = hostile
                    if step > 1 {
                        facts.tunnels = (0..<70).map { number in
                            var tunnel = facts.tunnels[number % 3]
                            tunnel.name = "tunnel-\(number)"
                            return tunnel
                        }
                        facts.status.tunnels = (0..<70).map { number in
                            var tunnel = facts.status.tunnels[number % 3]
                            tunnel.name = "tunnel-\(number)"
                            return tunnel
                        }
                    }
                })
        }
    }

    @Test func `many tunnels leave room for associations, and are counted`() {
        var screen = WatchScreen()
        screen.add(
            sample(0) { facts in
                facts.tunnels = (0..<40).map { number in
                    var tunnel = facts.tunnels[0]
                    tunnel.name = "tunnel-\(number)"
                    return tunnel
                }
            })
        let lines = texts(screen, at: 0)
        #expect(lines.contains { $0.hasSuffix(" more: culvert tunnels") })
        #expect(lines.contains { $0.hasPrefix("associations 1 to 4 of 4") })
    }

    @Test func `keys sort, and the same key again reverses`() {
        var screen = WatchScreen()
        screen.add(sample(0))
        func peers() -> [String] {
            texts(screen, at: 0).drop { !$0.hasPrefix("TUNNEL") }.dropFirst().prefix(4).map { line in
                String(line.split(separator: " ")[1])
            }
        }
        let coap = "198.51.100.40:5684"
        let branch7 = "203.0.113.77:40112"
        let branch9 = "[2001:db8:9::2]:40000"
        let syslog = "192.0.2.7:6514"
        let orders: [(Character, [String])] = [
            ("l", [branch7, syslog, branch9, coap]), ("l", [branch9, syslog, branch7, coap]),
            ("m", [branch9, branch7, syslog, coap]), ("d", [branch9, coap, branch7, syslog]),
            ("t", [coap, branch7, branch9, syslog]), ("t", [syslog, branch7, branch9, coap]),
            ("p", [coap, branch7, branch9, syslog]), ("x", [coap, branch7, branch9, syslog]),
        ]
        for (key, order) in orders {
            let goesOn = screen.press(.character(key), size, narrow)
            #expect(goesOn && peers() == order, "\(key)")
        }
        for key in [Key.character("q"), .character("Q"), .interrupt] {
            let goesOn = screen.press(key, size, narrow)
            #expect(!goesOn)
        }
    }

    @Test func `a long list is scrolled within its bounds`() {
        var screen = WatchScreen()
        screen.add(
            sample(0) { facts in
                facts.associations = (100..<150).map { number in
                    var one = facts.associations[0]
                    one.id = "syslog-0-0-\(number)"
                    one.peerAddress = "192.0.2.\(number):6514"
                    return one
                }
            })
        func heading() -> String { texts(screen, at: 0).first { $0.hasPrefix("associations") } ?? "" }
        let steps: [(Key, String)] = [
            (.up, "1 to 12"), (.down, "2 to 13"), (.pageDown, "14 to 25"), (.end, "39 to 50"), (.down, "39 to 50"),
            (.pageUp, "27 to 38"), (.home, "1 to 12"), (.character("j"), "2 to 13"), (.character("k"), "1 to 12"),
            (.character(" "), "13 to 24"),
        ]
        for (key, range) in steps {
            _ = screen.press(key, size, narrow)
            #expect(heading() == "associations \(range) of 50, by rate", "\(key)")
        }
        // What is scrolled to may go away.
        _ = screen.press(.end, size, narrow)
        screen.add(sample(1))
        #expect(heading() == "associations 1 to 4 of 4, by rate")
    }

    @Test func `a list that is not whole says so`() {
        var screen = WatchScreen()
        var many = sample(0)
        many.associations.total = 50_000
        screen.add(many)
        #expect(texts(screen, at: 0).contains("associations 1 to 4 of 4, the first of 50000, by rate"))
    }

    @Test func `a daemon that does not answer, and one that was restarted, are noticed`() {
        var screen = WatchScreen()
        screen.add(sample(0))
        screen.add(sample(1))
        #expect(texts(screen, at: 5)[0] == "culvert 1.2.3  no answer for 4 s")
        screen.lose("Connection refused")
        #expect(texts(screen, at: 12)[0] == "culvert 1.2.3  NO ANSWER for 11 s: Connection refused; trying again")
        #expect(texts(screen, at: 12).contains { $0.hasPrefix("syslog  up") }, "what was seen last stays")
        screen.add(
            sample(13) { facts in
                facts.status.processID = 4343
                facts.status.uptimeSeconds = 2
                facts.tunnels[0].datagrams.out = 12
            })
        let lines = texts(screen, at: 13)
        #expect(lines[0].hasPrefix("culvert 1.2.3  up 2 s  restarted  "))
        // There is no rate from one daemon's count to the other's.
        #expect(lines.contains { $0.hasPrefix("syslog  up         1      2     0      0        0") })
        screen.add(sample(100) { $0.status.processID = 4343 })
        #expect(!texts(screen, at: 100)[0].contains("restarted"))
    }
}

@Suite struct RateHistoryTests {
    @Test func `rates are growth by time, and histories are bounded`() {
        var history = RateHistory()
        for second in 0..<200 {
            history.add(
                ["a": .init(datagramsIn: UInt64(second) * 10, bytesOut: UInt64(second) * 100)], at: Double(second) * 2)
        }
        #expect(history.rates["a"] == .init(datagramsIn: 5, bytesOut: 50) && history.seconds == 2)
        #expect(history.history(of: "a") == Array(repeating: 5, count: RateHistory.length))
        #expect(history.history(of: "b").isEmpty)
    }

    @Test func `a counter that was set back, or has just come, has no rate`() {
        var history = RateHistory()
        history.add(["a": .init(datagramsIn: 10), "c": .init()], at: 0)
        history.add(["a": .init(datagramsIn: 5), "b": .init(datagramsIn: 5), "c": .init(dropped: ["x": 4])], at: 2)
        #expect(history.rates == ["c": .init(dropped: 2)])
        #expect(history.history(of: "a") == [nil, nil] && history.history(of: "b") == [nil])
        #expect(history.drops["c"] == ["x": 4])
        history.add([:], at: 3)
        #expect(history.history(of: "a").isEmpty)
        history.add(["a": .init()], at: 3)
        history.add(["a": .init(datagramsIn: 1)], at: 3)
        #expect(history.rates.isEmpty, "no time has passed")
    }
}

@Suite struct KeyDecoderTests {
    @Test func `keys are put together from their bytes, whole or in pieces`() {
        let bytes = Array("q\u{1b}[A\u{1b}OB\u{1b}[5~\u{1b}[6~\u{1b}[H\u{1b}[4~\u{3}\u{1b}[1;5Ax".utf8)
        let keys: [Key] = [.character("q"), .up, .down, .pageUp, .pageDown, .home, .end, .interrupt, .character("x")]
        var decoder = KeyDecoder()
        let whole = decoder.keys(bytes)
        let pieces = bytes.flatMap { decoder.keys([$0]) }
        #expect(whole == keys && pieces == keys)
    }

    @Test func `random bytes give nothing but keys, and no sequence lasts for ever`() {
        for _ in 0..<2_000 {
            var decoder = KeyDecoder()
            _ = decoder.keys((0..<40).map { _ in UInt8.random(in: .min ... .max) })
            _ = decoder.keys(Array(repeating: UInt8(ascii: "0"), count: 20))
            let last = decoder.keys([UInt8(ascii: "q"), UInt8(ascii: "q")]).last
            #expect(last == .character("q"))
        }
    }
}
