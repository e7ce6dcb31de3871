// `culvert keys fingerprint`: what a certificate or key is, and the pin that peers can believe it by.

import ArgumentParser
import OpenSSL

/// Shows the pin of a certificate or private key, and what else there is to know.
struct KeysFingerprintCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fingerprint", abstract: "Show the pin, names and validity of a certificate or key.")

    @Argument(help: "A certificate, a chain or a private key, PEM.")
    var file: String

    @Flag(help: "Print the first pin and nothing else, for scripts.")
    var pinOnly = false

    func run() throws {
        let contents = try KeyFiles.unwrap(CredentialFiles.read(file, as: .published))
        do throws(CredentialProblem) {
            let certificates = try Certificate.readAll(pem: contents, path: file)
            for (index, certificate) in certificates.enumerated() where index == 0 || !pinOnly {
                if index > 0 { print() }
                if pinOnly { print(certificate.pin) } else { describe(certificate) }
            }
        } catch {
            let loaded = PrivateKey.load(file)
            guard let key = loaded.value else {
                // Of the two errors, the one about what the file is.
                throw loaded.problems.contains { $0.kind == .encrypted } ? loaded.problems[0] : error
            }
            if pinOnly { return print(key.pin) }
            print("private key \(key.keyType)")
            print("pin         \(key.pin)")
            for problem in loaded.problems { printError("\(problem.severity): \(problem)") }
        }
    }

    private func describe(_ certificate: Certificate) {
        let names = certificate.dnsNames.map { "DNS:\($0)" } + certificate.ipAddresses.map { "IP:\($0)" }
        let now = UTCTime.now()
        let state = now > certificate.notAfter ? " (expired)" : now < certificate.notBefore ? " (not yet valid)" : ""
        var uses: [String] = []
        if certificate.isAuthority { uses.append("authority") }
        if certificate.isForServer { uses.append("server") }
        if certificate.isForClient { uses.append("client") }
        print("subject     \(certificate.subject)")
        print("issuer      \(certificate.issuer)")
        print("names       \(names.isEmpty ? "none" : names.joined(separator: ", "))")
        print("valid       \(UTCTime.text(certificate.notBefore)) to \(UTCTime.text(certificate.notAfter))\(state)")
        print("uses        \(uses.isEmpty ? "none" : uses.joined(separator: ", "))")
        print("key         \(certificate.keyType)")
        print("serial      \(certificate.serialNumber)")
        print("pin         \(certificate.pin)")
    }
}
