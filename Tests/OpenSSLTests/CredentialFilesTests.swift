import Foundation
import OpenSSL
import Testing

@Suite struct CredentialFilesTests {
    @Test func `modes are what was asked for`() throws {
        let scratch = try Scratch()
        try CredentialFiles.write([
            .init(SecretBytes("key"), path: scratch("key"), .secret()),
            .init(SecretBytes("certificate"), path: scratch("crt"), .published()),
            .init(SecretBytes("shared"), path: scratch("group"), .secret(group: getegid())),
        ])
        #expect(try scratch.mode("key") == 0o600 && scratch.mode("crt") == 0o644 && scratch.mode("group") == 0o640)
        #expect(try scratch.text("key") == "key")
    }

    @Test func `nothing is overwritten unless asked, and then with the right mode`() throws {
        let scratch = try Scratch()
        try scratch.write("old", "key", mode: 0o666)
        #expect(throws: CredentialProblem.self) {
            try CredentialFiles.write([.init(SecretBytes("new"), path: scratch("key"), .secret())])
        }
        #expect(try scratch.text("key") == "old")
        try CredentialFiles.write([.init(SecretBytes("new"), path: scratch("key"), .secret(replacing: true))])
        #expect(try scratch.text("key") == "new" && scratch.mode("key") == 0o600)
    }

    @Test func `of several files all appear or none`() throws {
        let scratch = try Scratch()
        try scratch.write("old", "b")
        #expect(throws: CredentialProblem.self) {
            try CredentialFiles.write([
                .init(SecretBytes("1"), path: scratch("a"), .secret()),
                .init(SecretBytes("2"), path: scratch("b"), .secret()),
            ])
        }
        #expect(throws: CredentialProblem.self) {
            try CredentialFiles.write([
                .init(SecretBytes("1"), path: scratch("a"), .secret()),
                .init(SecretBytes("2"), path: scratch("no/b"), .secret()),
            ])
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path) == ["b"])
    }

    @Test func `a link in the way is not followed`() throws {
        let scratch = try Scratch()
        try FileManager.default.createSymbolicLink(atPath: scratch("key"), withDestinationPath: scratch("elsewhere"))
        #expect(throws: CredentialProblem.self) {
            try CredentialFiles.write([.init(SecretBytes("new"), path: scratch("key"), .secret())])
        }
        #expect(!CredentialFiles.exists(scratch("elsewhere")))
    }

    @Test func `a line is appended, after a missing line end too`() throws {
        let scratch = try Scratch()
        try CredentialFiles.append(line: SecretBytes("one\n"), to: scratch("f"))
        #expect(try scratch.mode("f") == 0o600)
        try CredentialFiles.append(line: SecretBytes("two"), to: scratch("f"))
        try CredentialFiles.append(line: SecretBytes("three\n"), to: scratch("f"))
        #expect(try scratch.text("f") == "one\ntwo\nthree\n")
    }

    @Test func `no secret is appended to a file that everybody can read`() throws {
        let scratch = try Scratch()
        try scratch.write("one\n", "f", mode: 0o644)
        #expect(throws: CredentialProblem.self) {
            try CredentialFiles.append(line: SecretBytes("two\n"), to: scratch("f"))
        }
        #expect(try scratch.text("f") == "one\n")
    }

    @Test func `groups are found by name`() {
        #expect(CredentialFiles.groupNumber(of: "root") == 0)
        #expect(CredentialFiles.groupNumber(of: "no such group, surely") == nil)
    }
}

@Suite struct SmallValueTests {
    @Test(arguments: [
        ("sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", true),
        ("sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=", false),
        ("sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU", false),
        ("sha256:47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=", false),
        ("SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", false),
        ("sha256: 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", false),
        ("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", false),
        ("sha256:…", false), ("", false), ("sha256:", false),
    ])
    func `a pin has one spelling`(text: String, isPin: Bool) {
        #expect(PublicKeyPin(text)?.description == (isPin ? text : nil))
    }

    @Test(arguments: [
        (0, "1970-01-01T00:00:00Z"), (-1, "1969-12-31T23:59:59Z"), (951_782_400, "2000-02-29T00:00:00Z"),
        (4_107_542_399, "2100-02-28T23:59:59Z"), (4_107_542_400, "2100-03-01T00:00:00Z"),
        (253_402_300_799, "9999-12-31T23:59:59Z"), (-62_135_596_800, "1-01-01T00:00:00Z"),
    ])
    func `times are written as dates`(seconds: Int64, text: String) {
        #expect(UTCTime.text(seconds) == text)
    }

    @Test(arguments: ["a", "a.example.net", "*.example.net", "xn--kln-sna.de", "_syslog.host", "9.host", "A-1.Net"])
    func `host names are accepted`(name: String) throws {
        #expect(try CertificateSubject(commonName: "c d", dnsNames: [name]).dnsNames == [name.lowercased()])
    }

    @Test(arguments: [
        "", ".", "a.", "a..b", "-a", "a-", "a b", "a,b", "köln.de", "*", "*.net", "a.*.net", "f*.example.net",
        "1.2.3.4",
        "a/b", "a\u{0}b", String(repeating: "a", count: 64), String(repeating: "a.", count: 127) + "a",
    ])
    func `what is no host name is refused`(name: String) {
        #expect(throws: CertificateSubject.Fault.self) {
            try CertificateSubject(commonName: "c d", dnsNames: [name])
        }
    }

    @Test func `a common name becomes an alternative name when it is one`() throws {
        #expect(try CertificateSubject(commonName: "Host.Example").dnsNames == ["host.example"])
        #expect(try CertificateSubject(commonName: "2001:db8::1").ipAddresses.count == 1)
        let other = try CertificateSubject(commonName: "branch 7")
        #expect(other.dnsNames.isEmpty && other.ipAddresses.isEmpty)
        for bad in ["", "a\nb", String(repeating: "ä", count: 33)] {
            #expect(throws: CertificateSubject.Fault.self) { try CertificateSubject(commonName: bad) }
        }
    }
}
