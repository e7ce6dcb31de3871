// `culvert keys ca`: makes a certificate authority, the one key that everything signed with it hangs on.

import ArgumentParser
import OpenSSL

/// Makes an authority.
struct KeysAuthorityCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ca", abstract: "Make a certificate authority: ca.crt and ca.key.")

    @OptionGroup var output: OutputOptions

    @Option(help: "The authority's name. (default: 'culvert CA' and a random number)")
    var name: String?

    @Option(help: "How many days it is valid.")
    var days = 3650

    @Option(help: "The kind of key.")
    var key = KeyKind.ecdsaP256

    func validate() throws {
        try KeyFiles.check(days: days)
        if let name {
            do { _ = try CertificateSubject(commonName: name) } catch { throw ValidationError("\(error)") }
        }
    }

    func run() throws {
        let prefix = output.prefix(defaultName: "ca")
        let secret = try output.secret()
        // Two authorities of one name would be taken for each other.
        let name = name ?? "culvert CA \(String(UInt32.random(in: 0x1000_0000 ... .max), radix: 16))"
        let privateKey = try PrivateKey.generate(key)
        let authority = try CertificateAuthority.create(
            commonName: name, key: privateKey, validity: .days(days, from: UTCTime.now()))
        try CredentialFiles.write([
            .init(try privateKey.pem(), path: "\(prefix).key", secret),
            .init(
                try Certificate.pem([authority.certificate]), path: "\(prefix).crt", .published(replacing: output.force)
            ),
        ])
        KeysReport.made("\(prefix).key", "private key, \(privateKey.keyType); keep it off the nodes, and keep a copy")
        KeysReport.made("\(prefix).crt", "authority \(KeysReport.summary(authority.certificate))")
        KeysReport.config(
            "On every node, with a copy of \(prefix).crt:", table: "trust.default",
            [("ca", KeysReport.path("\(prefix).crt"))])
        print("\nNext: culvert keys issue --ca \(prefix) --name HOST")
    }
}
