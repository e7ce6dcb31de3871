// Thousands of damaged configurations: none may trap, and what is refused says where and why.

import Configuration
import Testing

struct MutationTests {
    /// Pieces that matter to some parser on the way.
    private static let pieces = [
        "\"", "'", "\"\"\"", "[", "]", "[[", "{", "}", "=", ".", ",", "\n", "#", "\\", "\\u{0}", "\\uD800", "-",
        "99999999999999999999",
        "-9223372036854775808", "nan", "inf", "1979-05-27T00:32:00.999999-07:00", "0x", "1e9999", "udp://", "dtls://[",
        "::", "%",
        "sha256:", "DNS:*.", "\u{feff}", "\u{202e}", "\r", "\0", "true", "[tunnel.reconnect]\n", "[[tunnel]]\n",
        "[daemon]\n", "identity",
        "trust = ", "1d", "9223372036854775807ms", "/128", "*",
    ]

    @Test(arguments: 0..<8)
    func `no damage makes the reader trap`(seed: UInt64) throws {
        let example = Array(
            String(decoding: try bytes(of: examplePath), as: UTF8.self).replacing("\n# ", with: "\n").utf8)
        let plain = try bytes(of: examplePath)
        var generator = SeededGenerator(state: seed)
        for round in 0..<500 {
            var damaged = round % 2 == 0 ? plain : example
            for _ in 0...Int.random(in: 0..<8, using: &generator) { damage(&damaged, &generator) }
            let half = damaged.count / 2
            let sources = [
                ConfigurationSource(name: "a.toml", bytes: round % 3 == 0 ? Array(damaged[..<half]) : damaged),
                ConfigurationSource(name: "b.toml", bytes: round % 3 == 0 ? Array(damaged[half...]) : []),
            ]
            let (configuration, diagnostics) = Configuration.parse(sources: sources)
            #expect((configuration == nil) == diagnostics.contains { $0.severity == .error })
            for diagnostic in diagnostics {
                #expect(!diagnostic.message.utf8.contains { $0 < 32 || $0 == 127 }, "seed \(seed), round \(round)")
                #expect(!diagnostic.message.isEmpty)
            }
        }
    }

    @Test(arguments: 0..<4)
    func `no sequence of bytes makes the reader trap`(seed: UInt64) {
        var generator = SeededGenerator(state: ~seed)
        for _ in 0..<1000 {
            var bytes: [UInt8] = []
            for _ in 0..<Int.random(in: 0..<40, using: &generator) {
                if Bool.random(using: &generator) {
                    bytes += Self.pieces[Int.random(in: 0..<Self.pieces.count, using: &generator)].utf8
                } else {
                    bytes.append(UInt8.random(in: 0...255, using: &generator))
                }
            }
            let source = ConfigurationSource(name: "x", bytes: bytes)
            #expect(Configuration.parse(sources: [source]).configuration == nil)
        }
    }

    private func damage(_ bytes: inout [UInt8], _ generator: inout SeededGenerator) {
        guard !bytes.isEmpty else { return }
        let place = Int.random(in: 0..<bytes.count, using: &generator)
        let end = min(bytes.count, place + Int.random(in: 1..<64, using: &generator))
        switch Int.random(in: 0..<6, using: &generator) {
        case 0: bytes[place] = UInt8.random(in: 0...255, using: &generator)
        case 1: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
        case 2: bytes.removeSubrange(place..<end)
        case 3: bytes.insert(contentsOf: bytes[place..<end], at: Int.random(in: 0...bytes.count, using: &generator))
        case 4:
            bytes.insert(
                contentsOf: Self.pieces[Int.random(in: 0..<Self.pieces.count, using: &generator)].utf8, at: place)
        default: bytes.removeSubrange(place...)
        }
    }
}
