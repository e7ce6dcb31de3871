import Foundation
import OpenSSL
import Testing

/// Bad input of each kind, and what is said about it.
@Suite(.enabled(if: hasOpenSSLProgram, "needs the program openssl"))
struct CredentialTests {
    private func kinds(
        _ scratch: Scratch, _ certificate: String = "node.crt", _ key: String = "node.key",
        roles: CredentialRoles = [], now: Int64 = UTCTime.now()
    ) -> [CredentialProblem.Kind] {
        Credential.load(certificate: scratch(certificate), privateKey: scratch(key), roles: roles, now: now)
            .problems.map(\.kind)
    }

    @Test(arguments: [KeyKind.ecdsaP256, .ecdsaP384, .rsa2048])
    func `a good pair loads without a word`(kind: KeyKind) throws {
        let scratch = try Scratch()
        let issued = try TestAuthority(scratch).issue("node", kind: kind)
        let loaded = Credential.load(
            certificate: scratch("node.crt"), privateKey: scratch("node.key"), roles: [.server, .client],
            now: UTCTime.now())
        #expect(loaded.problems == [])
        let credential = try #require(loaded.value)
        #expect(credential.certificate.pin == issued.certificate.pin && credential.intermediates.isEmpty)
        #expect(credential.privateKey.keyType == issued.privateKey.keyType)
    }

    @Test func `missing files are both reported`() throws {
        let scratch = try Scratch()
        #expect(kinds(scratch) == [.missing, .missing])
        #expect(kinds(scratch, "no/such/directory.crt", "") == [.missing, .unreadable])
    }

    @Test func `what is not a regular file is not opened`() throws {
        let scratch = try Scratch()
        try TestAuthority(scratch).issue("node")
        #expect(try runProgram("mkfifo", [scratch("fifo")]).status == 0)
        #expect(kinds(scratch, "fifo", "node.key") == [.unreadable])
        #expect(kinds(scratch, "node.crt", "") == [.unreadable])
    }

    @Test func `a file that is too large is not read`() throws {
        let scratch = try Scratch()
        try TestAuthority(scratch).issue("node")
        try scratch.write(Data(count: (16 << 20) + 1), "huge")
        #expect(kinds(scratch, "huge") == [.malformed])
    }

    @Test func `certificate and key swapped are recognized`() throws {
        let scratch = try Scratch()
        try TestAuthority(scratch).issue("node")
        let loaded = Credential.load(certificate: scratch("node.key"), privateKey: scratch("node.crt"), now: 0)
        let reasons = loaded.problems.filter { $0.kind == .malformed }.map(\.reason)
        #expect(
            reasons == [
                "holds no certificate in PEM form, but a private key",
                "holds no private key in PEM form, but a certificate",
            ])
    }

    @Test func `DER, garbage, nothing and cut files are malformed`() throws {
        let scratch = try Scratch()
        try TestAuthority(scratch).issue("node")
        try openssl("x509", "-in", scratch("node.crt"), "-outform", "DER", "-out", scratch("der.crt"))
        try openssl("pkey", "-in", scratch("node.key"), "-outform", "DER", "-out", scratch("der.key"))
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: scratch("der.key"))
        #expect(kinds(scratch, "der.crt", "der.key") == [.malformed, .malformed])
        try scratch.write("", "empty")
        #expect(kinds(scratch, "empty", "empty") == [.malformed, .malformed])
        try scratch.write(Data((0..<5000).map { UInt8(truncatingIfNeeded: $0 &* 31) }), "garbage")
        #expect(kinds(scratch, "garbage", "garbage") == [.malformed, .malformed])
        for name in ["node.crt", "node.key"] {
            let text = try scratch.text(name)
            for length in stride(from: 30, to: text.count - 30, by: 17) {
                try scratch.write(String(text.prefix(length)), "cut")
                let found = name == "node.crt" ? kinds(scratch, "cut") : kinds(scratch, "node.crt", "cut")
                #expect(found == [.malformed], "\(name) cut at \(length)")
            }
        }
    }

    @Test func `an encrypted key is an error, not a prompt`() throws {
        let scratch = try Scratch()
        try TestAuthority(scratch).issue("node")
        for (name, arguments) in [
            ("pkcs8.key", ["pkcs8", "-topk8", "-passout", "pass:secret", "-in", scratch("node.key"), "-out"]),
            ("old.key", ["ec", "-aes128", "-passout", "pass:secret", "-in", scratch("node.key"), "-out"]),
        ] {
            let made = try runProgram("openssl", arguments + [scratch(name)])
            #expect(made.status == 0, "\(made.output)")
            let problems = Credential.load(
                certificate: scratch("node.crt"), privateKey: scratch(name), now: UTCTime.now()
            ).problems
            #expect(problems.map(\.kind) == [.encrypted])
            #expect(problems.first?.advice.contains("openssl pkey -in \(scratch(name))") == true)
        }
    }

    @Test func `keys in every PEM form are read`() throws {
        let scratch = try Scratch()
        let issued = try TestAuthority(scratch).issue("node")
        try openssl("ec", "-in", scratch("node.key"), "-out", scratch("sec1.key"))
        try scratch.write("a comment\n" + scratch.text("node.crt") + scratch.text("sec1.key"), "mixed.key")
        #expect(kinds(scratch, "node.crt", "sec1.key") == [])
        #expect(kinds(scratch, "node.crt", "mixed.key") == [])
        #expect(PrivateKey.load(scratch("mixed.key")).value?.pin == issued.certificate.pin)
    }

    @Test func `a key that belongs to another certificate is found`() throws {
        let scratch = try Scratch()
        let test = try TestAuthority(scratch)
        try test.issue("node")
        try test.issue("other")
        let loaded = Credential.load(
            certificate: scratch("node.crt"), privateKey: scratch("other.key"), now: UTCTime.now())
        #expect(loaded.value == nil && loaded.problems.map(\.kind) == [.mismatched])
        #expect(loaded.problems.first?.path == scratch("other.key"))
    }

    @Test func `a chain in the wrong order is found`() throws {
        let scratch = try Scratch()
        try TestAuthority(scratch).issue("node")
        try scratch.write(scratch.text("ca.crt") + scratch.text("node.crt"), "wrong.crt")
        let problems = Credential.load(
            certificate: scratch("wrong.crt"), privateKey: scratch("node.key"), now: UTCTime.now()
        ).problems
        #expect(problems.map(\.kind) == [.mismatched])
        #expect(problems.first?.advice.contains("first in that file") == true)
    }

    @Test func `the calendar is looked at`() throws {
        let scratch = try Scratch()
        let test = try TestAuthority(scratch)
        let now = UTCTime.now()
        try test.issue("node", validity: Validity(notBefore: now, notAfter: now + 40 * UTCTime.day))
        #expect(kinds(scratch, now: now) == [])
        #expect(kinds(scratch, now: now + 11 * UTCTime.day) == [.expiresSoon])
        #expect(kinds(scratch, now: now + 40 * UTCTime.day) == [.expiresSoon])
        #expect(kinds(scratch, now: now + 40 * UTCTime.day + 1) == [.expired])
        #expect(kinds(scratch, now: now - 1) == [.notYetValid])
        let expired = Credential.load(
            certificate: scratch("node.crt"), privateKey: scratch("node.key"), now: now + 41 * UTCTime.day)
        #expect(expired.hasErrors && expired.value != nil)
    }

    @Test(arguments: [
        (0o600, [CredentialProblem.Kind]()), (0o400, []), (0o640, []), (0o440, []), (0o660, [.exposed]),
        (0o644, [.exposed]), (0o604, [.exposed]), (0o602, [.exposed]), (0o666, [.exposed]),
    ])
    func `a private key that others can read or change is found`(
        mode: Int, expected: [CredentialProblem.Kind]
    ) throws {
        let scratch = try Scratch()
        try TestAuthority(scratch).issue("node")
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: scratch("node.key"))
        let loaded = Credential.load(
            certificate: scratch("node.crt"), privateKey: scratch("node.key"), now: UTCTime.now())
        #expect(loaded.problems.map(\.kind) == expected)
        #expect(loaded.hasErrors == (mode & 0o007 != 0))
    }

    @Test func `a key inside a readable certificate file is found`() throws {
        let scratch = try Scratch()
        try TestAuthority(scratch).issue("node")
        try scratch.write(scratch.text("node.crt") + scratch.text("node.key"), "both.pem", mode: 0o644)
        let problems = Credential.load(
            certificate: scratch("both.pem"), privateKey: scratch("node.key"), now: UTCTime.now()
        ).problems
        #expect(problems.map(\.kind) == [.exposed] && problems.first?.path == scratch("both.pem"))
    }

    @Test func `weak keys and hashes are found`() throws {
        let scratch = try Scratch()
        try openssl(
            "req", "-x509", "-newkey", "rsa:1024", "-nodes", "-keyout", scratch("node.key"), "-out",
            scratch("node.crt"), "-subj", "/CN=weak", "-days", "90")
        #expect(kinds(scratch) == [.weak, .weak])
        _ = try TestAuthority(scratch)
        try openssl(
            "req", "-newkey", "rsa:2048", "-nodes", "-keyout", scratch("node.key"), "-out", scratch("node.csr"),
            "-subj", "/CN=sha1")
        try openssl(
            "x509", "-req", "-sha1", "-in", scratch("node.csr"), "-CA", scratch("ca.crt"), "-CAkey",
            scratch("ca.key"), "-CAcreateserial", "-days", "90", "-out", scratch("node.crt"))
        #expect(kinds(scratch) == [.weak])
    }

    @Test func `a certificate for one end is not taken for the other`() throws {
        let scratch = try Scratch()
        try openssl(
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", scratch("node.key"), "-out",
            scratch("node.crt"), "-subj", "/CN=server", "-days", "90", "-addext", "extendedKeyUsage=serverAuth")
        #expect(kinds(scratch, roles: .server) == [])
        #expect(kinds(scratch, roles: [.server, .client]) == [.unsuitable])
    }

    @Test func `a problem is one line that says where, what and what to do`() {
        let problem = CredentialProblem(.weak, path: "/etc/x", line: 3, "is bad", advice: "make it good")
        #expect(problem.description == "/etc/x:3: is bad; make it good")
    }
}

/// Names that could be taken for others are left out.
@Suite(.enabled(if: hasOpenSSLProgram, "needs the program openssl"))
struct CertificateNameTests {
    private func selfSigned(_ scratch: Scratch, subject: String, _ more: [String] = []) throws -> Certificate {
        let outcome = try runProgram(
            "openssl",
            [
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                scratch("n.key"), "-out", scratch("n.crt"), "-utf8", "-subj", subject,
            ] + more)
        #expect(outcome.status == 0, "\(outcome.output)")
        let text = SecretBytes(try scratch.text("n.crt"))
        return try #require(try Certificate.readAll(pem: text, path: "n.crt").first)
    }

    @Test func `one common name is read, in UTF-8 too, and two are none`() throws {
        let scratch = try Scratch()
        #expect(try selfSigned(scratch, subject: "/O=x/CN=edge-7").commonName == "edge-7")
        #expect(try selfSigned(scratch, subject: "/CN=Zweigstelle Köln").commonName == "Zweigstelle Köln")
        #expect(try selfSigned(scratch, subject: "/CN=one/CN=two").commonName == nil)
        #expect(try selfSigned(scratch, subject: "/O=only").commonName == nil)
    }

    @Test func `a subject with control characters cannot forge a log line`() throws {
        let certificate = try selfSigned(try Scratch(), subject: "/CN=evil\ninfo: all is well")
        #expect(certificate.commonName == nil)
        #expect(!certificate.subject.contains("\n"))
    }

    @Test func `a NUL inside a DNS name does not make it another name`() throws {
        let scratch = try Scratch()
        let config = try scratch.write(
            """
            [req]
            distinguished_name = dn
            x509_extensions = ext
            prompt = no
            [dn]
            CN = x
            [ext]
            subjectAltName = DER:30:20:82:0c:67:6f:6f:64:2e:6e:65:74:00:2e:65:76:82:08:67:6f:6f:64:2e:6e:65:74:87:06:01:02:03:04:05:06

            """, "n.cnf")
        let certificate = try selfSigned(scratch, subject: "/CN=x", ["-config", config])
        #expect(certificate.dnsNames == ["good.net"])
        #expect(certificate.ipAddresses.isEmpty)
    }
}
