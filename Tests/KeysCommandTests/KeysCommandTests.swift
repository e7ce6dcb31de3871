// `culvert keys` as a user meets it: the built program, run in a directory of its own, with `openssl` to
// judge what it made. What is inside certificates is tested with the OpenSSL target.

import Foundation
import Testing

/// A directory that goes away with the object, and the program run in it.
private final class Bench: Sendable {
    let path: String
    static let program = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        .deletingLastPathComponent().appendingPathComponent("culvert").path

    init() throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("culvert-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        try #require(FileManager.default.isExecutableFile(atPath: Self.program), "\(Self.program) is not built")
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }

    @discardableResult
    func run(_ program: String, _ arguments: [String]) throws -> (status: Int32, output: String) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [program] + arguments
        process.currentDirectoryURL = URL(fileURLWithPath: path)
        // Under the address sanitizer, what ArgumentParser leaks on a usage error would replace the exit status.
        process.environment = ProcessInfo.processInfo.environment.merging(["ASAN_OPTIONS": "detect_leaks=0"]) { $1 }
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        process.standardInput = FileHandle.nullDevice
        try process.run()
        let data = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: data, as: UTF8.self))
    }

    /// Runs `culvert keys` and expects an exit status; the result is what it said.
    @discardableResult
    func keys(
        _ arguments: String..., status: Int32 = 0, sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> String {
        let outcome = try run(Self.program, ["keys"] + arguments)
        #expect(outcome.status == status, "\(arguments): \(outcome.output)", sourceLocation: sourceLocation)
        return outcome.output
    }

    func mode(_ name: String) throws -> Int {
        let attributes = try FileManager.default.attributesOfItem(atPath: "\(path)/\(name)")
        return try #require(attributes[.posixPermissions] as? NSNumber).intValue
    }

    func text(_ name: String) throws -> String {
        try String(contentsOfFile: "\(path)/\(name)", encoding: .utf8)
    }

    func setMode(_ name: String, _ mode: Int) throws {
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: "\(path)/\(name)")
    }

    var names: [String] { get throws { try FileManager.default.contentsOfDirectory(atPath: path).sorted() } }
}

@Suite struct KeysCommandTests {
    @Test func `an authority and a node's certificate fit together`() throws {
        let bench = try Bench()
        #expect(try bench.keys("ca").contains("ca = \"\(bench.path)/ca.crt\""))
        let said = try bench.keys("issue", "--name", "node.example.net", "--ip", "192.0.2.1", "--out", "node")
        #expect(said.contains("certificate = \"\(bench.path)/node.crt\""))
        #expect(said.contains("private_key = \"\(bench.path)/node.key\""))
        #expect(try bench.names == ["ca.crt", "ca.key", "node.crt", "node.key"])
        #expect(try bench.mode("ca.key") == 0o600 && bench.mode("node.key") == 0o600)
        #expect(try bench.mode("ca.crt") == 0o644 && bench.mode("node.crt") == 0o644)
        let verified = try bench.run(
            "openssl",
            [
                "verify", "-x509_strict", "-purpose", "sslserver", "-verify_ip", "192.0.2.1", "-CAfile", "ca.crt",
                "node.crt",
            ])
        #expect(verified.status == 0, "\(verified.output)")
    }

    @Test func `no umask makes a key readable, or a certificate unreadable`() throws {
        let bench = try Bench()
        for (mask, name) in [("000", "open"), ("077", "closed"), ("777", "shut")] {
            let line = "umask \(mask); exec \(Bench.program) keys self-signed --name n --out \(name)"
            let outcome = try bench.run("sh", ["-c", line])
            #expect(outcome.status == 0, "\(outcome.output)")
            #expect(try bench.mode("\(name).key") == 0o600 && bench.mode("\(name).crt") == 0o644)
        }
    }

    @Test func `nothing is overwritten without --force`() throws {
        let bench = try Bench()
        try bench.keys("ca")
        let before = try bench.text("ca.key")
        #expect(try bench.keys("ca", status: 1).contains("ca.key: exists already"))
        #expect(try bench.text("ca.key") == before)
        try bench.keys("ca", "--force")
        #expect(try bench.text("ca.key") != before)
        // A certificate in the way keeps the key from being made as well.
        try bench.keys("self-signed", "--name", "n")
        try FileManager.default.removeItem(atPath: "\(bench.path)/n.key")
        try bench.keys("self-signed", "--name", "n", status: 1)
        #expect(try bench.names == ["ca.crt", "ca.key", "n.crt"])
    }

    @Test func `a renewal with the old key keeps the pin`() throws {
        let bench = try Bench()
        try bench.keys("ca")
        try bench.keys("issue", "--name", "n")
        let pin = try bench.keys("fingerprint", "--pin-only", "n.crt")
        let serial = try bench.run("openssl", ["x509", "-in", "n.crt", "-noout", "-serial"]).output
        try bench.keys("issue", "--name", "n", "--private-key", "n.key", "--force")
        #expect(try bench.keys("fingerprint", "--pin-only", "n.crt") == pin)
        #expect(try bench.keys("fingerprint", "--pin-only", "n.key") == pin)
        #expect(try bench.run("openssl", ["x509", "-in", "n.crt", "-noout", "-serial"]).output != serial)
    }

    @Test func `--out takes a directory, a prefix and a file's name`() throws {
        let bench = try Bench()
        try FileManager.default.createDirectory(atPath: "\(bench.path)/d", withIntermediateDirectories: false)
        try bench.keys("ca", "--out", "d")
        try bench.keys("issue", "--ca", "d", "--name", "*.example.net", "--out", "d/")
        try bench.keys("issue", "--ca", "d/ca", "--name", "n", "--out", "d/x.crt")
        let names = try FileManager.default.contentsOfDirectory(atPath: "\(bench.path)/d").sorted()
        #expect(names == ["_.example.net.crt", "_.example.net.key", "ca.crt", "ca.key", "x.crt", "x.key"])
        #expect(try bench.keys("ca", "--out", "no/such/", status: 1).contains("make the directory first"))
    }

    @Test func `self-signed prints the pin that fingerprint finds`() throws {
        let bench = try Bench()
        let said = try bench.keys("self-signed", "--name", "peer-b", "--key", "rsa-2048")
        let pin = try bench.keys("fingerprint", "--pin-only", "peer-b.crt").trimmingCharacters(in: .newlines)
        #expect(said.contains("pins = [\"\(pin)\"]"))
        #expect(try bench.keys("fingerprint", "peer-b.crt").contains("key         RSA 2048"))
    }

    @Test func `a pre-shared key goes into both files and is not shown`() throws {
        let bench = try Bench()
        let said = try bench.keys("psk", "--identity", "branch-7", "--peers", "peers.psk")
        try bench.keys("psk", "--identity", "branch-8", "--peers", "peers.psk")
        let line = try bench.text("branch-7.psk")
        #expect(line.wholeMatch(of: /branch-7:[0-9a-f]{64}\n/) != nil)
        #expect(!said.contains(line.dropFirst(9).prefix(64)))
        #expect(try bench.text("peers.psk") == line + bench.text("branch-8.psk"))
        #expect(try bench.mode("branch-7.psk") == 0o600 && bench.mode("peers.psk") == 0o600)
        let again = try bench.keys("psk", "--identity", "branch-7", "--out", "new", "--peers", "peers.psk", status: 1)
        #expect(again.contains("already"))
        #expect(try bench.names == ["branch-7.psk", "branch-8.psk", "peers.psk"])
        #expect(try bench.keys("psk", "--identity", "x", "--show").contains(bench.text("x.psk")))
    }

    @Test func `a revoked certificate is refused, and a renewed list keeps it`() throws {
        let bench = try Bench()
        try bench.keys("ca")
        try bench.keys("issue", "--name", "bad")
        try bench.keys("issue", "--name", "good")
        try bench.keys("revoke", "--crl", "crl.pem")
        #expect(try bench.keys("revoke", "bad.crt", "--crl", "crl.pem").contains("1 revoked, 1 of them now"))
        #expect(try bench.keys("revoke", "bad.crt", "--crl", "crl.pem").contains("1 revoked, 0 of them now"))
        try bench.keys("revoke", "--serial", "0A1b", "--reason", "superseded", "--crl", "crl.pem")
        #expect(try bench.mode("crl.pem") == 0o644)
        let check = ["verify", "-crl_check", "-CRLfile", "crl.pem", "-CAfile", "ca.crt"]
        #expect(try bench.run("openssl", check + ["bad.crt"]).output.contains("certificate revoked"))
        #expect(try bench.run("openssl", check + ["good.crt"]).status == 0)
    }

    @Test func `only an authority's own certificates and lists are revoked and extended`() throws {
        let bench = try Bench()
        try bench.keys("ca", "--out", "one")
        try bench.keys("ca", "--out", "two")
        try bench.keys("issue", "--ca", "one", "--name", "n")
        #expect(try bench.keys("revoke", "--ca", "two", "n.crt", "--crl", "crl.pem", status: 1).contains("--ca"))
        try bench.keys("revoke", "--ca", "one", "n.crt", "--crl", "crl.pem")
        let before = try bench.text("crl.pem")
        try bench.keys("revoke", "--ca", "two", "--crl", "crl.pem", status: 1)
        #expect(try bench.text("crl.pem") == before)
    }

    @Test func `an authority whose key everybody can read is not used`() throws {
        let bench = try Bench()
        try bench.keys("ca")
        try bench.setMode("ca.key", 0o644)
        #expect(try bench.keys("issue", "--name", "n", status: 1).contains("chmod o-rwx,g-w ca.key"))
        #expect(try bench.names == ["ca.crt", "ca.key"])
    }

    @Test func `fingerprint says what is wrong with a file`() throws {
        let bench = try Bench()
        #expect(try bench.keys("fingerprint", "none", status: 1).contains("none: there is no such file"))
        try "junk".write(toFile: "\(bench.path)/junk", atomically: false, encoding: .utf8)
        #expect(try bench.keys("fingerprint", "junk", status: 1).contains("holds no certificate"))
        try bench.keys("ca")
        try bench.setMode("ca.key", 0o644)
        #expect(try bench.keys("fingerprint", "ca.key").contains("can be read by everyone"))
    }

    @Test(.enabled(if: FileManager.default.isExecutableFile(atPath: "/usr/bin/setpriv"), "needs setpriv"))
    func `a file that may not be read is told from one that is not there`() throws {
        let bench = try Bench()
        try bench.keys("ca")
        try bench.setMode("ca.key", 0)
        guard geteuid() == 0 else {
            #expect(try bench.keys("fingerprint", "ca.key", status: 1).contains("may not be read by user"))
            return
        }
        // Root reads everything, so the program is run as somebody else, from a place that he can reach.
        try bench.setMode(".", 0o755)
        try FileManager.default.copyItem(atPath: Bench.program, toPath: "\(bench.path)/culvert")
        try bench.setMode("culvert", 0o755)
        let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", "./culvert", "keys"]
        let outcome = try bench.run("setpriv", nobody + ["fingerprint", "ca.key"])
        #expect(outcome.status == 1 && outcome.output.contains("ca.key: may not be read by user 65534"))
        let refused = try bench.run("setpriv", nobody + ["ca", "--out", "mine"])
        #expect(refused.status == 1 && refused.output.contains("cannot be written: Permission denied"))
    }

    @Test(arguments: [
        ["nonsense"], ["issue"], ["issue", "--name", ""], ["issue", "--name", "n", "--dns", "a b"],
        ["issue", "--name", "n", "--ip", "1.2.3"], ["issue", "--name", "n", "--days", "0"],
        ["issue", "--name", "n", "--days", "36501"], ["issue", "--name", "n", "--key", "rsa-512"],
        ["ca", "--days", "-1"], ["ca", "--name", ""], ["ca", "extra"], ["psk"], ["psk", "--identity", ""],
        ["psk", "--identity", "#a"], ["psk", "--identity", "a\nb"], ["revoke"],
        ["revoke", "--crl", "c", "--serial", "xyz"], ["revoke", "--crl", "c", "--reason", "mood"], ["fingerprint"],
        ["self-signed", "--name", "n", "--group", "no such group, surely"],
    ])
    func `a mistake on the command line is a usage error and makes nothing`(arguments: [String]) throws {
        let bench = try Bench()
        let outcome = try bench.run(Bench.program, ["keys"] + arguments)
        #expect(outcome.status == 64, "\(outcome.output)")
        #expect(try bench.names.isEmpty)
    }
}
