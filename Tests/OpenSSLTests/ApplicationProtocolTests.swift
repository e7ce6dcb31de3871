import DTLS
import Testing
import Wire

@testable import OpenSSL

/// What the hellos say besides cryptography: the application protocol (RFC 7301) and the server's name (RFC 6066 §3).
@Suite struct ApplicationProtocolTests {
    private static let name = "culvert/1"
    private let pki: TestPKI

    init() throws { pki = try TestPKI.shared.get() }

    private func options(
        _ options: HandshakeContext.Options, _ applicationProtocol: String?, isRequired: Bool = false
    ) -> HandshakeContext.Options {
        var options = options
        options.applicationProtocol = applicationProtocol
        options.requiresApplicationProtocol = isRequired
        return options
    }

    @Test(arguments: [false, true])
    func `what both ends name is agreed on, required or not`(isRequired: Bool) throws {
        var pair = try TestPair(
            options(pki.clientOptions, Self.name), options(pki.serverOptions, Self.name, isRequired: isRequired))
        pair.run()
        #expect(pair.client.result?.applicationProtocol == Self.name)
        #expect(pair.server.result?.applicationProtocol == Self.name)
    }

    @Test(arguments: [("culvert/1", nil), (nil, "culvert/1"), (nil, nil), ("culvert/2", "culvert/1"), ("h2", "h")])
    func `without agreement the handshake goes on`(offered: String?, known: String?) throws {
        var pair = try TestPair(options(pki.clientOptions, offered), options(pki.serverOptions, known))
        pair.run()
        let client = try #require(pair.client.result, "\(String(describing: pair.client.failure))")
        let server = try #require(pair.server.result, "\(String(describing: pair.server.failure))")
        #expect(client.applicationProtocol == nil && server.applicationProtocol == nil)
    }

    @Test(arguments: [nil, "culvert/2"] as [String?])
    func `a server that insists refuses clients that do not offer it, and says why`(offered: String?) throws {
        var pair = try TestPair(
            options(pki.clientOptions, offered), options(pki.serverOptions, Self.name, isRequired: true))
        pair.run()
        #expect(pair.client.result == nil && pair.server.result == nil)
        #expect(pair.client.failure?.reason == .alert(Alert.Description(rawValue: 120)))
        #expect(pair.server.failure?.reason == .mismatch && pair.server.failure?.cause == .noApplicationProtocol)
        #expect(pair.server.failure?.detail.contains(Self.name) == true)
        #expect(pair.fromServer.count == 1, "nothing but the alert")
    }

    @Test func `agreement is found anew when a session is resumed`() throws {
        func context(_ role: HandshakeContext.Role, _ applicationProtocol: String?) throws -> HandshakeContext {
            var options = options(role == .client ? pki.clientOptions : pki.serverOptions, applicationProtocol)
            options.usesSessionTickets = true
            options.serverNames = ["server.example.net"]
            return try HandshakeContext(role, options)
        }
        let server = try context(.server, Self.name)
        var first = try TestPair(context(.client, Self.name), server)
        first.run()
        let session = try #require(first.client.engine.session)
        for offered in [Self.name, nil] {
            var second = try TestPair(context(.client, offered), server, session: session)
            second.run()
            let result = try #require(second.server.result)
            #expect(result.isResumed && second.client.result?.isResumed == true)
            #expect(result.applicationProtocol == offered)
            #expect(second.client.result?.applicationProtocol == offered)
            #expect(result.serverName == "server.example.net")
        }
    }

    @Test func `a hello with a cookie carries it too`() throws {
        let client = TestEnd(
            try OpenSSLHandshake(
                client: HandshakeContext(.client, options(pki.clientOptions, Self.name)),
                verifying: PeerName("server.example.net"), datagramSize: 1452))
        let server = TestEnd(
            try OpenSSLHandshake(
                server: HandshakeContext(.server, options(pki.serverOptions, Self.name, isRequired: true)),
                cookieVerified: true, datagramSize: 1452))
        client.start()
        client.receive(try helloVerifyRequest(answering: try #require(client.transmits().first)))
        for _ in 0..<3 {
            for datagram in client.transmits() { server.receive(datagram) }
            for datagram in server.transmits() { client.receive(datagram) }
        }
        #expect(client.result?.applicationProtocol == Self.name && server.result?.applicationProtocol == Self.name)
    }

    @Test(arguments: ["", String(repeating: "x", count: 256)])
    func `a name that cannot be offered is refused`(name: String) {
        #expect(throws: OpenSSLError.self) { try HandshakeContext(.client, options(pki.clientOptions, name)) }
        #expect(throws: OpenSSLError.self) { try HandshakeContext(.server, options(pki.serverOptions, name)) }
    }

    @Test func `the longest name is agreed on`() throws {
        let name = String(repeating: "x", count: 255)
        var pair = try TestPair(options(pki.clientOptions, name), options(pki.serverOptions, name))
        pair.run()
        #expect(pair.client.result?.applicationProtocol == name && pair.server.result?.applicationProtocol == name)
    }

    @Test func `both ends know the name that the client asked for, the server in lower case`() throws {
        var pair = try TestPair(pki.clientOptions, pki.serverOptions, name: "SERVER.example.NET.")
        pair.run()
        #expect(pair.client.result?.serverName == "SERVER.example.NET")
        #expect(pair.server.result?.serverName == "server.example.net")
    }

    @Test func `an address is no name`() throws {
        var pair = try TestPair(pki.clientOptions, pki.serverOptions, name: "127.0.0.1")
        pair.run()
        #expect(pair.client.result != nil && pair.client.result?.serverName == nil)
        #expect(pair.server.result != nil && pair.server.result?.serverName == nil)
    }

    @Test func `a name that is no host name is not told, and refused by nobody`() throws {
        var options = HandshakeContext.Options()
        options.preSharedKey = preSharedKey("branch-7")
        var serverOptions = HandshakeContext.Options()
        serverOptions.preSharedKeys = try preSharedKeys("branch-7")
        for name in ["a b", "x\u{1b}[2J", "bücher.example"] {
            var pair = try TestPair(options, serverOptions, name: name)
            pair.run()
            let server = try #require(pair.server.result, "\(String(describing: pair.server.failure))")
            #expect(server.serverName == nil)
        }
    }
}

/// The same against other people's programs.
@Suite struct ApplicationProtocolInteropTests {
    private let pki: TestPKI
    private var scratch: Scratch { pki.scratch }

    init() throws { pki = try TestPKI.shared.get() }

    private static let offers = ["culvert/1", "h2,culvert/1", "h2", nil]

    private func clientOptions() -> HandshakeContext.Options {
        var options = pki.clientOptions
        options.applicationProtocol = "culvert/1"
        return options
    }

    private func serverOptions(isRequired: Bool) -> HandshakeContext.Options {
        var options = pki.serverOptions
        options.applicationProtocol = "culvert/1"
        options.requiresApplicationProtocol = isRequired
        options.requiresPeerCertificate = false
        return options
    }

    private static func expected(_ offer: String?) -> String? {
        offer?.hasSuffix("culvert/1") == true ? "culvert/1" : nil
    }

    @Test(.enabled(if: hasOpenSSLProgram, "openssl is not installed"), arguments: offers)
    func `openssl s_server is offered the protocol`(known: String?) throws {
        let port = try LoopbackSocket.freePort()
        let server = try PeerProgram(
            [
                "openssl", "s_server", "-dtls1_2", "-accept", "127.0.0.1:\(port)", "-listen", "-cert",
                scratch("ecdsa.crt"), "-key", scratch("ecdsa.key"),
            ] + (known.map { ["-alpn", $0] } ?? []))
        let client = try NetworkEnd(clientOptions(), to: port)
        try client.run(until: "the handshake", with: server) { $0.result != nil || $0.failure != nil }
        guard known != "h2" else {
            // With nothing in common this program gives up.
            #expect(client.end?.failure?.reason == .alert(Alert.Description(rawValue: 120)))
            return
        }
        #expect(client.end?.result?.applicationProtocol == Self.expected(known))
        if known != nil { try server.expect("ALPN protocols selected: culvert/1") }
    }

    @Test(.enabled(if: hasOpenSSLProgram, "openssl is not installed"))
    func `openssl s_server is told the name, and shows the certificate for it`() throws {
        let port = try LoopbackSocket.freePort()
        let server = try PeerProgram([
            "openssl", "s_server", "-dtls1_2", "-accept", "127.0.0.1:\(port)", "-listen", "-servername",
            "server.example.net", "-cert", scratch("rsa.crt"), "-key", scratch("rsa.key"), "-cert2",
            scratch("ecdsa.crt"), "-key2", scratch("ecdsa.key"),
        ])
        let client = try NetworkEnd(clientOptions(), to: port)
        try client.run(until: "the handshake", with: server) { $0.result != nil }
        try server.expect("Hostname in TLS extension: \"server.example.net\"")
        #expect(client.end?.result?.serverName == "server.example.net")
        #expect(client.end?.result?.cipherSuite.contains("ECDSA") == true)
    }

    @Test(.enabled(if: hasOpenSSLProgram, "openssl is not installed"), arguments: offers, [false, true])
    func `openssl s_client's offer is answered`(offer: String?, isRequired: Bool) throws {
        let server = try NetworkEnd(server: serverOptions(isRequired: isRequired), usesCookies: true)
        let client = try PeerProgram(
            [
                "openssl", "s_client", "-dtls1_2", "-connect", "127.0.0.1:\(server.socket.port)", "-servername",
                "Server.Example.NET", "-CAfile", scratch("ca.crt"), "-nbio",
            ] + (offer.map { ["-alpn", $0] } ?? []))
        try server.run(until: "an end of the handshake", with: client) { $0.result != nil || $0.failure != nil }
        guard Self.expected(offer) != nil || !isRequired else {
            #expect(server.end?.failure?.reason == .mismatch)
            try server.run(until: "the alert", with: client) { _ in client.said.contains("alert") }
            try client.expect("alert number 120")
            return
        }
        #expect(server.end?.result?.applicationProtocol == Self.expected(offer))
        #expect(server.end?.result?.serverName == "server.example.net")
        try client.expect(
            offer == nil || Self.expected(offer) == nil ? "No ALPN negotiated" : "ALPN protocol: culvert/1")
    }

    @Test(.enabled(if: hasGnuTLS, "gnutls-bin is not installed"), arguments: ["culvert/1", "h2", nil])
    func `gnutls-serv is offered the protocol`(known: String?) throws {
        let port = try LoopbackSocket.freePort()
        let server = try PeerProgram(
            [
                "gnutls-serv", "--udp", "--port", "\(port)", "--echo", "--noticket", "--disable-client-cert",
                "--x509certfile", scratch("ecdsa.crt"), "--x509keyfile", scratch("ecdsa.key"), "--priority",
                "NORMAL:-VERS-ALL:+VERS-DTLS1.2",
            ] + (known.map { ["--alpn", $0] } ?? []))
        try server.expect("listening on")
        let client = try NetworkEnd(clientOptions(), to: port)
        try client.run(until: "the handshake", with: server) { $0.result != nil }
        #expect(client.end?.result?.applicationProtocol == Self.expected(known))
    }

    @Test(.enabled(if: hasGnuTLS, "gnutls-bin is not installed"), arguments: ["culvert/1", "h2", nil], [false, true])
    func `gnutls-cli's offer is answered`(offer: String?, isRequired: Bool) throws {
        let server = try NetworkEnd(server: serverOptions(isRequired: isRequired), usesCookies: true)
        let client = try PeerProgram(
            [
                "gnutls-cli", "--udp", "--port", "\(server.socket.port)", "127.0.0.1", "--x509cafile",
                scratch("ca.crt"), "--verify-hostname", "server.example.net", "--sni-hostname", "server.example.net",
                "--priority", "NORMAL:-VERS-ALL:+VERS-DTLS1.2",
            ] + (offer.map { ["--alpn", $0] } ?? []))
        try server.run(until: "an end of the handshake", with: client) { $0.result != nil || $0.failure != nil }
        guard Self.expected(offer) != nil || !isRequired else {
            // This program believes no alert before the ServerHello, OpenSSL's server's neither, and asks again.
            #expect(server.end?.failure?.reason == .mismatch)
            return
        }
        #expect(server.end?.result?.applicationProtocol == Self.expected(offer))
        #expect(server.end?.result?.serverName == "server.example.net")
        if Self.expected(offer) != nil { try client.expect("Application protocol: culvert/1") }
    }
}
