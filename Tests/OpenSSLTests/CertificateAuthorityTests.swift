import Foundation
import OpenSSL
import Testing
import Wire

@Suite(.enabled(if: hasOpenSSLProgram, "needs the program openssl"))
struct CertificateAuthorityTests {
    @Test(arguments: [KeyKind.ecdsaP256, .ecdsaP384, .rsa2048, .rsa3072])
    func `an authority of every kind of key issues certificates that openssl accepts`(kind: KeyKind) throws {
        let scratch = try Scratch()
        let test = try TestAuthority(scratch, kind: kind)
        try test.issue("node.example.net", kind: kind == .ecdsaP384 ? .ecdsaP256 : kind)
        for purpose in ["sslserver", "sslclient"] {
            try openssl(
                "verify", "-x509_strict", "-purpose", purpose, "-verify_hostname", "node.example.net", "-CAfile",
                scratch("ca.crt"), scratch("node.example.net.crt"))
        }
        try openssl("pkey", "-in", scratch("node.example.net.key"), "-check", "-noout")
    }

    @Test func `an authority's certificate says what it may do`() throws {
        let scratch = try Scratch()
        _ = try TestAuthority(scratch)
        let text = try openssl("x509", "-in", scratch("ca.crt"), "-noout", "-text")
        #expect(text.contains("Basic Constraints: critical\n                CA:TRUE, pathlen:0"))
        #expect(text.contains("Key Usage: critical\n                Certificate Sign, CRL Sign\n"))
        #expect(text.contains("X509v3 Subject Key Identifier"))
        #expect(text.contains("X509v3 Authority Key Identifier"))
        #expect(text.contains("Signature Algorithm: ecdsa-with-SHA256"))
        #expect(text.contains("Version: 3"))
    }

    @Test func `a node's certificate has both uses, both key identifiers and all its names`() throws {
        let scratch = try Scratch()
        let test = try TestAuthority(scratch)
        let key = try PrivateKey.generate(.ecdsaP256)
        let subject = try CertificateSubject(
            commonName: "node.example.net", dnsNames: ["*.Example.ORG", "node.example.net"],
            ipAddresses: ["192.0.2.1", "2001:db8::1"])
        let certificate = try test.authority.issue(to: subject, key: key, validity: .days(1, from: UTCTime.now()))
        #expect(certificate.dnsNames == ["node.example.net", "*.example.org"])
        #expect(certificate.ipAddresses == [IPAddress("192.0.2.1"), IPAddress("2001:db8::1")])
        #expect(certificate.commonName == "node.example.net")
        #expect(certificate.subject == "CN=node.example.net")
        #expect(certificate.issuer == "CN=test authority")
        #expect(certificate.isForServer && certificate.isForClient && !certificate.isAuthority)
        #expect(certificate.keyType == "ECDSA P-256")
        #expect(certificate.pin == key.pin && key.matches(certificate))
        let path = try scratch.write(try Certificate.pem([certificate]), "node.crt")
        let text = try openssl("x509", "-in", path, "-noout", "-text", "-purpose")
        for wanted in [
            "Basic Constraints: critical\n                CA:FALSE",
            "Key Usage: critical\n                Digital Signature\n",
            "TLS Web Server Authentication, TLS Web Client Authentication", "Subject Key Identifier",
            "Authority Key Identifier",
            "DNS:node.example.net, DNS:*.example.org, IP Address:192.0.2.1, IP Address:2001:DB8:0:0:0:0:0:1",
            "SSL client : Yes", "SSL server : Yes", "SSL server CA : No",
        ] {
            #expect(text.contains(wanted), "\(wanted)")
        }
        let serial = try openssl("x509", "-in", path, "-noout", "-serial")
        #expect(serial == "serial=\(certificate.serialNumber)\n")
    }

    @Test func `a pin is what openssl computes`() throws {
        let scratch = try Scratch()
        let issued = try TestAuthority(scratch).issue("node")
        let outcome = try runProgram(
            "sh",
            [
                "-c",
                "openssl x509 -in \(scratch("node.crt")) -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -binary | openssl base64",
            ])
        #expect(issued.certificate.pin.description == "sha256:" + outcome.output.trimmingCharacters(in: .newlines))
        #expect(PublicKeyPin(issued.certificate.pin.description) == issued.certificate.pin)
    }

    @Test func `serial numbers are random and have up to 128 bits`() throws {
        let scratch = try Scratch()
        let test = try TestAuthority(scratch)
        let serials = try (0..<20).map { try test.issue("node-\($0)").certificate.serialNumber }
        #expect(Set(serials).count == 20)
        #expect(serials.allSatisfy { $0.count <= 32 } && serials.contains { $0.count >= 30 })
    }

    @Test func `a certificate ends no later than its authority`() throws {
        let scratch = try Scratch()
        let test = try TestAuthority(scratch)
        let issued = try test.issue("node", validity: .days(36_500, from: UTCTime.now()))
        #expect(issued.certificate.notAfter == test.authority.certificate.notAfter)
    }

    @Test func `dates are kept to the second, beyond 2049 too`() throws {
        let scratch = try Scratch()
        let key = try PrivateKey.generate(.ecdsaP256)
        let validity = Validity(notBefore: 1_000_000_000, notAfter: 4_102_444_799)
        let certificate = try CertificateAuthority.selfSigned(
            try CertificateSubject(commonName: "node"), key: key, validity: validity)
        #expect(certificate.notBefore == validity.notBefore && certificate.notAfter == validity.notAfter)
        let path = try scratch.write(try Certificate.pem([certificate]), "node.crt")
        let dates = try openssl("x509", "-in", path, "-noout", "-dates", "-dateopt", "iso_8601")
        #expect(dates == "notBefore=2001-09-09 01:46:40Z\nnotAfter=2099-12-31 23:59:59Z\n")
        #expect(UTCTime.text(validity.notBefore) == "2001-09-09T01:46:40Z")
        #expect(UTCTime.text(validity.notAfter) == "2099-12-31T23:59:59Z")
    }

    @Test func `a self-signed certificate is good for both ends when it is its own anchor`() throws {
        let scratch = try Scratch()
        let key = try PrivateKey.generate(.ecdsaP256)
        let certificate = try CertificateAuthority.selfSigned(
            try CertificateSubject(commonName: "node.example.net"), key: key, validity: .days(10, from: UTCTime.now()))
        let path = try scratch.write(try Certificate.pem([certificate]), "node.crt")
        for purpose in ["sslserver", "sslclient"] {
            try openssl("verify", "-purpose", purpose, "-CAfile", path, path)
        }
        #expect(certificate.isSelfIssued && !certificate.isAuthority)
    }

    @Test func `under an intermediate authority the chain is complete but for the root`() throws {
        let scratch = try Scratch()
        try openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
            scratch("root.key"), "-out", scratch("root.crt"), "-subj", "/CN=root", "-days", "90")
        try openssl(
            "req", "-newkey", "rsa:2048", "-nodes", "-keyout", scratch("ca.key"), "-out", scratch("ca.csr"), "-subj",
            "/CN=middle")
        let extensions = try scratch.write("basicConstraints=critical,CA:TRUE\nsubjectKeyIdentifier=hash\n", "ca.cnf")
        try openssl(
            "x509", "-req", "-in", scratch("ca.csr"), "-CA", scratch("root.crt"), "-CAkey", scratch("root.key"),
            "-CAcreateserial", "-days", "60", "-extfile", extensions, "-out", scratch("middle.crt"))
        try scratch.write(try scratch.text("middle.crt") + scratch.text("root.crt"), "ca.crt", mode: 0o644)
        let loaded = CertificateAuthority.load(
            certificate: scratch("ca.crt"), privateKey: scratch("ca.key"), now: UTCTime.now())
        let authority = try #require(loaded.value)
        #expect(!loaded.hasErrors)
        #expect(authority.intermediates.map(\.subject) == ["CN=middle"])
        let key = try PrivateKey.generate(.ecdsaP256)
        let certificate = try authority.issue(
            to: try CertificateSubject(commonName: "node"), key: key, validity: .days(825, from: UTCTime.now()))
        #expect(certificate.notAfter == authority.certificate.notAfter)
        let path = try scratch.write(try Certificate.pem([certificate] + authority.intermediates), "node.crt")
        try openssl("verify", "-CAfile", scratch("root.crt"), "-untrusted", path, path)
    }

    @Test func `a node's certificate cannot be an authority`() throws {
        let scratch = try Scratch()
        try TestAuthority(scratch).issue("node")
        let loaded = CertificateAuthority.load(
            certificate: scratch("node.crt"), privateKey: scratch("node.key"), now: UTCTime.now())
        #expect(loaded.value == nil)
        #expect(loaded.problems.map(\.kind) == [.unsuitable])
    }
}

@Suite(.enabled(if: hasOpenSSLProgram, "needs the program openssl"))
struct RevocationListTests {
    @Test(arguments: [KeyKind.ecdsaP256, .rsa2048])
    func `a revoked certificate is refused by openssl and another is not`(kind: KeyKind) throws {
        let scratch = try Scratch()
        let test = try TestAuthority(scratch, kind: kind)
        let bad = try test.issue("bad").certificate
        let good = try test.issue("good").certificate
        let list = try test.authority.revocationList(
            extending: nil, with: [bad.serialNumber], reason: .keyCompromise, validity: .days(30, from: UTCTime.now()))
        #expect(list.count == 1 && list.revokes(bad) && !list.revokes(good))
        #expect(list.isSigned(by: test.authority.certificate))
        let path = try scratch.write(try list.pem(), "crl.pem")
        let text = try openssl("crl", "-in", path, "-noout", "-text", "-CAfile", scratch("ca.crt"))
        #expect(text.contains("verify OK") && text.contains("Key Compromise") && text.contains("Version 2"))
        #expect(text.contains("X509v3 CRL Number: \n                1\n") && text.contains("Authority Key Identifier"))
        let arguments = ["verify", "-crl_check", "-CRLfile", path, "-CAfile", scratch("ca.crt")]
        let refused = try runProgram("openssl", arguments + [scratch("bad.crt")])
        #expect(refused.status != 0 && refused.output.contains("certificate revoked"))
        let accepted = try runProgram("openssl", arguments + [scratch("good.crt")])
        #expect(accepted.status == 0, "\(accepted.output)")
    }

    @Test func `a list is extended, numbered on, and names nobody twice`() throws {
        let scratch = try Scratch()
        let test = try TestAuthority(scratch)
        let certificates = try ["a", "b", "c"].map { try test.issue($0).certificate }
        let now = UTCTime.now()
        var list = try test.authority.revocationList(
            extending: nil, with: [], reason: .unspecified, validity: .days(30, from: now))
        #expect(list.count == 0)
        for certificate in certificates {
            list = try test.authority.revocationList(
                extending: list, with: [certificate.serialNumber, certificates[0].serialNumber], reason: .superseded,
                validity: .days(30, from: now))
        }
        #expect(list.count == 3 && certificates.allSatisfy { list.revokes($0) })
        let path = try scratch.write(try list.pem(), "crl.pem")
        let text = try openssl("crl", "-in", path, "-noout", "-text", "-CAfile", scratch("ca.crt"))
        #expect(text.contains("verify OK") && text.contains("X509v3 CRL Number: \n                4\n"))
        #expect(text.components(separatedBy: "Authority Key Identifier").count == 2)
        #expect(text.components(separatedBy: "Superseded").count == 4)
    }

    @Test func `another authority's list, even of the same name, does not pass as its own`() throws {
        let one = try TestAuthority(try Scratch(), name: "same")
        let two = try TestAuthority(try Scratch(), name: "same")
        let list = try one.authority.revocationList(
            extending: nil, with: [], reason: .unspecified, validity: .days(30, from: UTCTime.now()))
        #expect(list.isNamed(after: two.authority.certificate))
        #expect(!list.isSigned(by: two.authority.certificate))
    }

    @Test(arguments: ["", "xyz", "12 34", "-1"])
    func `a serial number that is not one is refused`(text: String) throws {
        let test = try TestAuthority(try Scratch())
        #expect(throws: OpenSSLError.self) {
            try test.authority.revocationList(
                extending: nil, with: [text], reason: .unspecified, validity: .days(30, from: UTCTime.now()))
        }
    }

    @Test func `files that are no list, and lists out of time, are reported`() throws {
        let scratch = try Scratch()
        let test = try TestAuthority(scratch)
        let now = UTCTime.now()
        let list = try test.authority.revocationList(
            extending: nil, with: [], reason: .unspecified,
            validity: Validity(notBefore: now - 100, notAfter: now + 100))
        let path = try scratch.write(try list.pem(), "crl.pem")
        func kinds(_ path: String, now: Int64) -> [CredentialProblem.Kind] {
            RevocationList.load(path, now: now).problems.map(\.kind)
        }
        #expect(kinds(path, now: now) == [.expiresSoon])
        #expect(kinds(path, now: now + 101) == [.expired])
        #expect(kinds(path, now: now - 101) == [.notYetValid])
        #expect(kinds(scratch("none"), now: now) == [.missing])
        #expect(kinds(scratch("ca.crt"), now: now) == [.malformed])
        let text = try scratch.text("crl.pem")
        #expect(kinds(try scratch.write(String(text.prefix(100)), "cut.pem"), now: now) == [.malformed])
    }
}
