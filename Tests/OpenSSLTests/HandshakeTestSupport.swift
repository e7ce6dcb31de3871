// What the handshake tests share: credentials made once, one end of a handshake with the simplest record layer there
// is behind it, and a wire in memory between two such ends.

import DTLS
import Foundation
import Testing
import Wire

@testable import OpenSSL

typealias Progress = HandshakeProgress<OpenSSLRecordProtection>

/// Certificates that are made once, because RSA keys take their time.
struct TestPKI: Sendable {
    let scratch: Scratch
    let authority: CertificateAuthority
    let other: CertificateAuthority
    let ecdsa: Credential
    let rsa: Credential
    let client: Credential
    let expired: Credential
    let selfSigned: Credential

    static let shared = Result { try TestPKI() }

    private init() throws {
        scratch = try Scratch()
        let now = UTCTime.now()
        let year = Validity.days(365, from: now)
        let longAgo = Validity(notBefore: now - 400 * UTCTime.day, notAfter: now - 30 * UTCTime.day)
        let always = Validity(notBefore: now - 800 * UTCTime.day, notAfter: now + 800 * UTCTime.day)
        let key = try PrivateKey.generate(.ecdsaP256)
        let authority = try CertificateAuthority.create(commonName: "test CA", key: key, validity: always)
        func issue(_ name: String, _ kind: KeyKind = .ecdsaP256, _ validity: Validity? = nil) throws -> Credential {
            let key = try PrivateKey.generate(kind)
            let subject = try CertificateSubject(commonName: name, ipAddresses: ["127.0.0.1", "::1"])
            return Credential(
                certificate: try authority.issue(to: subject, key: key, validity: validity ?? year), privateKey: key)
        }
        self.authority = authority
        other = try CertificateAuthority.create(
            commonName: "other CA", key: try PrivateKey.generate(.ecdsaP256), validity: always)
        ecdsa = try issue("server.example.net")
        rsa = try issue("server.example.net", .rsa2048)
        client = try issue("edge-7.example.net")
        expired = try issue("old.example.net", .ecdsaP256, longAgo)
        let ownKey = try PrivateKey.generate(.ecdsaP256)
        selfSigned = Credential(
            certificate: try CertificateAuthority.selfSigned(
                try CertificateSubject(commonName: "lonely.example.net"), key: ownKey, validity: year),
            privateKey: ownKey)
        try scratch.write(try Certificate.pem([authority.certificate]), "ca.crt", mode: 0o644)
        for (name, credential) in [("ecdsa", ecdsa), ("rsa", rsa), ("client", client), ("self", selfSigned)] {
            try scratch.write(try Certificate.pem([credential.certificate]), "\(name).crt", mode: 0o644)
            try scratch.write(try credential.privateKey.pem(), "\(name).key")
        }
    }

    var trust: TrustAnchors { anchors([authority.certificate]) }

    func anchors(_ authorities: [Certificate], lists: [RevocationList] = []) -> TrustAnchors {
        TrustAnchors(authorities: authorities, revocationLists: lists, usesSystemStore: false)
    }

    /// A client that trusts the test CA and shows the client certificate.
    var clientOptions: HandshakeContext.Options {
        var options = HandshakeContext.Options()
        options.trust = trust
        options.credential = client
        return options
    }

    /// A server that shows the ECDSA certificate and wants one of the test CA.
    var serverOptions: HandshakeContext.Options {
        var options = HandshakeContext.Options()
        options.trust = trust
        options.credential = ecdsa
        return options
    }
}

/// A pre-shared key for tests.
func preSharedKey(_ identity: String, _ byte: UInt8 = 7) -> PreSharedKey {
    PreSharedKey(identity: identity, key: SecretBytes(copying: [UInt8](repeating: byte, count: 32).span))
}

/// A server's table with one pre-shared key.
func preSharedKeys(_ identity: String, _ byte: UInt8 = 7) throws -> PreSharedKeys {
    let digits = String(repeating: String(format: "%02x", byte), count: 32)
    return try #require(PreSharedKeys.parse(SecretBytes("\(identity):\(digits)\n"), path: "peers").value)
}

/// The records of a datagram.
func records(of datagram: [UInt8]) -> [[UInt8]] {
    var result: [[UInt8]] = []
    var offset = 0
    while let header = RecordHeader(datagram.bytes, at: offset) {
        let next = offset + RecordHeader.size + header.length
        result.append(Array(datagram[offset..<next]))
        offset = next
    }
    return result
}

/// A record's header; every record in these tests has one.
func header(of record: [UInt8]) throws -> RecordHeader {
    let header = RecordHeader(record.bytes, at: 0)
    return try #require(header)
}

/// One end: an engine until it has given keys, then a record layer without any of the care that a real one takes.
final class TestEnd {
    let engine: OpenSSLHandshake
    private(set) var result: HandshakeResult<OpenSSLRecordProtection>?
    private(set) var failure: HandshakeFailure?
    /// Application data that has arrived.
    var received: [[UInt8]] = []
    /// Alerts that have arrived under the new keys.
    var alerts: [Alert] = []
    private var waiting: [[UInt8]] = []
    private var nextSequence: UInt64 = 0

    init(_ engine: OpenSSLHandshake) { self.engine = engine }

    func start() { take(engine.start()) }

    func timeOut() { take(engine.handleTimeout()) }

    func receive(_ datagram: [UInt8]) {
        for record in records(of: datagram) { receive(record: record) }
    }

    private func receive(record: [UInt8]) {
        guard let header = RecordHeader(record.bytes, at: 0), failure == nil else { return }
        if result == nil {
            if header.type == .applicationData { waiting.append(record) } else { take(engine.receive(record.bytes)) }
            return
        }
        guard header.number.epoch == 1, let content = open(record) else { return }
        switch header.type {
        case .applicationData: received.append(content)
        case .alert: Alert(content.bytes).map { alerts.append($0) }
        default: break
        }
    }

    func open(_ record: [UInt8]) -> [UInt8]? {
        guard let protection = result?.protection, let header = RecordHeader(record.bytes, at: 0) else { return nil }
        var record = record
        guard let range = record.withMutableBytes({ protection.open(&$0, header: header) }) else { return nil }
        return Array(record[range])
    }

    /// Seals application data, or something else.
    func seal(_ content: [UInt8], _ type: ContentType = .applicationData) -> [UInt8] {
        guard let protection = result?.protection else { return [] }
        var buffer = [UInt8](repeating: 0, count: content.count + 64)
        let number = RecordNumber(epoch: 1, sequence: nextSequence)
        nextSequence += 1
        let length = buffer.withMutableBytes {
            protection.seal(type, number: number, plaintext: content.bytes, into: &$0)
        }
        return Array(buffer.prefix(length ?? 0))
    }

    func transmits() -> [[UInt8]] {
        var datagrams: [[UInt8]] = []
        while let datagram = engine.pollTransmit() { datagrams.append(datagram) }
        return datagrams
    }

    private func take(_ progress: Progress) {
        switch progress {
        case .waiting: break
        case .failed(let failure): self.failure = failure
        case .established(let result):
            self.result = result
            nextSequence = result.nextSequence
            for record in waiting { receive(record: record) }
        }
    }
}

/// A client, a server and everything that has crossed between them.
struct TestPair {
    let client: TestEnd
    let server: TestEnd
    private(set) var fromClient: [[UInt8]] = []
    private(set) var fromServer: [[UInt8]] = []

    init(
        _ clientOptions: HandshakeContext.Options, _ serverOptions: HandshakeContext.Options,
        name: String = "server.example.net", datagramSize: Int = 1452
    ) throws {
        try self.init(
            HandshakeContext(.client, clientOptions), HandshakeContext(.server, serverOptions), name: name,
            datagramSize: datagramSize)
    }

    init(
        _ clientContext: HandshakeContext, _ serverContext: HandshakeContext, name: String = "server.example.net",
        session: ClientSession? = nil, datagramSize: Int = 1452
    ) throws {
        client = TestEnd(
            try OpenSSLHandshake(
                client: clientContext, verifying: PeerName(name), resuming: session, datagramSize: datagramSize))
        server = TestEnd(
            try OpenSSLHandshake(server: serverContext, cookieVerified: false, datagramSize: datagramSize))
    }

    /// Exchanges datagrams until there are none left.
    mutating func run() {
        client.start()
        exchange()
    }

    mutating func exchange() {
        while true {
            let toServer = client.transmits()
            for datagram in toServer { server.receive(datagram) }
            let toClient = server.transmits()
            for datagram in toClient { client.receive(datagram) }
            fromClient += toServer
            fromServer += toClient
            if toServer.isEmpty, toClient.isEmpty { return }
        }
    }
}
