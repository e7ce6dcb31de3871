// The bad path of the interop tests: a fifth of all datagrams lost, a fifth doubled, a fifth out of order, in each
// direction, by a seed.

import TestSupport
import Wire

/// culvert-impair in front of `port`; its own port is where to send.
func badPath(to port: UInt16, seed: Int) async throws -> (program: Program, port: UInt16) {
    let program = try Program([
        Program.built("culvert-impair"), "--listen", "127.0.0.1:0", "--forward", "127.0.0.1:\(port)", "--seed",
        "\(seed)",
        "--drop", "20%", "--duplicate", "20%", "--reorder", "20%",
    ])
    let line = try await eventually("the address of \(program)", within: .seconds(60)) {
        program.lines(with: "listening on").first
    }
    let word = line.split(separator: " ").first { $0.hasSuffix(",") }?.dropLast()
    guard let endpoint = word.flatMap({ Endpoint($0) }) else { throw Unusable(line) }
    return (program, endpoint.port)
}
