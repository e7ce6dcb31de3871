// `culvert keys revoke`: takes certificates back by making or extending a revocation list, and renews the
// list when it is called without any. The list is only extended when the authority itself signed it.

import ArgumentParser
import OpenSSL

/// Makes or extends a revocation list.
struct KeysRevokeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "revoke", abstract: "Revoke certificates, or renew a revocation list.",
        discussion: "Without certificates or serial numbers an existing list is renewed, or an empty one made.")

    @Option(help: ArgumentHelp("The authority: as given to 'keys ca --out'.", valueName: "dir|prefix"))
    var ca = "ca"

    @Option(help: ArgumentHelp("The revocation list to make or extend.", valueName: "file"))
    var crl: String

    @Option(help: ArgumentHelp("The serial number of a certificate whose file is lost.", valueName: "hex"))
    var serial: [String] = []

    @Option(help: "Why they are revoked.")
    var reason = RevocationReason.unspecified

    @Option(help: "For how many days the list is valid; after that it has to be renewed.")
    var days = 365

    @Argument(help: "Certificates to revoke.")
    var certificates: [String] = []

    func validate() throws {
        try KeyFiles.check(days: days)
        for text in serial {
            guard (1...40).contains(text.utf8.count), text.allSatisfy({ $0.isASCII && $0.isHexDigit }) else {
                throw ValidationError("'\(text)' is not a serial number: 1 to 40 hexadecimal digits.")
            }
        }
    }

    func run() throws {
        let now = UTCTime.now()
        let authority = try KeyFiles.authority(ca, now: now)
        let serialNumbers = try serial + certificates.map { try serialNumber(of: $0, from: authority.certificate) }
        let previous = try existing(of: authority.certificate, now: now)
        let list = try authority.revocationList(
            extending: previous, with: serialNumbers, reason: reason, validity: .days(days, from: now))
        try CredentialFiles.write([.init(try list.pem(), path: crl, .published(replacing: true))])
        let added = list.count - (previous?.count ?? 0)
        KeysReport.made(
            crl, "\(list.count) revoked, \(added) of them now; valid until \(UTCTime.text(list.nextUpdate ?? now))")
        KeysReport.config(
            "On every node, with a copy of it:", table: "trust.default", [("crl", KeysReport.path(crl))])
        print(
            "\nRenew it in time, since an expired list refuses everybody: culvert keys revoke --ca \(ca) --crl \(crl)")
    }

    private func serialNumber(of path: String, from authority: Certificate) throws -> String {
        let contents = try KeyFiles.unwrap(CredentialFiles.read(path, as: .published))
        guard let certificate = try Certificate.readAll(pem: contents, path: path).first else {
            throw ExitCode.failure
        }
        guard certificate.isSigned(by: authority) else {
            throw CredentialProblem(
                .mismatched, path: path, "is from \(certificate.issuer), not from \(authority.subject)",
                advice: "name the authority that issued it with --ca")
        }
        return certificate.serialNumber
    }

    private func existing(of authority: Certificate, now: Int64) throws -> RevocationList? {
        guard CredentialFiles.exists(crl) else { return nil }
        let contents = try KeyFiles.unwrap(CredentialFiles.read(crl, as: .published))
        let lists = try RevocationList.readAll(pem: contents, path: crl)
        guard let list = lists.first, lists.count == 1, list.isSigned(by: authority) else {
            throw CredentialProblem(
                .mismatched, path: crl, "is not one list signed by \(authority.subject)",
                advice: "name another file, or the authority it belongs to with --ca")
        }
        return list
    }
}
