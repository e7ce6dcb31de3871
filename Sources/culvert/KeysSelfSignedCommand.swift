// `culvert keys self-signed`: a certificate that peers believe by its pin, without any authority.

import ArgumentParser
import OpenSSL

/// Makes a certificate that vouches for itself.
struct KeysSelfSignedCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "self-signed", abstract: "Make a certificate and key for use with pins, without an authority.")

    @OptionGroup var subject: SubjectOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let names = try subject.subject()
        let prefix = output.prefix(defaultName: subject.name)
        let key = try subject.loadOrMakeKey()
        let certificate = try CertificateAuthority.selfSigned(
            names, key: key, validity: .days(subject.days, from: UTCTime.now()))
        let keyPath = try subject.write([certificate], key, prefix: prefix, output)
        KeysReport.config(
            "On the node:", table: "identity.default",
            [("certificate", KeysReport.path("\(prefix).crt")), ("private_key", KeysReport.path(keyPath))])
        KeysReport.config(
            "On its peers, which need no copy of any file:", table: "trust.default",
            [("pins", "[\(KeysReport.quoted(certificate.pin.description))]")])
    }
}
