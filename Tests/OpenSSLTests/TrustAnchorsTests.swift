import Foundation
import OpenSSL
import Testing

@Suite struct TrustAnchorsTests {
    private let now = UTCTime.now()

    private func list(_ test: TestAuthority) throws -> SecretBytes {
        try test.authority.revocationList(
            extending: nil, with: [], reason: .unspecified, validity: .days(30, from: now)
        ).pem()
    }

    @Test func `a file with several authorities is read whole`() throws {
        let scratch = try Scratch()
        _ = try TestAuthority(scratch, name: "one")
        let first = try scratch.text("ca.crt")
        _ = try TestAuthority(scratch, name: "two")
        try scratch.write(first + "# a comment\n" + scratch.text("ca.crt"), "both.pem")
        let loaded = TrustAnchors.load(authorities: scratch("both.pem"), now: now)
        #expect(loaded.problems == [])
        #expect(loaded.value?.authorities.map(\.subject) == ["CN=one", "CN=two"])
    }

    @Test func `a directory is read by its certificates' names, each once`() throws {
        let scratch = try Scratch()
        _ = try TestAuthority(scratch, name: "one")
        try FileManager.default.createSymbolicLink(
            atPath: scratch("12345678.0"), withDestinationPath: scratch("ca.crt"))
        try scratch.write("nothing", "README")
        let loaded = TrustAnchors.load(authorities: scratch.path, now: now)
        #expect(loaded.problems == [] && loaded.value?.authorities.count == 1)
    }

    @Test func `a directory without certificates, and one with a bad one, are reported`() throws {
        let scratch = try Scratch()
        let empty = TrustAnchors.load(authorities: scratch.path, now: now)
        #expect(empty.value == nil && empty.problems.map(\.kind) == [.missing])
        try scratch.write("junk", "bad.crt")
        #expect(TrustAnchors.load(authorities: scratch.path, now: now).problems.map(\.kind) == [.malformed, .missing])
    }

    @Test func `a file without certificates is reported`() throws {
        let scratch = try Scratch()
        _ = try TestAuthority(scratch)
        #expect(TrustAnchors.load(authorities: scratch("ca.key"), now: now).problems.map(\.kind) == [.malformed])
        #expect(TrustAnchors.load(authorities: scratch("none"), now: now).problems.map(\.kind) == [.missing])
    }

    @Test func `one expired authority among others is a warning, alone an error`() throws {
        let scratch = try Scratch()
        let test = try TestAuthority(scratch)
        let later = test.authority.certificate.notAfter + 1
        let alone = TrustAnchors.load(authorities: scratch("ca.crt"), now: later)
        #expect(alone.hasErrors && alone.problems.map(\.kind) == [.expired])
        let key = try PrivateKey.generate(.ecdsaP256)
        let long = try CertificateAuthority.create(
            commonName: "long", key: key, validity: .days(30_000, from: now))
        try scratch.write(scratch.text("ca.crt"), "both.crt")
        try scratch.write(
            Data(try scratch.text("ca.crt").utf8) + Data(try Certificate.pem([long.certificate]).array), "both.crt")
        let both = TrustAnchors.load(authorities: scratch("both.crt"), now: later)
        #expect(!both.hasErrors && both.problems.map(\.kind) == [.expired])
    }

    @Test func `a node's certificate among the authorities is pointed out`() throws {
        let scratch = try Scratch()
        try TestAuthority(scratch).issue("node")
        let loaded = TrustAnchors.load(authorities: scratch("node.crt"), now: now)
        #expect(!loaded.hasErrors && loaded.problems.map(\.kind) == [.unsuitable])
    }

    @Test func `revocation lists have to fit the authorities`() throws {
        let scratch = try Scratch()
        let other = try list(try TestAuthority(try Scratch(), name: "other"))
        let forged = try list(try TestAuthority(try Scratch()))
        let test = try TestAuthority(scratch)
        func kinds(_ contents: SecretBytes) throws -> [CredentialProblem.Kind] {
            let path = try scratch.write(contents, "crl.pem")
            return TrustAnchors.load(authorities: scratch("ca.crt"), revocationLists: path, now: now).problems.map(
                \.kind)
        }
        #expect(try kinds(list(test)) == [])
        #expect(try kinds(other) == [.mismatched, .mismatched])
        #expect(try kinds(forged) == [.mismatched])
        #expect(
            TrustAnchors.load(authorities: scratch("ca.crt"), revocationLists: scratch("none"), now: now)
                .problems.map(\.kind) == [.missing])
    }
}
