// Identities, trust and what tunnels make of them: incomplete pairs, unknown names, nobody to believe.

import Configuration
import Settings
import Testing
import Wire

private let certificate = "[identity.default]\ncertificate = 'a.crt'\nprivate_key = 'a.key'\n"
private let key = "[identity.default]\npsk_identity = 'me'\npsk_file = 'me.psk'\n"
private let authority = "[trust.default]\nca = 'ca.crt'\n"
private let peerKeys = "[trust.default]\npsk_file = 'peers.psk'\n"
private let client = "[[tunnel]]\nname = 'c'\nlisten = 'udp://127.0.0.1:1'\nforward = 'dtls://h:2'\n"
private let server = "[[tunnel]]\nname = 's'\nlisten = 'dtls://0.0.0.0:2'\nforward = 'udp://127.0.0.1:3'\n"

struct AuthenticationTests {
    @Test(arguments: [
        (
            "[identity.x]\ncertificate = 'a'\n",
            "2:1: error: [identity.x] has 'certificate' but no 'private_key'; the two go together"
        ),
        (
            "[identity.x]\nprivate_key = 'a'\n",
            "2:1: error: [identity.x] has 'private_key' but no 'certificate'; the two go together"
        ),
        (
            "[identity.x]\npsk_identity = 'a'\n",
            "2:1: error: [identity.x] has 'psk_identity' but no 'psk_file'; the two go together"
        ),
        (
            "[identity.x]\npsk_file = 'a'\n",
            "2:1: error: [identity.x] has 'psk_file' but no 'psk_identity'; the two go together"
        ),
        (
            "[identity.x]\n",
            "1:11: error: [identity.x] is empty; give 'certificate' and 'private_key', or 'psk_identity' and 'psk_file'"
        ),
        (
            "[identity.x]\ncertificate = 'a'\nprivate_key = 'b'\npsk_identity = 'c'\npsk_file = 'd'\n",
            "4:1: error: [identity.x] has both a certificate and a pre-shared key; make two identities and name one in each tunnel"
        ),
        (
            "[identity.x]\npsk_identity = '\(String(repeating: "i", count: 129))'\npsk_file = 'a'\n",
            "2:16: error: 'psk_identity' is longer than 128 bytes"
        ),
        ("[trust.x]\n", "1:8: error: [trust.x] is empty; give 'ca', 'pins' or 'psk_file'"),
        (
            "[trust.x]\ncrl = 'a'\n",
            "2:1: error: [trust.x] has 'crl' but no 'ca'; a revocation list is checked against its authority"
        ),
        (
            "[trust.x]\npins = ['sha256:abcd']\n",
            "2:9: error: 'sha256:abcd' is not a pin: it is sha256: with the base64 or the 64 hexadecimal digits of 32 bytes"
        ),
        ("[trust.x]\npins = 'sha256:abcd'\n", "2:8: error: 'pins': expected an array of strings, found a string"),
        ("[trust.\"a\\tb\"]\nca = 'a'\n", #"1:8: error: 'a\u{9}b' cannot be the name of a section"#),
    ])
    func `an identity or trust with a mistake says so`(text: String, expected: String) {
        let found = check(text + certificate + authority + client).filter { !$0.contains("unknown identity") }
        #expect(found.filter { !$0.contains("given twice") } == ["c.toml:\(expected)"])
    }

    @Test(arguments: [
        (
            certificate + client,
            "4:1: error: tunnel 'c' cannot verify its server: it has no trust; give 'ca' or 'pins' in [trust.default], or an identity with a pre-shared key"
        ),
        (
            peerKeys + client,
            "3:1: error: tunnel 'c' cannot verify its server: it has no trust; give 'ca' or 'pins' in [trust.default], or an identity with a pre-shared key; [trust.default] holds pre-shared keys for the server side only"
        ),
        (
            authority + server,
            "3:1: error: tunnel 's' has no identity to show to its peers; give 'certificate' and 'private_key' in [identity.default], or 'psk_file' in [trust.default]"
        ),
        (
            key + authority + server,
            "6:1: error: tunnel 's' has no identity to show to its peers; give 'certificate' and 'private_key' in [identity.default], or 'psk_file' in [trust.default]; the pre-shared key of [identity.default] is for the client side"
        ),
        (
            certificate + server,
            "4:1: error: tunnel 's' requires certificates of its peers but has no trust to verify them; give 'ca' or 'pins' in [trust.default], or let everyone in by require_client_certificate = false"
        ),
        (
            certificate + server + "require_client_certificate = true",
            "8:1: error: tunnel 's' requires certificates of its peers but has no trust to verify them; give 'ca' or 'pins' in [trust.default], or let everyone in by require_client_certificate = false"
        ),
        (
            certificate + authority + client + "identity = 'defalt'",
            "10:12: error: unknown identity 'defalt' in tunnel 'c'; did you mean 'default'?"
        ),
        (
            certificate + authority + client + "trust = 'other'",
            "10:9: error: unknown trust 'other' in tunnel 'c'; known are 'default'"
        ),
        (
            authority + client + "identity = 'x'",
            "7:12: error: unknown identity 'x' in tunnel 'c'; there is no [identity.NAME] section"
        ),
        (
            certificate + authority + client + "ciphers = ['PSK-AES128-GCM-SHA256']",
            "10:1: error: tunnel 'c' authenticates by a certificate and no pre-shared key, but no suite in 'ciphers' works by certificate"
        ),
        (
            key + client + "ciphers = ['ECDHE-RSA-AES128-GCM-SHA256']",
            "8:1: error: tunnel 'c' authenticates by a pre-shared key and no certificate, but no suite in 'ciphers' has PSK in its name"
        ),
        (
            peerKeys + server + "ciphers = ['ECDHE-RSA-AES128-GCM-SHA256']",
            "7:1: error: tunnel 's' has a pre-shared key and no certificate, but no suite in 'ciphers' has PSK in its name"
        ),
        (
            key + client + "allow_peers = ['psk:x']",
            "8:1: error: 'psk:x' can never match in tunnel 'c': a server shows no PSK identity"
        ),
        (
            authority + client + "ciphers = ['ECDHE-RSA-AES128-GCM-SHA257']",
            "7:12: error: unknown cipher suite 'ECDHE-RSA-AES128-GCM-SHA257'; did you mean 'ECDHE-RSA-AES128-GCM-SHA256'?"
        ),
        (
            authority + client
                + "ciphers = ['PSK-CHACHA20-POLY1305', 'ECDHE-RSA-AES128-GCM-SHA256', 'PSK-CHACHA20-POLY1305']",
            "7:68: error: cipher suite 'PSK-CHACHA20-POLY1305' is given twice"
        ),
    ])
    func `a tunnel that could never authenticate is refused`(text: String, expected: String) {
        #expect(check(text) == ["c.toml:\(expected)"])
    }

    @Test(arguments: [
        authority + client, key + client,
        "[trust.default]\npins = ['sha256:\(String(repeating: "0a", count: 32))']\n" + client,
        certificate + authority + server, peerKeys + server, certificate + peerKeys + server,
        certificate + server + "require_client_certificate = false", key + peerKeys + server,
        "[trust.default]\nca = 'system'\npsk_file = 'x'\n" + client,
    ])
    func `a tunnel that can authenticate is accepted`(text: String) throws {
        _ = try parsed(text)
    }

    @Test func `a section with a mistake is not called unknown as well`() {
        let text = "[identity.a]\ncertificate = 'a'\n[trust.b]\npins = []\n" + client + "identity = 'a'\ntrust = 'b'\n"
        #expect(check(text).count == 2)
        let defaults = "[identity.default]\ncertificate = 'a'\n[trust.default]\nca = 5\n" + server
        #expect(check(defaults).count == 2)
    }

    @Test func `identities and trusts arrive in the tunnels that name them`() throws {
        let pin = "sha256:" + String(repeating: "0A", count: 32)
        let configuration = try parsed(
            key + authority + "crl = '/crl'\npins = ['\(pin)', 'SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=']\n"
                + "[identity.b]\ncertificate = 'b.crt'\nprivate_key = '../b.key'\n[trust.b]\nca = 'system'\n"
                + client + "identity = 'b'\ntrust = 'b'\n"
                + client.replacing("'c'", with: "'d'").replacing(":1'", with: ":4'"))
        #expect(configuration.identities.map(\.name) == ["b", "default"])
        #expect(configuration.trusts.map(\.name) == ["b", "default"])
        let first = configuration.tunnels[0]
        #expect(first.identity?.name == "b")
        #expect(first.trust?.authorities == .system)
        guard case .certificate(let file, let privateKey)? = first.identity?.credential else {
            Issue.record("tunnel 'c' has no certificate")
            return
        }
        #expect(file.value == "b.crt")
        #expect(file.location == SourceLocation(file: "c.toml", line: 9, column: 15))
        #expect(privateKey.value == "../b.key")
        let trust = try #require(configuration.tunnels[1].trust)
        #expect(trust.pins.map(\.count) == [32, 32])
        #expect(trust.pins[0] == [UInt8](repeating: 10, count: 32))
        #expect(trust.pins[1].prefix(4) == [0xe3, 0xb0, 0xc4, 0x42])
        #expect(trust.revocationList?.value == "/crl")
    }
}

struct PeerRuleTests {
    @Test(arguments: [
        ("DNS:*.Branch.example.net", PeerRule.dns("*.branch.example.net"), "DNS:*.branch.example.net"),
        ("dns:host", .dns("host"), "DNS:host"),
        ("CN:Edge 7: north", .commonName("Edge 7: north"), "CN:Edge 7: north"),
        ("IP:192.0.2.7", .address(IPAddress(ipv4: 0xc000_0207)), "IP:192.0.2.7"),
        ("ip:2001:DB8::1", .address(IPAddress(high: 0x2001_0db8 << 32, low: 1)), "IP:2001:db8::1"),
        ("psk:branch:7", .psk("branch:7"), "psk:branch:7"),
    ])
    func `a pattern is read and written`(text: String, pattern: PeerRule, written: String) throws {
        #expect(try PeerRule(parsing: text) == pattern)
        #expect(pattern.description == written)
        #expect(try PeerRule(parsing: written) == pattern)
    }

    @Test func `a pin is read in base64 and in hexadecimal and written in base64`() throws {
        let bytes = (0..<32).map { UInt8($0 * 7 % 256) }
        let hexadecimal = bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        let written = PeerRule.publicKey(bytes).description
        #expect(written == "sha256:AAcOFRwjKjE4P0ZNVFtiaXB3foWMk5qhqK+2vcTL0tk=")
        for text in [
            written, String(written.dropLast()), "sha256:\(hexadecimal)", "SHA256:\(hexadecimal.uppercased())",
        ] {
            #expect(try PeerRule(parsing: text) == .publicKey(bytes))
        }
    }

    @Test(arguments: [
        ("", "lacks its kind"), ("edge-7", "lacks its kind"), ("CN:", "nothing follows"), ("URI:x", "unknown kind"),
        ("DNS:a*.example.net", "may only be the whole first label"),
        ("DNS:a.*.net", "may only be the whole first label"),
        ("DNS:*", "may only be the whole first label"), ("DNS:*.", "is not a DNS name"), ("DNS:*.*.net", "may only be"),
        ("DNS:192.0.2.1", "is not a DNS name"), ("DNS:a..b", "is not a DNS name"), ("DNS:ä.net", "is not a DNS name"),
        ("IP:192.0.2.0/24", "is not an IP address"), ("sha256:", "nothing follows"), ("sha256:AAAA", "is not a pin"),
        ("sha256:\(String(repeating: "0", count: 63))g", "is not a pin"),
        ("sha256:\(String(repeating: "A", count: 42))B=", "is not a pin"),
        ("sha256:\(String(repeating: "A", count: 42))*=", "is not a pin"),
        ("sha256:\(String(repeating: "A", count: 44))", "is not a pin"),
        ("psk:\(String(repeating: "x", count: 129))", "at most 128 bytes"), ("CN:\u{1b}", "control character"),
    ])
    func `a pattern that could not match as meant is refused`(text: String, expected: String) {
        let error = #expect(throws: PeerRule.ParseError.self) { try PeerRule(parsing: text) }
        #expect(error?.message.contains(expected) == true, "\(error?.message ?? "accepted")")
    }
}
