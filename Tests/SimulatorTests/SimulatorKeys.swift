// Certificates and contexts for simulations. They are made once, because RSA keys take their time.

import Foundation
import Wire

@testable import OpenSSL

/// Who is who in a simulation.
struct SimulatorKeys: Sendable {
    static let serverName = "server.example.net"
    static let clientName = "edge-7.example.net"

    /// Known to both ends.
    private let authority: CertificateAuthority
    private let server: Credential
    private let client: Credential
    /// A key of 4096 bits in a chain of two: a server flight of more than four kilobytes.
    private let largeServer: Credential
    private let largeAuthority: CertificateAuthority

    static let shared = Result { try SimulatorKeys() }

    private init() throws {
        let validity = Validity.days(365, from: Int64(Date.now.timeIntervalSince1970))
        authority = try CertificateAuthority.create(
            commonName: "simulated CA", key: try PrivateKey.generate(.ecdsaP256), validity: validity)
        let authority = authority
        func issue(_ name: String) throws -> Credential {
            let key = try PrivateKey.generate(.ecdsaP256)
            let subject = try CertificateSubject(commonName: name, dnsNames: [name])
            return Credential(
                certificate: try authority.issue(to: subject, key: key, validity: validity), privateKey: key)
        }
        server = try issue(Self.serverName)
        client = try issue(Self.clientName)
        // One key for both certificates: what counts here is their size.
        let key = try PrivateKey.generate(.rsa4096)
        largeAuthority = try CertificateAuthority.create(commonName: "large CA", key: key, validity: validity)
        let subject = try CertificateSubject(commonName: Self.serverName, dnsNames: [Self.serverName])
        largeServer = Credential(
            certificate: try largeAuthority.issue(to: subject, key: key, validity: validity),
            intermediates: [largeAuthority.certificate], privateKey: key)
    }

    private var trust: TrustAnchors {
        TrustAnchors(
            authorities: [authority.certificate, largeAuthority.certificate], revocationLists: [],
            usesSystemStore: false)
    }

    /// What a simulation chooses of the handshake.
    struct Choice: Sendable {
        var clientShowsCertificate = true
        var usesLargeServerCertificate = false
        var usesSessionTickets = false
        /// A key instead of certificates; the client's may be another than the server's.
        var preSharedKey: (client: UInt8, server: UInt8)?
        var ciphers: String?
        /// What the ends say about heartbeats; nothing unless a simulation is about them.
        var heartbeat: (client: HeartbeatMode?, server: HeartbeatMode?) = (nil, nil)
    }

    func clientContext(_ choice: Choice) throws -> HandshakeContext {
        var options = HandshakeContext.Options()
        options.trust = trust
        options.credential = choice.clientShowsCertificate ? client : nil
        options.preSharedKey = choice.preSharedKey.map { key in
            let bytes = [UInt8](repeating: key.client, count: 32)
            return PreSharedKey(identity: "edge-7", key: SecretBytes(copying: bytes.span))
        }
        options.usesSessionTickets = choice.usesSessionTickets
        options.ciphers = choice.ciphers
        options.heartbeatMode = choice.heartbeat.client
        return try HandshakeContext(.client, options)
    }

    func serverContext(_ choice: Choice) throws -> HandshakeContext {
        var options = HandshakeContext.Options()
        options.trust = choice.clientShowsCertificate ? trust : nil
        options.requiresPeerCertificate = choice.clientShowsCertificate
        options.credential = choice.usesLargeServerCertificate ? largeServer : server
        if let key = choice.preSharedKey?.server {
            let digits = String(repeating: String(format: "%02x", key), count: 32)
            let text = Array("edge-7:\(digits)\n".utf8)
            options.preSharedKeys = PreSharedKeys.parse(SecretBytes(copying: text.span), path: "peers").value
            options.credential = nil
            options.requiresPeerCertificate = false
        }
        options.usesSessionTickets = choice.usesSessionTickets
        options.ciphers = choice.ciphers
        options.heartbeatMode = choice.heartbeat.server
        return try HandshakeContext(.server, options)
    }
}
