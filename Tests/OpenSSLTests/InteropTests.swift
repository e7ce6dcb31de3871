import DTLS
import Foundation
import Testing
import Wire

@testable import OpenSSL

/// The engine and its records against other people's programs, in both roles, with data both ways.
@Suite struct InteropTests {
    private let pki: TestPKI
    private var scratch: Scratch { pki.scratch }

    init() throws { pki = try TestPKI.shared.get() }

    /// One way to shake hands.
    struct Variant: Sendable, CustomTestStringConvertible {
        var suite: String
        var group = "X25519"
        var isMutual = true
        var usesCookies = true
        var datagramSize = 1452

        var groups: String { group == "P-256" ? group : "\(group):P-256" }
        var isRSA: Bool { suite.contains("ECDHE-RSA") }
        var isPreShared: Bool { suite.contains("PSK") }
        var testDescription: String {
            "\(suite) \(group)\(isMutual ? " mutual" : "")\(usesCookies ? " cookie" : "") \(datagramSize)"
        }
        var priority: String {
            let parts = suite.replacingOccurrences(of: "AES128", with: "AES-128")
                .replacingOccurrences(of: "AES256", with: "AES-256").replacingOccurrences(of: "-SHA256", with: "")
                .replacingOccurrences(of: "-SHA384", with: "")
            let exchange =
                isPreShared ? (suite.hasPrefix("ECDHE") ? "ECDHE-PSK" : "PSK") : isRSA ? "ECDHE-RSA" : "ECDHE-ECDSA"
            let cipher = parts.replacingOccurrences(of: exchange + "-", with: "").replacingOccurrences(
                of: "CCM8", with: "CCM-8")
            // P-256 is also the curve of the certificates.
            let groups = group == "X25519" ? "+GROUP-X25519:+GROUP-SECP256R1" : "+GROUP-SECP256R1"
            return "NONE:+VERS-DTLS1.2:+\(exchange):+\(cipher):+AEAD:+SIGN-ALL:\(groups):+COMP-NULL:+CTYPE-X509"
        }
    }

    static let variants = [
        Variant(suite: "ECDHE-ECDSA-AES128-GCM-SHA256"),
        Variant(suite: "ECDHE-ECDSA-AES256-GCM-SHA384", group: "P-256", usesCookies: false),
        Variant(suite: "ECDHE-ECDSA-CHACHA20-POLY1305", datagramSize: 300),
        Variant(suite: "ECDHE-RSA-AES128-GCM-SHA256", group: "P-256", isMutual: false),
        Variant(suite: "ECDHE-RSA-AES256-GCM-SHA384", datagramSize: 256),
        Variant(suite: "ECDHE-RSA-CHACHA20-POLY1305", isMutual: false, usesCookies: false),
        Variant(suite: "ECDHE-ECDSA-AES128-CCM"),
        Variant(suite: "ECDHE-ECDSA-AES256-CCM8", group: "P-256"),
        Variant(suite: "ECDHE-PSK-CHACHA20-POLY1305"),
        Variant(suite: "PSK-AES128-GCM-SHA256", usesCookies: false),
        Variant(suite: "PSK-AES128-CCM8"),
    ]

    private static let key = String(repeating: "07", count: 32)

    private func clientOptions(_ variant: Variant) -> HandshakeContext.Options {
        var options = HandshakeContext.Options()
        options.ciphers = variant.suite
        if variant.isPreShared {
            options.preSharedKey = preSharedKey("branch-7")
        } else {
            options.trust = pki.trust
            if variant.isMutual { options.credential = pki.client }
        }
        return options
    }

    private func serverOptions(_ variant: Variant) throws -> HandshakeContext.Options {
        var options = HandshakeContext.Options()
        options.ciphers = variant.suite
        if variant.isPreShared {
            options.preSharedKeys = try preSharedKeys("branch-7")
        } else {
            options.trust = pki.trust
            options.credential = variant.isRSA ? pki.rsa : pki.ecdsa
            options.requiresPeerCertificate = variant.isMutual
        }
        return options
    }

    /// Has data cross both ways between an established end and a program that shows what it gets.
    private func exchangeData(_ end: NetworkEnd, _ program: PeerProgram, _ variant: Variant) throws {
        #expect(end.end?.result?.cipherSuite == variant.suite)
        for round in 1...3 {
            // Data that overtakes the final flight may be thrown away by the program.
            for _ in 0..<20 where !program.said.contains("from culvert \(round)") {
                end.send("from culvert \(round)\n")
                _ = program.says("from culvert \(round)", within: 50)
            }
            try program.expect("from culvert \(round)")
            program.write("to culvert \(round)\n")
            try end.run(until: "data from the program", with: program) {
                $0.received.contains(Array("to culvert \(round)\n".utf8))
            }
        }
    }

    @Test(.enabled(if: hasOpenSSLProgram, "openssl is not installed"), arguments: variants)
    func `a client shakes hands with openssl s_server`(variant: Variant) throws {
        let port = try LoopbackSocket.freePort()
        var arguments = ["openssl", "s_server", "-dtls1_2", "-accept", "127.0.0.1:\(port)", "-cipher", variant.suite]
        arguments += ["-groups", variant.groups, "-quiet", "-mtu", "\(variant.datagramSize)"]
        if variant.usesCookies { arguments.append("-listen") }
        if variant.isPreShared {
            arguments += ["-nocert", "-psk", Self.key, "-psk_identity", "branch-7"]
        } else {
            let name = variant.isRSA ? "rsa" : "ecdsa"
            arguments += [
                "-cert", scratch("\(name).crt"), "-key", scratch("\(name).key"), "-CAfile", scratch("ca.crt"),
            ]
            if variant.isMutual { arguments += ["-Verify", "2", "-verify_return_error"] }
        }
        let server = try PeerProgram(arguments)
        let client = try NetworkEnd(clientOptions(variant), to: port, datagramSize: variant.datagramSize)
        try client.run(until: "the handshake", with: server) { $0.result != nil }
        try exchangeData(client, server, variant)
    }

    @Test(.enabled(if: hasOpenSSLProgram, "openssl is not installed"), arguments: variants)
    func `a server shakes hands with openssl s_client`(variant: Variant) throws {
        let server = try NetworkEnd(
            server: serverOptions(variant), usesCookies: variant.usesCookies, datagramSize: variant.datagramSize)
        var arguments = ["openssl", "s_client", "-dtls1_2", "-connect", "127.0.0.1:\(server.socket.port)"]
        arguments += ["-cipher", variant.suite, "-groups", variant.groups, "-quiet", "-nbio"]
        arguments += ["-mtu", "\(variant.datagramSize)"]
        if variant.isPreShared {
            arguments += ["-psk", Self.key, "-psk_identity", "branch-7"]
        } else {
            arguments += [
                "-CAfile", scratch("ca.crt"), "-verify_return_error", "-verify_hostname", "server.example.net",
            ]
            if variant.isMutual { arguments += ["-cert", scratch("client.crt"), "-key", scratch("client.key")] }
        }
        let client = try PeerProgram(arguments)
        try server.run(until: "the handshake", with: client) { $0.result != nil }
        let expected = variant.isPreShared ? "branch-7" : variant.isMutual ? "edge-7.example.net" : nil
        let peer = server.end?.result?.peer
        #expect((peer?.pskIdentity ?? peer?.commonName) == expected)
        try exchangeData(server, client, variant)
    }

    @Test(.enabled(if: hasGnuTLS, "gnutls-bin is not installed"), arguments: variants)
    func `a client shakes hands with gnutls-serv`(variant: Variant) throws {
        let port = try LoopbackSocket.freePort()
        var arguments = ["gnutls-serv", "--udp", "--port", "\(port)", "--echo", "--noticket"]
        arguments += ["--priority", variant.priority, "--mtu", "\(variant.datagramSize)"]
        if variant.isPreShared {
            let path = try scratch.write("branch-7:\(Self.key)\n", "gnutls-\(port).psk")
            arguments += ["--pskpasswd", path]
        } else {
            let name = variant.isRSA ? "rsa" : "ecdsa"
            arguments += ["--x509certfile", scratch("\(name).crt"), "--x509keyfile", scratch("\(name).key")]
            arguments += ["--x509cafile", scratch("ca.crt")]
            arguments +=
                variant.isMutual ? ["--require-client-cert", "--verify-client-cert"] : ["--disable-client-cert"]
        }
        let server = try PeerProgram(arguments)
        try server.expect("listening on")
        let client = try NetworkEnd(clientOptions(variant), to: port, datagramSize: variant.datagramSize)
        try client.run(until: "the handshake", with: server) { $0.result != nil }
        #expect(client.end?.result?.cipherSuite == variant.suite)
        for round in 1...3 {
            client.send("hello \(round)\n")
            try client.run(until: "the echo", with: server) { $0.received.contains(Array("hello \(round)\n".utf8)) }
        }
    }

    // gnutls-cli 3.7.9 crashes after an ECDHE-PSK handshake, with OpenSSL's own server too.
    @Test(
        .enabled(if: hasGnuTLS, "gnutls-bin is not installed"),
        arguments: variants.filter { !$0.suite.hasPrefix("ECDHE-PSK") })
    func `a server shakes hands with gnutls-cli`(variant: Variant) throws {
        let server = try NetworkEnd(
            server: serverOptions(variant), usesCookies: variant.usesCookies, datagramSize: variant.datagramSize)
        var arguments = ["gnutls-cli", "--udp", "--port", "\(server.socket.port)", "127.0.0.1"]
        arguments += ["--priority", variant.priority, "--mtu", "\(variant.datagramSize)"]
        if variant.isPreShared {
            arguments += ["--pskusername", "branch-7", "--pskkey", Self.key]
        } else {
            arguments += ["--x509cafile", scratch("ca.crt"), "--verify-hostname", "server.example.net"]
            if variant.isMutual {
                arguments += ["--x509certfile", scratch("client.crt"), "--x509keyfile", scratch("client.key")]
            }
        }
        let client = try PeerProgram(arguments)
        try server.run(until: "the handshake", with: client) { $0.result != nil }
        try exchangeData(server, client, variant)
    }

    @Test(.enabled(if: hasGnuTLS, "gnutls-bin is not installed"), arguments: [true, false])
    func `a server without the extended master secret is refused and told so, unless it is let in`(isRequired: Bool)
        throws
    {
        let variant = Variant(suite: "ECDHE-ECDSA-AES128-GCM-SHA256", isMutual: false)
        let port = try LoopbackSocket.freePort()
        let server = try PeerProgram(
            [
                "gnutls-serv", "--udp", "--port", "\(port)", "--echo", "--noticket", "--disable-client-cert",
                "--priority", variant.priority + ":%NO_SESSION_HASH", "--x509certfile", scratch("ecdsa.crt"),
                "--x509keyfile", scratch("ecdsa.key"),
            ])
        try server.expect("listening on")
        var options = clientOptions(variant)
        options.requiresExtendedMasterSecret = isRequired
        let client = try NetworkEnd(options, to: port)
        try client.run(until: "an end of the handshake", with: server) { $0.result != nil || $0.failure != nil }
        #expect((client.end?.result == nil) == isRequired)
        guard isRequired else { return }
        let failure = try #require(client.end?.failure)
        #expect(failure.reason == .mismatch && failure.cause == .noExtendedMasterSecret)
        try server.expect("A TLS fatal alert has been received")
    }

    @Test(.enabled(if: hasGnuTLS, "gnutls-bin is not installed"), arguments: [true, false])
    func `a client without the extended master secret is refused and told so, unless it is let in`(isRequired: Bool)
        throws
    {
        let variant = Variant(suite: "ECDHE-ECDSA-AES128-GCM-SHA256", isMutual: false)
        var options = try serverOptions(variant)
        options.requiresExtendedMasterSecret = isRequired
        let server = try NetworkEnd(server: options, usesCookies: true)
        let client = try PeerProgram(
            [
                "gnutls-cli", "--udp", "--port", "\(server.socket.port)", "127.0.0.1", "--priority",
                variant.priority + ":%NO_SESSION_HASH", "--x509cafile", scratch("ca.crt"), "--verify-hostname",
                "server.example.net",
            ])
        try server.run(until: "an end of the handshake", with: client) { $0.result != nil || $0.failure != nil }
        #expect((server.end?.result == nil) == isRequired)
        guard isRequired else { return }
        #expect(server.end?.failure?.reason == .mismatch)
        try client.expect("Handshake failed")
    }
}
