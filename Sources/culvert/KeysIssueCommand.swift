// `culvert keys issue`: a node's certificate from an authority, good for both ends of a tunnel.

import ArgumentParser
import OpenSSL

/// The names and the key of a certificate that is going to be made.
struct SubjectOptions: ParsableArguments {
    @Option(help: "The node's host name or IP address, or, for a node that only connects, any name.")
    var name: String

    @Option(help: ArgumentHelp("A further host name, or *.DOMAIN; may be repeated.", valueName: "host"))
    var dns: [String] = []

    @Option(help: ArgumentHelp("A further IP address; may be repeated.", valueName: "address"))
    var ip: [String] = []

    @Option(help: "How many days it is valid.")
    var days = 825

    @Option(help: "The kind of key.")
    var key = KeyKind.ecdsaP256

    @Option(
        help: ArgumentHelp(
            "Use this private key instead of making one, so that its pin stays as it is.", valueName: "file"))
    var privateKey: String?

    func validate() throws {
        try KeyFiles.check(days: days)
        _ = try subject()
    }

    /// The checked names.
    func subject() throws -> CertificateSubject {
        do { return try CertificateSubject(commonName: name, dnsNames: dns, ipAddresses: ip) } catch {
            throw ValidationError("\(error).")
        }
    }

    /// The key: the one named, or a new one.
    func loadOrMakeKey() throws -> PrivateKey {
        guard let privateKey else { return try PrivateKey.generate(key) }
        return try KeyFiles.unwrap(PrivateKey.load(privateKey))
    }

    /// Writes the key, unless it was there before, and the chain, and says so; the result is the key's path.
    func write(_ chain: [Certificate], _ key: PrivateKey, prefix: String, _ output: OutputOptions) throws -> String {
        var files: [CredentialFiles.Output] = []
        if privateKey == nil { files.append(.init(try key.pem(), path: "\(prefix).key", try output.secret())) }
        files.append(.init(try Certificate.pem(chain), path: "\(prefix).crt", .published(replacing: output.force)))
        try CredentialFiles.write(files)
        if privateKey == nil { KeysReport.made("\(prefix).key", "private key, \(key.keyType)") }
        if let certificate = chain.first {
            KeysReport.made("\(prefix).crt", "certificate \(KeysReport.summary(certificate))")
            print("Pin: \(certificate.pin)")
            if certificate.dnsNames.isEmpty, certificate.ipAddresses.isEmpty {
                print(
                    "Note: '\(name)' is no host name, so no client will find a server by it; for a server add --dns or --ip."
                )
            }
        }
        return privateKey ?? "\(prefix).key"
    }
}

/// Issues a node's certificate.
struct KeysIssueCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "issue", abstract: "Issue a node's certificate and key from an authority.",
        discussion: "The certificate is good for connecting and for being connected to.")

    @Option(help: ArgumentHelp("The authority: as given to 'keys ca --out'.", valueName: "dir|prefix"))
    var ca = "ca"

    @OptionGroup var subject: SubjectOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let names = try subject.subject()
        let prefix = output.prefix(defaultName: subject.name)
        let now = UTCTime.now()
        let authority = try KeyFiles.authority(ca, now: now)
        let key = try subject.loadOrMakeKey()
        let certificate = try authority.issue(to: names, key: key, validity: .days(subject.days, from: now))
        let chain = [certificate] + authority.intermediates
        let keyPath = try subject.write(chain, key, prefix: prefix, output)
        if certificate.notAfter < now + Int64(subject.days) * UTCTime.day {
            print("Note: it ends with its authority, before the \(subject.days) days asked for are over.")
        }
        KeysReport.config(
            "On the node, with copies of both files:", table: "identity.default",
            [("certificate", KeysReport.path("\(prefix).crt")), ("private_key", KeysReport.path(keyPath))])
        KeysReport.config(
            "On the node and its peers:", table: "trust.default",
            [("ca", KeysReport.path("\(KeyFiles.prefix(ca, defaultName: "ca")).crt"))])
    }
}
