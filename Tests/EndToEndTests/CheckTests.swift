// `culvert check` and `culvert run` on configs with every kind of mistake: all of them are said in one go, at their places,
// and neither command accepts what the other refuses.

import Control
import Foundation
import Testing
import TestSupport

@Suite struct CheckTests {
    /// Both commands on the same config; they have to agree.
    private func verdict(
        _ bench: Bench, _ path: String, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> (status: Int32, said: String) {
        let check = try await bench.culvert("check", "--config", path)
        guard check.status != 0 else { return check }
        let run = try await bench.culvert("run", "--config", path)
        #expect(run.status == check.status, "\(run.said)", sourceLocation: sourceLocation)
        let errors = check.said.split(separator: "\n").filter { $0.contains("error: ") }
        for error in errors {
            let words = error.split(separator: "error: ", maxSplits: 1).last ?? ""
            #expect(
                run.said.contains(words), "run does not say '\(words)': \(run.said)", sourceLocation: sourceLocation)
        }
        return check
    }

    private static let good = """
        [[tunnel]]
        name = "good"
        listen = "udp://127.0.0.1:5514"
        forward = "dtls://localhost:6514"

        """

    @Test func `the effective config names every default, holds no secrets and amounts to itself`() async throws {
        let bench = try await Bench()
        let path = try bench.configure("client", tunnels: Self.good)
        let (status, said) = try await bench.culvert("config", "--effective", "--config", path)
        #expect(status == 0 && said.contains("flow_timeout = \"") && said.contains("[tunnel.heartbeat]"), "\(said)")
        #expect(said.contains("private_key = \"\(bench.keys.path("client.key"))\"") && !said.contains("PRIVATE KEY"))
        let again = try bench.directory.write(said, "again.toml")
        #expect(try await bench.culvert("config", "--effective", "--config", again).said == said)
        #expect(try await verdict(bench, again).status == 0)

        #expect(try await bench.culvert("config", "--config", path).status == 64)
        try bench.directory.write("[daemon]\nworkers = -1\n", "bad.toml")
        let bad = try await bench.culvert("config", "--effective", "--config", bench.directory("bad.toml"))
        #expect(bad.status == 1 && bad.said.contains("bad.toml:2") && !bad.said.contains("flow_timeout"), "\(bad.said)")
    }

    @Test func `the effective config names files absolutely, by the command and by the daemon`() async throws {
        let bench = try await Bench()
        let keys = ["client.crt", "client.key", "ca.crt"]
        for name in keys {
            try FileManager.default.createSymbolicLink(
                atPath: bench.directory(name), withDestinationPath: bench.keys.path(name))
        }
        try bench.directory.write(
            """
            [daemon]
            control_socket = "control.sock"
            workers = 1
            [identity.default]
            certificate = "client.crt"
            private_key = "client.key"
            [trust.default]
            ca = "ca.crt"
            \(Self.good.replacing("5514", with: "\(try FreePorts.next())"))
            """, "relative.toml")
        let inDirectory = ["env", "-C", bench.directory.path]
        let (status, said) = try await bench.culvert(
            "config", "--effective", "--config", "relative.toml", prefix: inDirectory)
        #expect(status == 0, "\(said)")
        for name in keys + ["control.sock"] { #expect(said.contains("= \"\(bench.directory(name))\""), "\(said)") }
        // The same from anywhere.
        let again = try await bench.culvert("config", "--effective", "--config", bench.directory("relative.toml"))
        #expect(again.said == said)

        let daemon = try Program(inDirectory + [Daemon.program, "run", "--config", "relative.toml"])
        let client = ControlClient(path: bench.directory("control.sock"))
        let json = try await eventually("a daemon that is ready: \(daemon)", within: .seconds(30)) {
            try? client.configuration()
        }
        let text = String(decoding: json, as: UTF8.self)
        for name in keys + ["control.sock"] { #expect(text.contains(":\"\(bench.directory(name))\""), "\(text)") }
    }

    @Test func `a good config is said to be good, as a file and as a directory`() async throws {
        let bench = try await Bench()
        let path = try bench.configure("client", tunnels: Self.good)
        let file = try await verdict(bench, path)
        #expect(file.status == 0 && file.said.contains("good; 1 tunnel"), "\(file.said)")
        try FileManager.default.createDirectory(
            atPath: bench.directory("conf.d"), withIntermediateDirectories: false)
        try FileManager.default.moveItem(atPath: path, toPath: bench.directory("conf.d/10-daemon.toml"))
        try bench.directory.write(
            Self.good.replacing("good", with: "second").replacing("5514", with: "5515"), "conf.d/20-more.toml")
        try bench.directory.write("not a config [[[", "conf.d/README")
        let directory = try await verdict(bench, bench.directory("conf.d"))
        #expect(directory.status == 0 && directory.said.contains("good; 2 tunnels"), "\(directory.said)")
    }

    @Test func `every mistake is said in one go, at its place, with advice`() async throws {
        let bench = try await Bench()
        let path = try bench.configure(
            "client", daemon: "log_level = \"loud\"\nworkers = -1",
            tunnels: """
                [[tunnel]]
                name = "syslog"
                lisen = "udp://127.0.0.1:5514"
                forward = "dtls://collector.example.net:6514"
                [[tunnel]]
                name = "syslog"
                listen = "udp://127.0.0.1:5515"
                forward = "udp://127.0.0.1:6514"
                flow_timeout = "5 parsecs"
                [[tunnel]]
                name = "a"
                listen = "udp://127.0.0.1:5516"
                forward = "dtls://localhost:6514"
                identity = "nobody"
                oversize = "explode"
                [[tunnel]]
                name = "b"
                listen = "udp://127.0.0.1:5516"
                forward = "dtls://localhost"
                """)
        let (status, said) = try await verdict(bench, path)
        #expect(status == 1)
        for words in [
            "log_level", "workers", "unknown key 'lisen'", "did you mean 'listen'?", "flow_timeout", "nobody",
            "oversize", "syslog",
        ] {
            #expect(said.contains(words), "'\(words)' is missing:\n\(said)")
        }
        let lines = said.split(separator: "\n").filter { $0.contains("error: ") }
        #expect(lines.count >= 9, "\(said)")
        for line in lines {
            #expect(line.contains(#/client\.toml:[0-9]+:[0-9]+: error: /#), "no place: \(line)")
        }
    }

    @Test(arguments: [
        ("", "no tunnel"), ("[[tunnel]\nname = 1", "error"), ("a = \"unterminated", "error"), ("[daemon", "error"),
        ("\u{0}\u{1}\u{2}", "error"), ("[tunnel]\nname = \"x\"", "error"), ("tunnel = 5", "error"),
    ])
    func `what is no config is refused with a place`(_ text: String, _ words: String) async throws {
        let bench = try await Bench()
        let path = try bench.directory.write(text, "bad.toml")
        let (status, said) = try await verdict(bench, path)
        #expect(status == 1 && said.contains(words) && said.contains("bad.toml"), "\(said)")
    }

    @Test func `files that cannot be used are all said at once`() async throws {
        let bench = try await Bench()
        try FileManager.default.copyItem(atPath: bench.keys.path("client.key"), toPath: bench.directory("open.key"))
        chmod(bench.directory("open.key"), 0o644)
        let ca = "ca = \"\(bench.keys.path("ca.crt"))\""
        func identity(_ name: String, _ certificate: String, _ key: String) -> String {
            "[identity.\(name)]\ncertificate = \"\(certificate)\"\nprivate_key = \"\(key)\"\n"
        }
        func tunnel(_ name: String, _ port: Int, trust: String = "good") -> String {
            """
            [[tunnel]]
            name = "\(name)"
            listen = "udp://127.0.0.1:\(port)"
            forward = "dtls://localhost:6514"
            identity = "\(name)"
            trust = "\(trust)"

            """
        }
        let keys = bench.keys
        try bench.directory.write("no certificate at all", "garbage.crt")
        let path = try bench.directory.write(
            identity("missing", bench.directory("absent.crt"), bench.directory("absent.key"))
                + identity("expired", keys.path("expired.crt"), keys.path("expired.key"))
                + identity("mismatched", keys.path("client.crt"), keys.path("server.key"))
                + identity("readable", keys.path("client.crt"), bench.directory("open.key"))
                + identity("garbage", bench.directory("garbage.crt"), keys.path("client.key"))
                + "[trust.good]\n\(ca)\n[trust.bad]\nca = \"\(bench.directory("absent-ca.crt"))\"\n"
                + tunnel("missing", 5514) + tunnel("expired", 5515) + tunnel("mismatched", 5516)
                + tunnel("readable", 5517) + tunnel("garbage", 5518, trust: "bad"), "files.toml")
        let (status, said) = try await verdict(bench, path)
        #expect(status == 1)
        for words in [
            "absent.crt", "absent.key", "expired.crt", "server.key", "open.key", "garbage.crt", "absent-ca.crt",
            "expired", "chmod",
        ] {
            #expect(said.contains(words), "'\(words)' is missing:\n\(said)")
        }
        for line in said.split(separator: "\n") where line.contains("error: ") {
            #expect(line.contains(#/files\.toml:[0-9]+:[0-9]+: error: /#), "no place: \(line)")
        }
    }

    @Test func `mistakes in the config do not hide those in the files that it names`() async throws {
        let bench = try await Bench()
        let path = try bench.directory.write(
            """
            [identity.default]
            certificate = "\(bench.keys.path("client.crt"))"
            private_key = "absent.key"
            [trust.default]
            ca = "absent-ca.crt"
            \(Self.good.replacing("forward", with: "foward"))
            """, "both.toml")
        let (status, said) = try await verdict(bench, path)
        #expect(status == 1)
        for words in ["unknown key 'foward'", "has no 'forward'", "absent.key", "absent-ca.crt"] {
            #expect(said.contains(words), "'\(words)' is missing:\n\(said)")
        }
        for line in said.split(separator: "\n") where line.contains("error: ") {
            #expect(line.contains(#/both\.toml:[0-9]+:[0-9]+: error: /#), "no place: \(line)")
        }
    }

    @Test func `a config that is not there, and usage, have exit codes of their own`() async throws {
        let bench = try await Bench()
        for command in ["check", "run"] {
            let missing = try await bench.culvert(command, "--config", bench.directory("absent.toml"))
            #expect(missing.status == 1 && missing.said.contains("absent.toml"), "\(missing.said)")
            let usage = try await bench.culvert(command, "--confg", "x")
            #expect(usage.status == 64 && usage.said.contains("Usage:"), "\(usage.said)")
        }
        #expect(try await bench.culvert("frobnicate").status == 64)
        #expect(try await bench.culvert("--help").status == 0)
    }
}
