// The programs of others that culvert has to get along with, and how each is told to play its part.

import TestSupport
import Testing

/// Somebody else's DTLS program.
enum Tool: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case openssl, gnutls, socat

    var testDescription: String { rawValue }

    var isInstalled: Bool {
        switch self {
        case .openssl: Program.isInstalled("openssl")
        case .gnutls: Program.isInstalled("gnutls-cli") && Program.isInstalled("gnutls-serv")
        case .socat: Program.isInstalled("socat")
        }
    }

    /// Whether its server sends back what it gets; the others' output and input are the test's.
    var echoes: Bool { self == .gnutls }

    /// A server of its kind on a port of 127.0.0.1; `extra` is added in its own way of giving options. `application` is what
    /// socat connects it with.
    func server(
        _ manner: Manner, port: UInt16, keys: TestKeys, extra: [String] = [], application: String = "STDIO"
    ) async throws -> Program {
        switch self {
        case .openssl:
            // It says nothing when it is ready: before, datagrams are lost, and a client has to send them again.
            return try Program(opensslServer(manner, port, keys) + extra)
        case .gnutls:
            let server = try Program(gnutlsServer(manner, port, keys) + extra)
            try await server.expect("IPv6 :: port \(port)...done")
            return server
        case .socat:
            var options = ["OPENSSL-DTLS-SERVER:\(port)", "bind=127.0.0.1"] + socatOptions(manner, keys)
            options.append("verify=\(manner.isMutual ? 1 : 0)")
            return try Program(["socat", socatFiles(manner.server, options, keys, extra), application])
        }
    }

    /// A client of its kind that connects to a port of 127.0.0.1.
    func client(_ manner: Manner, port: UInt16, keys: TestKeys, extra: [String] = []) throws -> Program {
        switch self {
        case .openssl: return try Program(opensslClient(manner, port, keys) + extra)
        case .gnutls: return try Program(gnutlsClient(manner, port, keys) + extra)
        case .socat:
            let options = ["OPENSSL-DTLS-CLIENT:localhost:\(port)", "pf=ip4"] + socatOptions(manner, keys)
            let certificate = manner.isMutual ? manner.client : nil
            return try Program(["socat", socatFiles(certificate, options, keys, extra), "STDIO"])
        }
    }

    // MARK: openssl

    private func opensslServer(_ manner: Manner, _ port: UInt16, _ keys: TestKeys) -> [String] {
        var arguments = ["openssl", "s_server", "-dtls1_2", "-accept", "127.0.0.1:\(port)", "-mtu", "1400"]
        arguments += ["-cipher", manner.suite, "-groups", manner.groups]
        if manner.isPreShared {
            return arguments + ["-nocert", "-psk", keys.preSharedKey, "-psk_identity", "branch-7"]
        }
        arguments += ["-cert", keys.path("\(manner.server).crt"), "-key", keys.path("\(manner.server).key")]
        arguments += ["-CAfile", keys.path("ca.crt")]
        return arguments + (manner.isMutual ? ["-Verify", "2", "-verify_return_error"] : [])
    }

    private func opensslClient(_ manner: Manner, _ port: UInt16, _ keys: TestKeys) -> [String] {
        // Without -nbio it blocks in recvfrom after a datagram that is none of its records, and reads no more input.
        var arguments = ["openssl", "s_client", "-dtls1_2", "-connect", "127.0.0.1:\(port)", "-mtu", "1400", "-nbio"]
        arguments += ["-cipher", manner.suite, "-groups", manner.groups]
        if manner.isPreShared { return arguments + ["-psk", manner.key(keys), "-psk_identity", manner.identity] }
        arguments += ["-CAfile", keys.path("ca.crt"), "-verify_return_error", "-verify_hostname", "localhost"]
        guard manner.isMutual else { return arguments }
        return arguments + ["-cert", keys.path("\(manner.client).crt"), "-key", keys.path("\(manner.client).key")]
    }

    // MARK: gnutls

    private func gnutlsServer(_ manner: Manner, _ port: UInt16, _ keys: TestKeys) -> [String] {
        let arguments = [
            "gnutls-serv", "--udp", "--port", "\(port)", "--echo", "--mtu", "1400", "--priority", manner.priority,
        ]
        if manner.isPreShared { return arguments + ["--pskpasswd", keys.path("peers.psk")] }
        return arguments + [
            "--x509certfile", keys.path("\(manner.server).crt"), "--x509keyfile", keys.path("\(manner.server).key"),
            "--x509cafile", keys.path("ca.crt"),
        ] + (manner.isMutual ? ["--require-client-cert", "--verify-client-cert"] : ["--disable-client-cert"])
    }

    private func gnutlsClient(_ manner: Manner, _ port: UInt16, _ keys: TestKeys) -> [String] {
        var arguments = ["gnutls-cli", "--udp", "--port", "\(port)", "127.0.0.1", "--mtu", "1400"]
        arguments += ["--priority", manner.priority]
        if manner.isPreShared {
            return arguments + ["--pskusername", manner.identity, "--pskkey", manner.key(keys)]
        }
        arguments += ["--x509cafile", keys.path("ca.crt"), "--verify-hostname", "localhost"]
        guard manner.isMutual else { return arguments }
        let path = keys.path(manner.client)
        return arguments + ["--x509certfile", "\(path).crt", "--x509keyfile", "\(path).key"]
    }

    // MARK: socat

    private func socatOptions(_ manner: Manner, _ keys: TestKeys) -> [String] {
        ["ciphers=\(manner.suite)", "min-version=DTLS1.2", "cafile=\(keys.path("ca.crt"))"]
    }

    private func socatFiles(_ name: String?, _ options: [String], _ keys: TestKeys, _ extra: [String]) -> String {
        let files = name.map { ["cert=\(keys.path("\($0).crt"))", "key=\(keys.path("\($0).key"))"] } ?? []
        return (options + files + extra).joined(separator: ",")
    }
}

/// How two ends shake hands.
struct Manner: Sendable, CustomTestStringConvertible {
    var suite = "ECDHE-ECDSA-AES128-GCM-SHA256"
    var group = "X25519"
    var isMutual = true
    /// The names of the certificates, in the ``TestKeys``.
    var server = "server"
    var client = "client"
    /// Who a client with a pre-shared key says that it is.
    var identity = "branch-7"
    /// Its key, unless it is the right one.
    var wrongKey: String?

    var isPreShared: Bool { suite.contains("PSK") }
    var testDescription: String { "\(suite) \(group)\(isMutual ? " mutual" : "")" }

    static let ecdsa = Manner()
    static let preShared = Manner(suite: "ECDHE-PSK-CHACHA20-POLY1305")
    static let plainPreShared = Manner(suite: "PSK-AES128-GCM-SHA256")

    static let all = [
        ecdsa,
        Manner(suite: "ECDHE-ECDSA-AES256-GCM-SHA384", group: "P-256"),
        Manner(suite: "ECDHE-ECDSA-CHACHA20-POLY1305", isMutual: false),
        Manner(suite: "ECDHE-RSA-AES128-GCM-SHA256", group: "P-256", isMutual: false, server: "server-rsa"),
        Manner(suite: "ECDHE-RSA-AES256-GCM-SHA384", server: "server-rsa", client: "client-rsa"),
        Manner(suite: "ECDHE-RSA-CHACHA20-POLY1305", group: "P-256", server: "server-rsa"),
        preShared,
        plainPreShared,
    ]

    func key(_ keys: TestKeys) -> String { wrongKey ?? keys.preSharedKey }

    /// OpenSSL's words for the groups: the P-256 keys in certificates need their curve in the list as well.
    var groups: String { group == "X25519" ? "X25519:P-256" : group }

    /// GnuTLS's words for it.
    var priority: String {
        let exchange =
            isPreShared
            ? (suite.hasPrefix("ECDHE") ? "ECDHE-PSK" : "PSK") : suite.contains("RSA") ? "ECDHE-RSA" : "ECDHE-ECDSA"
        let cipher =
            suite.contains("CHACHA20") ? "CHACHA20-POLY1305" : suite.contains("AES256") ? "AES-256-GCM" : "AES-128-GCM"
        // The P-256 keys in certificates need their curve in the list, whatever the exchange uses.
        let named = group == "X25519" ? "GROUP-X25519:+GROUP-SECP256R1" : "GROUP-SECP256R1"
        return "NONE:+VERS-DTLS1.2:+\(exchange):+\(cipher):+AEAD:+SIGN-ALL:+\(named):+COMP-NULL:+CTYPE-X509"
    }
}

extension Trait where Self == ConditionTrait {
    /// Skips, and says so, where one of `tools` is missing.
    static func needs(_ tools: [Tool]) -> Self {
        let missing = tools.filter { !$0.isInstalled }.map(\.rawValue).joined(separator: " and ")
        return .enabled(if: missing.isEmpty, "\(missing) is not installed")
    }
}
