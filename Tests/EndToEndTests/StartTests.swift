// What keeps a daemon from starting: each fault is said in words to act on, and ends it with status 1 before it has touched
// anything.

import Foundation
import Testing
import TestSupport
import Wire

/// Whether tests may have other users, mounts and networks.
let isRoot = getuid() == 0

/// Drops root's rights, for what only others are refused.
private let asNobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]

@Suite struct StartTests {
    /// Runs `culvert run` where it cannot start, and answers what it said.
    private func refusal(
        _ bench: Bench, _ name: String, prefix: [String] = [], sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> String {
        let (status, said) = try await bench.culvert(
            "run", "--config", bench.directory("\(name).toml"), prefix: prefix)
        #expect(status == 1, "\(said)", sourceLocation: sourceLocation)
        #expect(!said.contains("ready:"), "\(said)", sourceLocation: sourceLocation)
        return said
    }

    @Test(arguments: ["udp", "dtls"])
    func `a port that another program has`(_ scheme: String) async throws {
        let bench = try await Bench()
        let other = try Peer()
        let forward = scheme == "udp" ? "dtls" : "udp"
        try bench.configure(
            scheme == "udp" ? "client" : "server",
            tunnels: """
                [[tunnel]]
                name = "taken"
                listen = "\(scheme)://\(other.endpoint)"
                forward = "\(forward)://127.0.0.1:9"
                """)
        let said = try await refusal(bench, scheme == "udp" ? "client" : "server")
        #expect(said.contains("tunnel 'taken' cannot listen"), "\(said)")
        #expect(said.contains("\(other.endpoint)") && said.contains("another program has this port"), "\(said)")
        #expect(said.contains(".toml:"), "\(said)")
    }

    @Test(arguments: ["client", "server"])
    func `a port that another culvert has`(_ name: String) async throws {
        // Several workers share a port by SO_REUSEPORT; another daemon must not slip in by that.
        let pair = try await Pair(clientDaemon: "workers = 2", serverDaemon: "workers = 2")
        let config = try pair.bench.directory.text("\(name).toml").replacing("\(name).sock", with: "other.sock")
        try pair.bench.directory.write(config, "other.toml")
        let said = try await refusal(pair.bench, "other")
        #expect(said.contains("another program has this port"), "\(said)")
        #expect(!FileManager.default.fileExists(atPath: pair.bench.directory("other.sock")))
        try await pair.converse(try pair.sender(), [1])
    }

    @Test func `an address that this machine does not have`() async throws {
        let bench = try await Bench()
        try bench.configure(
            "server",
            tunnels: """
                [[tunnel]]
                name = "elsewhere"
                listen = "dtls://192.0.2.1:\(try FreePorts.next())"
                forward = "udp://127.0.0.1:9"
                """)
        #expect(try await refusal(bench, "server").contains("this machine has no such address"))
    }

    @Test(.enabled(if: isRoot && Program.isInstalled("setpriv"), "needs root and setpriv"))
    func `a privileged port without the right to it`() async throws {
        let bench = try await Bench()
        try give(bench, to: 65534)
        try bench.configure(
            "client",
            tunnels: """
                [[tunnel]]
                name = "low"
                listen = "udp://127.0.0.1:514"
                forward = "dtls://localhost:9"
                """)
        try useOwnKeys(bench, "client")
        // A network of its own, because the machine may have opened the low ports to everybody.
        let said = try await refusal(bench, "client", prefix: ["unshare", "--net"] + asNobody)
        #expect(said.contains("ports below 1024 need CAP_NET_BIND_SERVICE"), "\(said)")
    }

    @Test(.enabled(if: isRoot && Program.isInstalled("setpriv"), "needs root and setpriv"))
    func `a private key that the daemon's user may not read`() async throws {
        let bench = try await Bench()
        try give(bench, to: 65534)
        try bench.configure("client", tunnels: tunnel)
        try useOwnKeys(bench, "client")
        chown(bench.directory("client.key"), 0, 0)
        for command in ["check", "run"] {
            let (status, said) = try await bench.culvert(
                command, "--config", bench.directory("client.toml"), prefix: asNobody)
            #expect(status == 1)
            #expect(said.contains("client.key"), "\(said)")
            #expect(said.contains("may not be read by user 65534"), "\(said)")
        }
    }

    @Test(.enabled(if: isRoot && Program.isInstalled("setpriv"), "needs root and setpriv"))
    func `a control socket in a directory that the daemon's user may not write`() async throws {
        let bench = try await Bench()
        try give(bench, to: 65534)
        try bench.configure("client", tunnels: tunnel)
        try useOwnKeys(bench, "client")
        let closed = bench.directory("closed")
        try FileManager.default.createDirectory(atPath: closed, withIntermediateDirectories: false)
        let config = try bench.directory.text("client.toml").replacing("client.sock", with: "closed/client.sock")
        try bench.directory.write(config, "client.toml", mode: 0o644)
        let said = try await refusal(bench, "client", prefix: asNobody)
        #expect(said.contains("control socket") && said.contains("Permission denied"), "\(said)")
    }

    @Test func `a control socket in no directory, and one in the place of a file`() async throws {
        let bench = try await Bench()
        let text = try bench.directory.text(
            bench.configure("client", tunnels: tunnel).split(separator: "/").last.map(String.init) ?? "")
        try bench.directory.write(text.replacing("client.sock", with: "nowhere/client.sock"), "client.toml")
        #expect(try await refusal(bench, "client").contains("does not exist; create it"))

        try bench.directory.write("precious", "file")
        try bench.directory.write(text.replacing("client.sock", with: "file"), "client.toml")
        #expect(try await refusal(bench, "client").contains("a file that is not a socket is in the way"))
        #expect(try bench.directory.text("file") == "precious")
    }

    @Test func `the control socket of a living daemon is left alone and that of a dead one replaced`() async throws {
        let bench = try await Bench()
        for name in ["client", "client-2"] { try bench.configure(name, tunnels: tunnel) }
        let config = try bench.directory.text("client-2.toml").replacing("client-2.sock", with: "client.sock")
        try bench.directory.write(config, "client-2.toml")
        let first = try await bench.start("client")
        #expect(try await refusal(bench, "client-2").contains("another daemon is answering on it"))
        #expect(first.control.isReady)
        try await first.stop(SIGKILL)
        #expect(FileManager.default.fileExists(atPath: first.control.path))
        let second = try await bench.start("client")
        #expect(try await second.stop().status == 0)
        #expect(!FileManager.default.fileExists(atPath: first.control.path))
    }

    // MARK: Surroundings

    /// A tunnel that could run.
    private var tunnel: String {
        get throws {
            """
            [[tunnel]]
            name = "good"
            listen = "udp://127.0.0.1:\(try FreePorts.next())"
            forward = "dtls://localhost:9"
            """
        }
    }

    private func give(_ bench: Bench, to user: UInt32) throws {
        chmod(bench.directory.path, 0o755)
        chown(bench.directory.path, user, user)
    }

    /// Has the config use copies of the keys that belong to nobody.
    private func useOwnKeys(_ bench: Bench, _ name: String) throws {
        var config = try bench.directory.text("\(name).toml")
        for file in ["\(name).crt", "\(name).key", "ca.crt"] {
            try FileManager.default.copyItem(atPath: bench.keys.path(file), toPath: bench.directory(file))
            chown(bench.directory(file), 65534, 65534)
            config = config.replacing(bench.keys.path(file), with: bench.directory(file))
        }
        try bench.directory.write(config, "\(name).toml", mode: 0o644)
    }
}
