// `culvert keys psk`: a pre-shared key for one peer. The file made here is the client's; its one line also
// goes into the server's file of peers.

import ArgumentParser
import OpenSSL

/// Makes a pre-shared key.
struct KeysPSKCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "psk", abstract: "Make a pre-shared key of 256 random bits.",
        discussion: "The file holds one line IDENTITY:HEX-KEY, which is also the form of the server's file of peers.")

    @Option(help: "The name under which the server knows the key.")
    var identity: String

    @Option(
        name: .long,
        help: ArgumentHelp("Where to: a file or a directory. (default: IDENTITY.psk)", valueName: "file|dir"))
    var out: String?

    @Option(help: ArgumentHelp("Add the line to this file of the server's too.", valueName: "file"))
    var peers: String?

    @Flag(help: "Print the line, secret as it is, for pasting.")
    var show = false

    @Option(help: "Let this group read the files too (mode 0640), for example the daemon's.")
    var group: String?

    @Flag(help: "Replace an existing file.")
    var force = false

    func validate() throws {
        if let fault = PreSharedKey.fault(inIdentity: identity) { throw ValidationError("\(fault).") }
    }

    func run() throws {
        var output = OutputOptions()
        output.out = out
        output.group = group
        output.force = force
        let path = path()
        let secret = try output.secret()
        if let peers, CredentialFiles.exists(peers) {
            let known = try KeyFiles.unwrap(PreSharedKeys.load(peers))
            if known[identity] != nil {
                throw CredentialProblem(
                    .duplicate, path: peers, "has a key for '\(identity)' already",
                    advice: "remove that line first, or choose another identity")
            }
        }
        let key = try PreSharedKey.generate(identity: identity)
        try CredentialFiles.write([.init(key.line, path: path, secret)])
        KeysReport.made(path, "pre-shared key of '\(identity)', 256 bits")
        if let peers {
            try CredentialFiles.append(line: key.line, to: peers, group: secret.group)
            KeysReport.made(peers, "the same line added")
        }
        if show { print(String(decoding: (0..<key.line.count).map { key.line.bytes[$0] }, as: UTF8.self)) }
        KeysReport.config(
            "On the client, with a copy of the file:", table: "identity.default",
            [("psk_identity", KeysReport.quoted(identity)), ("psk_file", KeysReport.path(path))])
        KeysReport.config(
            peers == nil
                ? "On the server, after: cat \(path) >> /etc/culvert/peers.psk" : "On the server:",
            table: "trust.default", [("psk_file", peers.map(KeysReport.path) ?? "\"/etc/culvert/peers.psk\"")])
    }

    private func path() -> String {
        guard let out, !out.isEmpty, !out.hasSuffix("/"), !CredentialFiles.isDirectory(out) else {
            return KeyFiles.prefix(out, defaultName: identity) + ".psk"
        }
        return out
    }
}
