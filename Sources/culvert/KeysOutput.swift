// What the `culvert keys` commands share: where their files go, how they are named, and what is printed.

public import ArgumentParser
public import OpenSSL

/// What all commands that make files have in common.
struct OutputOptions: ParsableArguments {
    @Option(
        name: .long,
        help: ArgumentHelp(
            "Where to: a directory, or the files' common path without .crt and .key. (default: here)",
            valueName: "dir|prefix"))
    var out: String?

    @Option(help: "Let this group read the secret files too (mode 0640), for example the daemon's.")
    var group: String?

    @Flag(help: "Replace existing files.")
    var force = false

    /// How the secret files are written.
    func secret() throws -> CredentialFiles.Writing {
        guard let group else { return .secret(replacing: force) }
        guard let number = CredentialFiles.groupNumber(of: group) else {
            throw ValidationError("There is no group '\(group)' on this machine.")
        }
        return .secret(group: number, replacing: force)
    }

    /// The files' common path, without `.crt` and `.key`.
    func prefix(defaultName: String) -> String {
        KeyFiles.prefix(out, defaultName: defaultName)
    }
}

/// The names that a certificate and its key have side by side.
enum KeyFiles {
    /// The common path that `text` stands for: a directory, a common path, or one of the two files itself.
    static func prefix(_ text: String?, defaultName: String) -> String {
        let name = String(defaultName.map { $0 == "/" ? "_" : $0 == "*" ? "_" : $0 })
        guard let text, !text.isEmpty else { return name }
        if text.hasSuffix("/") { return text + name }
        if CredentialFiles.isDirectory(text) { return "\(text)/\(name)" }
        for suffix in [".crt", ".key", ".pem", ".psk"] where text.hasSuffix(suffix) && text.count > suffix.count {
            return String(text.dropLast(suffix.count))
        }
        return text
    }

    /// Loads the authority that `--ca` names, and prints the warnings about it.
    static func authority(_ text: String, now: Int64) throws -> CertificateAuthority {
        let prefix = prefix(text, defaultName: "ca")
        let loaded = CertificateAuthority.load(certificate: "\(prefix).crt", privateKey: "\(prefix).key", now: now)
        return try unwrap(loaded)
    }

    /// The value, or the first error thrown after the other problems have been printed.
    static func unwrap<Value>(_ loaded: Loaded<Value>) throws -> Value {
        let error = loaded.problems.first { $0.severity == .error }
        for problem in loaded.problems where problem != error {
            printError("\(problem.severity): \(problem)")
        }
        if let error { throw error }
        guard let value = loaded.value else { throw ExitCode.failure }
        return value
    }

    /// Checks a number of days.
    static func check(days: Int) throws {
        guard (1...36_500).contains(days) else { throw ValidationError("--days is a number from 1 to 36500.") }
    }
}

/// The texts that the commands print.
enum KeysReport {
    /// The line about a file that was made.
    static func made(_ path: String, _ what: String) {
        print("Made \(path): \(what)")
    }

    /// A certificate in a few words.
    static func summary(_ certificate: Certificate) -> String {
        let names = certificate.dnsNames.map { "DNS:\($0)" } + certificate.ipAddresses.map { "IP:\($0)" }
        let list = names.isEmpty ? "" : " (\(names.joined(separator: ", ")))"
        return "\(certificate.subject)\(list), until \(UTCTime.text(certificate.notAfter))"
    }

    /// Lines to paste into a config file.
    static func config(_ introduction: String, table: String, _ lines: [(key: String, value: String)]) {
        print("\n\(introduction)\n\n  [\(table)]")
        for line in lines { print("  \(line.key) = \(line.value)") }
    }

    /// A TOML basic string.
    static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": result += "\\\(scalar)"
            case _ where scalar.value < 32 || scalar.value == 127:
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }

    /// A path as a TOML string, made absolute.
    static func path(_ path: String) -> String {
        quoted(CredentialFiles.absolute(path))
    }
}

extension KeyKind: ExpressibleByArgument {}
extension RevocationReason: ExpressibleByArgument {}
