import Foundation
import OpenSSL
import Testing

private let good = String(repeating: "0123456789abcdef", count: 4)

@Suite struct PreSharedKeysTests {
    private func load(_ text: String) throws -> Loaded<PreSharedKeys> {
        let scratch = try Scratch()
        return PreSharedKeys.load(try scratch.write(text, "peers.psk"))
    }

    @Test(arguments: [
        ("branch-7:\(good)\n", ["branch-7"]),
        ("branch-7:\(good)", ["branch-7"]),
        ("# peers\n\n  a : \(good.uppercased())  \r\nb:\(good)\r\n", ["a", "b"]),
        ("urn:dev:mac:0024be:\(good)\n", ["urn:dev:mac:0024be"]),
        ("Köln mit Dom:\(good)\n", ["Köln mit Dom"]),
        ("a:\(good)\n#b:\(good)\n\t#c\n", ["a"]),
        ("a:\(good.prefix(32))\nb:\(good + good)\n", ["a", "b"]),
        (String(repeating: "i", count: 128) + ":" + good, [String(repeating: "i", count: 128)]),
    ])
    func `a well-formed file is read`(text: String, identities: [String]) throws {
        let loaded = try load(text)
        #expect(loaded.problems == [])
        #expect(loaded.value?.identities == identities)
    }

    @Test func `the bytes of a key are those that its digits say`() throws {
        let keys = try #require(try load("a:\(good)\n").value)
        let expected: [UInt8] = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]
        #expect(keys["a"]?.key.array == expected + expected + expected + expected)
        #expect(keys["b"] == nil)
    }

    @Test(arguments: [
        ("nocolon\n", 1, CredentialProblem.Kind.malformed),
        (":\(good)\n", 1, .malformed),
        ("\n\na:xyz\n", 3, .malformed),
        ("a:\(good)0\n", 1, .malformed),
        ("a: 0x\(good)\n", 1, .malformed),
        ("a:\(good.prefix(16)) \(good.prefix(16))\n", 1, .malformed),
        ("a:\n", 1, .weak),
        ("a:\(good.prefix(30))\n", 1, .weak),
        ("a:\(good + good)00\n", 1, .malformed),
        ("a:\(good)\nb:\(good)\na:\(good)\n", 3, .duplicate),
        (String(repeating: "i", count: 129) + ":" + good, 1, .malformed),
        ("a\u{7}b:\(good)", 1, .malformed),
        ("a\u{0}b:\(good)", 1, .malformed),
        ("\u{85}:\(good)", 1, .malformed),
    ])
    func `a mistake is reported with its line`(text: String, line: Int, kind: CredentialProblem.Kind) throws {
        let loaded = try load(text)
        #expect(loaded.value == nil && loaded.hasErrors)
        #expect(loaded.problems.map(\.line) == [line])
        #expect(loaded.problems.map(\.kind) == [kind])
    }

    @Test func `every mistake is reported, and none quotes a key`() throws {
        let loaded = try load("a:\(good)\nb\n\nc:\(good)g\nd:\(good.dropLast())\ne:77777777\n")
        #expect(loaded.problems.map(\.line) == [2, 4, 5, 6])
        for problem in loaded.problems {
            #expect(!problem.description.contains("0123") && !problem.description.contains("7777"))
        }
    }

    @Test func `an identity that is not UTF-8 is malformed`() throws {
        let scratch = try Scratch()
        let path = try scratch.write(Data([0xff, 0xfe, 0x3a]) + Data(good.utf8), "peers.psk")
        #expect(PreSharedKeys.load(path).problems.map(\.kind) == [.malformed])
    }

    @Test func `a file of something else does not flood the reader`() throws {
        let loaded = try load(String(repeating: "x\n", count: 100_000))
        #expect(loaded.value == nil && loaded.problems.count == 100)
    }

    @Test func `an empty file is a warning`() throws {
        let loaded = try load("# nobody yet\n")
        #expect(loaded.value?.count == 0 && !loaded.hasErrors && loaded.problems.count == 1)
    }

    @Test func `a file that everybody can read is found`() throws {
        let scratch = try Scratch()
        let path = try scratch.write("a:\(good)\n", "peers.psk", mode: 0o644)
        #expect(PreSharedKeys.load(path).problems.map(\.kind) == [.exposed])
        #expect(PreSharedKey.load(identity: "a", from: path).problems.map(\.kind) == [.exposed])
    }

    @Test func `a client finds its own line, or has the file to itself`() throws {
        let scratch = try Scratch()
        let several = try scratch.write("a:\(good)\nb:\(good)\n", "several.psk")
        #expect(PreSharedKey.load(identity: "b", from: several).value?.identity == "b")
        #expect(PreSharedKey.load(identity: "c", from: several).problems.map(\.kind) == [.unknownIdentity])
        let bare = try scratch.write("\(good)\n", "bare.psk")
        #expect(PreSharedKey.load(identity: "c", from: bare).value?.key.count == 32)
        #expect(PreSharedKey.load(identity: "c", from: scratch("none")).problems.map(\.kind) == [.missing])
        let bad = try scratch.write("\(good)g\n", "bad.psk")
        #expect(PreSharedKey.load(identity: "c", from: bad).problems.map(\.kind) == [.malformed])
    }

    @Test func `a generated key survives its own line`() throws {
        let scratch = try Scratch()
        let made = try PreSharedKey.generate(identity: "branch:7")
        let again = try #require(PreSharedKeys.load(try scratch.write(made.line, "a.psk")).value?["branch:7"])
        #expect(again.key.equals(made.key) && made.key.count == 32)
        #expect(try !PreSharedKey.generate(identity: "x").key.equals(made.key))
    }

    @Test(arguments: 0..<8)
    func `mutated files never trap, and what is accepted is well-formed`(seed: UInt64) throws {
        let scratch = try Scratch()
        var random = SplitMix64(state: seed)
        let original = Array("# peers\nbranch-7:\(good)\n\nurn:x:\(good)\r\n".utf8)
        for _ in 0..<400 {
            var bytes = original
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                let index = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes[index] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.remove(at: index)
                case 2: bytes.insert([0, 10, 13, 35, 58, 255].randomElement(using: &random) ?? 0, at: index)
                default: bytes.removeSubrange(index..<min(bytes.count, index + 9))
                }
                if bytes.isEmpty { bytes = [58] }
            }
            let loaded = PreSharedKeys.load(try scratch.write(Data(bytes), "m.psk"))
            #expect((loaded.value == nil) == loaded.hasErrors)
            for identity in loaded.value?.identities ?? [] {
                let key = try #require(loaded.value?[identity])
                #expect(PreSharedKey.fault(inIdentity: identity) == nil)
                #expect(PreSharedKey.keyLengths.contains(key.key.count))
            }
        }
    }
}

/// A small generator with a seed, so that a failure can be had again.
struct SplitMix64: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var value = state
        value = (value ^ value >> 30) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ value >> 27) &* 0x94d0_49bb_1331_11eb
        return value ^ value >> 31
    }
}
