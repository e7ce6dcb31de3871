import DTLS
import Testing
import Wire

@testable import OpenSSL

/// What must not be believed is not, and each end says why.
@Suite struct HandshakeFailureTests {
    private let pki: TestPKI

    init() throws { pki = try TestPKI.shared.get() }

    /// Runs a handshake that has to fail; the result is why the two ends say it did.
    private func failures(
        _ client: HandshakeContext.Options, _ server: HandshakeContext.Options, name: String = "server.example.net"
    ) throws -> (client: HandshakeFailure?, server: HandshakeFailure?) {
        var pair = try TestPair(client, server, name: name)
        pair.run()
        #expect(pair.client.result == nil || pair.server.result == nil)
        return (pair.client.failure, pair.server.failure)
    }

    @Test func `a server of another authority is refused, and told so`() throws {
        var options = pki.clientOptions
        options.trust = pki.anchors([pki.other.certificate])
        let (client, server) = try failures(options, pki.serverOptions)
        #expect(client?.reason == .certificate)
        #expect(
            client?.detail
                == "certificate verify failed: unable to get local issuer certificate (CN=server.example.net)")
        #expect(client?.cause == .certificate(.unknownIssuer(issuer: "CN=test CA")))
        #expect(server?.reason == .alert(Alert.Description(rawValue: 48)))
    }

    @Test func `a client of another authority is refused`() throws {
        var options = pki.serverOptions
        options.trust = pki.anchors([pki.other.certificate])
        let (client, server) = try failures(pki.clientOptions, options)
        #expect(server?.reason == .certificate && server?.detail.contains("CN=edge-7.example.net") == true)
        #expect(client?.reason == .alert(Alert.Description(rawValue: 48)))
    }

    @Test(arguments: ["other.example.net", "example.net", "192.0.2.1", "a.server.example.net"])
    func `a server of another name is refused, and its names are told`(name: String) throws {
        let (client, _) = try failures(pki.clientOptions, pki.serverOptions, name: name)
        #expect(client?.reason == .certificate)
        #expect(client?.detail.contains("mismatch") == true)
        let addresses = ["127.0.0.1", "::1"].compactMap { IPAddress($0) }
        #expect(
            client?.cause == .certificate(.otherName(dnsNames: ["server.example.net"], addresses: addresses)))
    }

    @Test(arguments: ["server.example.net", "SERVER.example.NET", "server.example.net.", "127.0.0.1", "::1"])
    func `every name of the certificate is accepted`(name: String) throws {
        var pair = try TestPair(pki.clientOptions, pki.serverOptions, name: name)
        pair.run()
        #expect(pair.client.result != nil && pair.server.result != nil)
    }

    @Test(arguments: ["", "a\u{0}b", String(repeating: "a.", count: 200)])
    func `a name that cannot be one is refused before anything is sent`(name: String) throws {
        let context = try HandshakeContext(.client, pki.clientOptions)
        #expect(throws: OpenSSLError.self) {
            try OpenSSLHandshake(client: context, verifying: .host(name), datagramSize: 1200)
        }
    }

    @Test func `an expired certificate is refused at either end`() throws {
        var serverOptions = pki.serverOptions
        serverOptions.credential = pki.expired
        let (client, _) = try failures(pki.clientOptions, serverOptions, name: "old.example.net")
        #expect(client?.detail == "certificate verify failed: certificate has expired (CN=old.example.net)")
        #expect(client?.cause == .certificate(.expired(at: pki.expired.certificate.notAfter)))

        var clientOptions = pki.clientOptions
        clientOptions.credential = pki.expired
        let (other, server) = try failures(clientOptions, pki.serverOptions)
        #expect(server?.detail == "certificate verify failed: certificate has expired (CN=old.example.net)")
        #expect(other?.reason == .alert(Alert.Description(rawValue: 45)))
    }

    @Test func `a revoked certificate is refused, and one without a list`() throws {
        let now = UTCTime.now()
        func list(of authority: CertificateAuthority, _ serials: [String], _ validity: Validity) throws
            -> RevocationList
        {
            try authority.revocationList(extending: nil, with: serials, reason: .keyCompromise, validity: validity)
        }
        let month = Validity.days(30, from: now)
        let past = Validity(notBefore: now - 60 * UTCTime.day, notAfter: now - UTCTime.day)
        let serial = pki.client.certificate.serialNumber
        let cases: [([RevocationList], (reason: String, fault: CertificateFault)?)] = [
            ([try list(of: pki.authority, [serial], month)], ("certificate revoked", .revoked)),
            ([try list(of: pki.authority, [], past)], ("CRL has expired", .badRevocationList(issuer: "CN=test CA"))),
            (
                [try list(of: pki.other, [], month)],
                ("unable to get certificate CRL", .noRevocationList(issuer: "CN=test CA"))
            ),
            ([try list(of: pki.authority, [pki.ecdsa.certificate.serialNumber], month)], nil),
        ]
        for (lists, expected) in cases {
            var options = pki.serverOptions
            options.trust = pki.anchors([pki.authority.certificate], lists: lists)
            var pair = try TestPair(pki.clientOptions, options)
            pair.run()
            guard let expected else {
                #expect(pair.server.result != nil)
                continue
            }
            let failure = try #require(pair.server.failure)
            #expect(failure.reason == .certificate && failure.detail.contains(expected.reason))
            #expect(failure.cause == .certificate(expected.fault))
        }
    }

    @Test func `a client without a certificate is refused where one is wanted, and let in where not`() throws {
        var client = pki.clientOptions
        client.credential = nil
        let (_, server) = try failures(client, pki.serverOptions)
        #expect(server?.reason == .certificate && server?.cause == .noCertificate)

        var options = pki.serverOptions
        options.requiresPeerCertificate = false
        var pair = try TestPair(client, options)
        pair.run()
        #expect(pair.server.result?.peer == PeerIdentity())
        // One that is shown all the same has to be right.
        client.credential = pki.selfSigned
        #expect(try failures(client, options).server?.reason == .certificate)
    }

    @Test func `a pin stands alone without an authority, whatever the name`() throws {
        var clientOptions = HandshakeContext.Options()
        clientOptions.pins = [pki.selfSigned.certificate.pin]
        clientOptions.credential = pki.selfSigned
        var serverOptions = HandshakeContext.Options()
        serverOptions.pins = [pki.client.certificate.pin, pki.selfSigned.certificate.pin]
        serverOptions.credential = pki.selfSigned
        var pair = try TestPair(clientOptions, serverOptions)
        pair.run()
        #expect(pair.client.result?.peer.commonName == "lonely.example.net" && pair.server.result != nil)

        clientOptions.pins = [pki.ecdsa.certificate.pin]
        let (client, server) = try failures(clientOptions, serverOptions)
        #expect(client?.reason == .certificate)
        #expect(client?.detail == "the key of CN=lonely.example.net is none of the pinned ones")
        #expect(client?.cause == .certificate(.notPinned(pin: pki.selfSigned.certificate.pin.description)))
        #expect(server?.reason == .alert(Alert.Description(rawValue: 42)))
    }

    @Test func `a pin does not make an expired certificate good`() throws {
        var clientOptions = pki.clientOptions
        clientOptions.trust = nil
        clientOptions.pins = [pki.expired.certificate.pin]
        var serverOptions = pki.serverOptions
        serverOptions.credential = pki.expired
        #expect(try failures(clientOptions, serverOptions).client?.detail.contains("has expired") == true)
    }

    @Test func `with an authority, the pin and the authority have to agree`() throws {
        var options = pki.clientOptions
        options.pins = [pki.ecdsa.certificate.pin]
        var pair = try TestPair(options, pki.serverOptions)
        pair.run()
        #expect(pair.client.result != nil)
        options.pins = [pki.rsa.certificate.pin]
        #expect(try failures(options, pki.serverOptions).client?.detail.contains("pinned") == true)
        options.pins = [pki.ecdsa.certificate.pin]
        options.trust = pki.anchors([pki.other.certificate])
        #expect(try failures(options, pki.serverOptions).client?.reason == .certificate)
    }

    @Test func `with nothing to believe by, nobody is believed`() throws {
        let (client, _) = try failures(HandshakeContext.Options(), pki.serverOptions)
        #expect(client?.reason == .certificate)
        #expect(client?.cause == .certificate(.nothingTrusted(pin: pki.ecdsa.certificate.pin.description)))
        var options = pki.serverOptions
        options.trust = nil
        #expect(try failures(pki.clientOptions, options).server?.reason == .certificate)
    }

    @Test func `ends without a common suite part and say so`() throws {
        var options = pki.clientOptions
        options.ciphers = "ECDHE-ECDSA-CHACHA20-POLY1305"
        var others = pki.serverOptions
        others.ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384"
        let (client, server) = try failures(options, others)
        #expect(server?.reason == .mismatch && server?.cause == .noCommonCipher)
        #expect(client?.reason == .alert(.handshakeFailure))
    }

    /// Lets the client repeat its last flight, as it would by its timer, until one end has failed.
    private func failureOfPreSharedKeys(_ identity: String, _ key: UInt8) throws -> (
        HandshakeFailure?, HandshakeFailure?
    ) {
        var clientOptions = HandshakeContext.Options()
        clientOptions.preSharedKey = preSharedKey(identity, key)
        var serverOptions = HandshakeContext.Options()
        serverOptions.preSharedKeys = try preSharedKeys("branch-7")
        let pair = try TestPair(clientOptions, serverOptions)
        pair.client.start()
        pair.client.transmits().forEach(pair.server.receive)
        pair.server.transmits().forEach(pair.client.receive)
        let flight = pair.client.transmits()
        for repetition in 0..<3 {
            #expect(pair.server.failure == nil, "after \(repetition) flights")
            for record in flight.flatMap(records(of:)) { pair.server.receive(record) }
        }
        pair.server.transmits().forEach(pair.client.receive)
        #expect(pair.server.result == nil && pair.client.result == nil)
        return (pair.client.failure, pair.server.failure)
    }

    @Test func `a wrong pre-shared key and an unknown identity look alike from outside only`() throws {
        let (client, server) = try failureOfPreSharedKeys("branch-7", 8)
        #expect(server?.reason == .preSharedKey && server?.cause == .otherPreSharedKey)
        #expect(server?.detail.contains("for the identity \"branch-7\" is not the one known here") == true)

        let (stranger, host) = try failureOfPreSharedKeys("branch-8\n", 7)
        #expect(host?.reason == .preSharedKey && host?.cause == .unknownPreSharedKey)
        #expect(host?.detail == "the peer's pre-shared key identity \"branch-8\\n\" is not known here")
        #expect(client == stranger && client?.reason == .alert(.decryptError))
    }

    @Test func `a key that does not fit its certificate makes no context`() throws {
        var options = pki.serverOptions
        options.credential = Credential(certificate: pki.ecdsa.certificate, privateKey: pki.client.privateKey)
        #expect(throws: OpenSSLError.self) { try HandshakeContext(.server, options) }
    }

    @Test func `a chain longer than 32 KiB is refused`() throws {
        var options = pki.serverOptions
        options.credential = Credential(
            certificate: pki.ecdsa.certificate,
            intermediates: Array(repeating: pki.rsa.certificate, count: 50), privateKey: pki.ecdsa.privateKey)
        let (client, _) = try failures(pki.clientOptions, options)
        #expect(client?.reason == .protocolViolation)
    }
}
