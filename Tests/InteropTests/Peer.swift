// Peers that are libraries rather than programs: what plays them is in Tests/Peers, a program for each, with the same ways.

import Foundation
import TestSupport
import Testing

/// A DTLS library of others.
enum Peer: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case pyOpenSSL, jsse = "JSSE", erlang = "Erlang"

    var testDescription: String { rawValue }

    var isInstalled: Bool {
        switch self {
        case .pyOpenSSL: access(Self.python, X_OK) == 0
        case .jsse: Program.isInstalled("java") && Program.isInstalled("javac")
        case .erlang: Program.isInstalled("escript") && !Self.erlangSSL.isEmpty
        }
    }

    /// What a tunnel has to be told for it: Erlang's has no extended master secret before OTP 26.
    var settings: String { self == .erlang ? "require_extended_master_secret = false" : "" }

    /// A server on a port of 127.0.0.1, which sends `echo ` and what it got back to any number of clients.
    func server(port: UInt16, keys: TestKeys) async throws -> Program {
        let server = try Program(command + ["server"] + files("server", keys) + ["\(port)"])
        try await server.expect("listening", within: .seconds(60))
        return server
    }

    /// A client that sends each line of its input to all `ports`, and says `PORT TEXT` of what comes back.
    func client(ports: [UInt16], keys: TestKeys) throws -> Program {
        try Program(command + ["client"] + files("client", keys) + ports.map { "\($0)" })
    }

    private var command: [String] {
        switch self {
        case .pyOpenSSL: [Self.python, Self.directory + "/peer.py"]
        // It ends soon: what makes long runs fast only costs it time.
        case .jsse: ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", Self.directory + "/Peer.java"]
        case .erlang: ["escript", Self.directory + "/peer.escript"]
        }
    }

    private func files(_ name: String, _ keys: TestKeys) -> [String] {
        [keys.path("\(name).crt"), keys.path("\(name).key"), keys.path("ca.crt")]
    }

    private static let directory = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("Peers").path

    private static var python: String { Tools.path("pyOpenSSL", "python") }

    /// Where Debian has it.
    private static var erlangSSL: [String] {
        let libraries = try? FileManager.default.contentsOfDirectory(atPath: "/usr/lib/erlang/lib")
        return (libraries ?? []).filter { $0.hasPrefix("ssl-") }
    }
}

/// What lies between two ends.
enum Road: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case good, bad

    var testDescription: String { "a \(rawValue) path" }
    /// One, or as many as there are connections at the same time.
    var seeds: ClosedRange<Int> { self == .good ? 1...1 : 1...6 }

    /// The ways that lead to `port`: the port itself, or one that loses, doubles and reorders for each seed.
    func ways(to port: UInt16) async throws -> (programs: [Program], ports: [UInt16]) {
        guard self == .bad else { return ([], [port]) }
        var ways: (programs: [Program], ports: [UInt16]) = ([], [])
        for seed in seeds {
            let way = try await badPath(to: port, seed: seed)
            ways.programs.append(way.program)
            ways.ports.append(way.port)
        }
        return ways
    }
}
