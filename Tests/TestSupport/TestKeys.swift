// Keys and certificates as a user makes them: with `culvert keys`, and with openssl where a mistake is wanted.

import Foundation

/// The keys of all tests of the process, made once. `path("server.crt")` names a file; there are, each with its `.key`:
/// - `ca.crt`: the authority of all but the strangers; `other-ca.crt`: one that nobody here trusts;
/// - `server`, `server-rsa`: for localhost, 127.0.0.1 and ::1; `client`, `client-rsa`: CN edge-7;
/// - `stranger`, `stranger-server`: of the other authority; `expired`, `revoked`: clients, the latter on `crl.pem`;
/// - `expired-server`: like `server`, but expired.
///
/// `peers.psk` has the identities branch-7, branch-8 and coap; `branch-7.psk` has the key that ``preSharedKey`` is; coap's is ``preSharedText``.
public final class TestKeys: Sendable {
    /// Made by whoever asks first.
    public static func shared() async throws -> TestKeys { try await making.value }
    private static let making = Task { try await TestKeys() }

    /// The key of the identity branch-7 in hexadecimal digits.
    public let preSharedKey = String(repeating: "c0ffee07", count: 8)

    /// The key of the identity coap, for programs that take a key as text.
    public let preSharedText = "thirty-two letters make a key..."

    private let directory: TemporaryDirectory

    /// Where the file `name` is.
    public func path(_ name: String) -> String { directory(name) }

    private init() async throws {
        directory = try TemporaryDirectory()
        let host = ["--name", "localhost", "--ip", "127.0.0.1", "--ip", "::1"]
        try await keys("ca", "--out", directory("ca"), "--name", "test CA")
        try await keys("ca", "--out", directory("other-ca"), "--name", "other CA")
        func issue(_ out: String, _ arguments: [String], authority: String = "ca") async throws {
            let ends = ["--ca", directory(authority), "--out", directory(out)]
            try await keys(["issue"] + arguments + ends)
        }
        try await issue("server", host)
        try await issue("server-rsa", host + ["--key", "rsa-2048"])
        try await issue("client", ["--name", "edge-7"])
        try await issue("client-rsa", ["--name", "edge-7", "--key", "rsa-2048"])
        try await issue("stranger", ["--name", "stranger"], authority: "other-ca")
        try await issue("stranger-server", host, authority: "other-ca")
        try await issue("revoked", ["--name", "revoked"])
        try await keys(
            "revoke", "--ca", directory("ca"), "--crl", directory("crl.pem"), directory("revoked.crt"))
        try await expire("expired", from: "client")
        try await expire("expired-server", from: "server")
        try directory.write("branch-7:\(preSharedKey)\n", "branch-7.psk")
        let text = preSharedText.utf8.map { String($0, radix: 16) }.joined()
        try directory.write(
            "branch-7:\(preSharedKey)\nbranch-8:\(String(repeating: "b8", count: 32))\ncoap:\(text)\n", "peers.psk")
    }

    /// A certificate with names and key of another one, but in the past.
    private func expire(_ name: String, from model: String) async throws {
        try FileManager.default.copyItem(atPath: directory("\(model).key"), toPath: directory("\(name).key"))
        let (subject, alternatives) =
            model == "client" ? ("/CN=expired", "DNS:expired") : ("/CN=localhost", "DNS:localhost,IP:127.0.0.1")
        try directory.write(
            """
            [ca]
            default_ca = ca_default
            [ca_default]
            database = \(directory("\(name).index"))
            serial = \(directory("\(name).serial"))
            new_certs_dir = \(directory.path)
            certificate = \(directory("ca.crt"))
            private_key = \(directory("ca.key"))
            default_md = sha256
            policy = anything
            x509_extensions = node
            [anything]
            commonName = supplied
            [node]
            basicConstraints = critical,CA:FALSE
            keyUsage = critical,digitalSignature
            extendedKeyUsage = serverAuth,clientAuth
            subjectAltName = \(alternatives)
            subjectKeyIdentifier = hash
            authorityKeyIdentifier = keyid

            """, "\(name).cnf")
        try directory.write("", "\(name).index")
        try directory.write("77\n", "\(name).serial")
        try await run([
            "openssl", "req", "-new", "-key", directory("\(name).key"), "-subj", subject, "-out",
            directory("\(name).csr"),
        ])
        try await run([
            "openssl", "ca", "-batch", "-config", directory("\(name).cnf"), "-in", directory("\(name).csr"), "-out",
            directory("\(name).crt"), "-notext", "-startdate", "20240101000000Z", "-enddate", "20240201000000Z",
        ])
    }

    private func keys(_ arguments: String...) async throws { try await keys(arguments) }

    private func keys(_ arguments: [String]) async throws {
        try await run([Program.built("culvert"), "keys"] + arguments)
    }

    private func run(_ arguments: [String]) async throws {
        let (status, said) = try await Program.run(arguments)
        guard status == 0 else { throw Unusable("\(arguments): \(said)") }
    }
}

/// A part of a test's surroundings that is not as it has to be.
public struct Unusable: Error, CustomStringConvertible {
    /// What is wrong.
    public let description: String

    /// Makes an error.
    public init(_ description: String) { self.description = description }
}
