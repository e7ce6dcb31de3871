// What the tests of the configuration share.

import Configuration
import Foundation
import Testing

/// The example in the repository, seen from this file.
let examplePath = #filePath.split(separator: "/").dropLast(3).map { "/" + $0 }.joined() + "/config/culvert.toml"

/// Two sections that let a tunnel of either role be complete.
let preamble = """
    [identity.default]
    certificate = "a.crt"
    private_key = "a.key"
    [trust.default]
    ca = "ca.crt"

    """

/// Checks one text named `c.toml` and returns its diagnostics as they are printed.
func check(_ text: String) -> [String] {
    Configuration.parse(sources: [ConfigurationSource(name: "c.toml", text: text)]).diagnostics.map(\.description)
}

/// Parses one text that must be free of errors and warnings.
func parsed(_ text: String, sourceLocation: Testing.SourceLocation = #_sourceLocation) throws -> Configuration {
    let (configuration, diagnostics) = Configuration.parse(sources: [ConfigurationSource(name: "c.toml", text: text)])
    #expect(diagnostics.map(\.description) == [], sourceLocation: sourceLocation)
    return try #require(configuration, sourceLocation: sourceLocation)
}

/// A directory for one test, gone afterwards.
final class ScratchDirectory {
    let path = FileManager.default.temporaryDirectory.path + "/culvert-configuration-\(UUID())"

    init() throws {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Writes a file and returns its path.
    @discardableResult
    func write(_ name: String, _ bytes: [UInt8]) throws -> String {
        let file = "\(path)/\(name)"
        try Data(bytes).write(to: URL(fileURLWithPath: file))
        return file
    }

    /// Writes a file and returns its path.
    @discardableResult
    func write(_ name: String, _ text: String) throws -> String { try write(name, Array(text.utf8)) }
}

/// The bytes of a file.
func bytes(of path: String) throws -> [UInt8] {
    Array(try Data(contentsOf: URL(fileURLWithPath: path)))
}

/// Pseudo-random numbers from a seed (splitmix64).
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }
}
