// Mistakes of meaning: each is found, has its exact place, and says what to do.

import Configuration
import Testing

/// A tunnel of the client side without mistakes, and room for more keys from line 10 on.
private func client(_ more: String = "") -> String {
    preamble + """
        [[tunnel]]
        name = "c"
        listen = "udp://127.0.0.1:5514"
        forward = "dtls://host.example.net:6514"

        """ + more
}

/// A tunnel of the server side without mistakes, and room for more keys from line 10 on.
private func server(_ more: String = "") -> String {
    preamble + """
        [[tunnel]]
        name = "s"
        listen = "dtls://[::]:2083"
        forward = "udp://127.0.0.1:1812"

        """ + more
}

/// A client whose addresses are these, in lines 8 and 9.
private func addresses(_ listen: String, _ forward: String) -> String {
    preamble + "[[tunnel]]\nname = \"t\"\nlisten = \"\(listen)\"\nforward = \"\(forward)\"\n"
}

struct DiagnosticTests {
    @Test func `the two tunnels that the tests build on are good`() throws {
        _ = try parsed(client())
        _ = try parsed(server())
    }

    @Test func `all mistakes of all files are reported in one go`() {
        let (configuration, diagnostics) = Configuration.parse(sources: [
            ConfigurationSource(name: "b.toml", text: "[daemon]\nworkers = -1\n[[tunnel]]\nlisten = 5\nlisen = \"\"\n"),
            ConfigurationSource(name: "a.toml", text: "[daemn]\n[trust.default]\npins = []\n[daemon]\nworkers = 2\n"),
        ])
        #expect(configuration == nil)
        #expect(
            diagnostics.map(\.description) == [
                "b.toml:2:11: error: 'workers' is -1, which is not between 0 and 1024",
                "b.toml:3:1: error: tunnel number 1 has no 'name'",
                "b.toml:3:1: error: tunnel number 1 has no 'forward'; give an address such as "
                    + "\"dtls://host.example.net:6514\"",
                "b.toml:4:10: error: 'listen': expected a string, found an integer",
                "b.toml:5:1: error: unknown key 'lisen' in tunnel number 1; did you mean 'listen'?",
                "a.toml:1:2: error: unknown key 'daemn' at the top level; did you mean 'daemon'?",
                "a.toml:3:8: error: 'pins' is an empty array; leave the key out instead",
                "a.toml:5:1: error: 'workers' in [daemon] is given twice; the first is at b.toml:2:1",
            ])
    }

    @Test(arguments: [
        (client("lisen = 1"), "10:1: error: unknown key 'lisen' in tunnel 'c'; did you mean 'listen'?"),
        (
            client("log_format = \"text\""),
            "10:1: error: unknown key 'log_format' in tunnel 'c'; 'log_format' belongs in [daemon]"
        ),
        (
            client("log_formt = 1"),
            "10:1: error: unknown key 'log_formt' in tunnel 'c'; did you mean 'log_format', which belongs in [daemon]?"
        ),
        (
            client("psk_file = 'x'"),
            "10:1: error: unknown key 'psk_file' in tunnel 'c'; 'psk_file' belongs in [identity.NAME] or [trust.NAME]"
        ),
        (
            client("minimum = '1s'"),
            "10:1: error: unknown key 'minimum' in tunnel 'c'; 'minimum' belongs in [tunnel.reconnect] or [tunnel.mtu]"
        ),
        (client("sharring = 'auto'"), "10:1: error: unknown key 'sharring' in tunnel 'c'; did you mean 'sharing'?"),
        (
            client("[tunnel.heartbeat]\nintervall = '2s'"),
            "11:1: error: unknown key 'intervall' in heartbeat of tunnel 'c'; did you mean 'interval'?"
        ),
        (
            client("[tunnel.reconnect]\nmaximun = '2s'"),
            "11:1: error: unknown key 'maximun' in reconnect of tunnel 'c'; did you mean 'maximum'?"
        ),
        (
            "workers = 1\n" + client(),
            "1:1: error: unknown key 'workers' at the top level; 'workers' belongs in [daemon]"
        ),
        (client("[daemon]\nstate_directory = 'x'"), "11:1: error: unknown key 'state_directory' in [daemon]"),
        (
            client("[identity.b]\ncertifcate = 'x'\npsk_identity = 'b'\npsk_file = 'x'"),
            "11:1: error: unknown key 'certifcate' in [identity.b]; did you mean 'certificate'?"
        ),
    ])
    func `an unknown key comes with what was probably meant`(text: String, expected: String) {
        #expect(check(text) == ["c.toml:\(expected)"])
    }

    @Test(arguments: [
        (client("[daemon]\nworkers = \"4\""), "11:11: error: 'workers': expected an integer, found a string"),
        (
            client("[daemon]\nworkers = 4.0"),
            "11:11: error: 'workers': expected an integer, found a floating-point number"
        ),
        (client("[daemon]\nworkers = 1025"), "11:11: error: 'workers' is 1025, which is not between 0 and 1024"),
        (client("[daemon]\ncontrol_socket = ''"), "11:18: error: 'control_socket' holds an empty string"),
        (
            client("[daemon]\ncontrol_socket = 1979-05-27"),
            "11:18: error: 'control_socket': expected a string, found a date or time"
        ),
        (
            client("[daemon]\nlog_level = 'wrning'"),
            "11:13: error: 'log_level' cannot be 'wrning'; did you mean 'warning'?"
        ),
        (
            client("[daemon]\nlog_format = 'xml'"),
            "11:14: error: 'log_format' cannot be 'xml'; it is one of 'auto', 'text', 'json' or 'journal'"
        ),
        (client("max_flows = 0"), "10:13: error: 'max_flows' is 0, which is not between 1 and 1048576"),
        (
            client("max_associations = 9223372036854775807"),
            "10:20: error: 'max_associations' is 9223372036854775807, which is not between 1 and 1048576"
        ),
        (server("max_handshakes = true"), "10:18: error: 'max_handshakes': expected an integer, found a boolean"),
        (
            server("cookie_exchange = 'yes'"),
            "10:19: error: 'cookie_exchange': expected a boolean (true or false), found a string"
        ),
        (client("oversize = 'fragments'"), "10:12: error: 'oversize' cannot be 'fragments'; did you mean 'fragment'?"),
        (client("reconnect = 5"), "10:13: error: 'reconnect': expected a table, found an integer"),
        (
            server("allow_from = '192.0.2.0/24'"),
            "10:14: error: 'allow_from': expected an array of strings, found a string"
        ),
        (
            server("allow_from = ['192.0.2.0/24', 7]"),
            "10:31: error: 'allow_from': expected an array of strings, found an integer"
        ),
        (server("allow_from = []"), "10:14: error: 'allow_from' is an empty array; leave the key out instead"),
        (
            server("allow_peers = ['CN:\\u0007', \"CN:\\u0007\"]"),
            "10:29: error: 'allow_peers' holds a control character: 'CN:\\u{7}'"
        ),
        ("daemon = 5\n" + client(), "1:10: error: 'daemon': expected a table, found an integer"),
        ("identity.a = 5\n" + client(), "1:14: error: 'a' in [identity]: expected a table, found an integer"),
        ("tunnel = 5\n", "1:1: error: 'tunnel': expected an array of tables, found an integer"),
        (
            "[tunnel]\nname = 'x'\n",
            "1:2: error: 'tunnel': expected an array of tables, found a table; write [[tunnel]] in double brackets: there may be several"
        ),
        ("tunnel = [5]\n", "1:11: error: 'tunnel': expected a table, found an integer"),
    ])
    func `a wrong type or value is reported at the value`(text: String, expected: String) {
        #expect(check(text) == ["c.toml:\(expected)"])
    }

    @Test func `identity keys without a name are explained`() {
        #expect(
            check(client().replacing("[identity.default]", with: "[identity]")).first
                == "c.toml:2:15: error: 'certificate' in [identity]: expected a table, found a string; "
                + "name the section, as in [identity.default]")
    }

    @Test(arguments: [
        "5", "5 m", "m", "", "-5s", "+5s", "1.5s", "5M", "5min", "1h30m", "99999999999999999999s", "106751991168d",
        "٣s", "0x5s",
    ])
    func `a text that is no duration is refused`(text: String) {
        let found = check(client("flow_timeout = \"\(text)\""))
        #expect(
            found == [
                "c.toml:10:16: error: 'flow_timeout' is not a duration: '\(text)'; write a whole number with ms, s, m, h "
                    + "or d, such as \"250ms\" or \"5m\""
            ])
    }

    @Test(arguments: [
        (
            client("flow_timeout = 5"),
            "10:16: error: 'flow_timeout': expected a duration in quotes, such as \"15s\", found an integer"
        ),
        (client("flow_timeout = '99ms'"), "10:16: error: 'flow_timeout' is '99ms', which is not between 100ms and 7d"),
        (client("flow_timeout = '8d'"), "10:16: error: 'flow_timeout' is '8d', which is not between 100ms and 7d"),
        (
            client("[tunnel.reconnect]\nminimum = '90s'"),
            "11:11: error: 'minimum' (90s) is longer than 'maximum' (1m) in reconnect of tunnel 'c'"
        ),
        (
            client("[tunnel.reconnect]\nmaximum = '500ms'"),
            "11:11: error: 'minimum' (1s) is longer than 'maximum' (500ms) in reconnect of tunnel 'c'"
        ),
        (
            client("reconnect = { minimum = '3s', maximum = '2s' }"),
            "10:25: error: 'minimum' (3s) is longer than 'maximum' (2s) in reconnect of tunnel 'c'"
        ),
    ])
    func `durations have bounds`(text: String, expected: String) {
        #expect(check(text) == ["c.toml:\(expected)"])
    }

    @Test(arguments: [
        (
            addresses("udp://127.0.0.1:1", "udp://127.0.0.1:2"),
            "9:1: error: tunnel 't' has udp:// on both sides; one of 'listen' and 'forward' must be dtls://, or nothing is encrypted"
        ),
        (
            addresses("dtls://127.0.0.1:1", "dtls://127.0.0.1:2"),
            "9:1: error: tunnel 't' has dtls:// on both sides; one of 'listen' and 'forward' must be udp://; to relay DTLS, chain two tunnels"
        ),
        (
            addresses("tcp://127.0.0.1:1", "dtls://h:2"),
            "8:10: error: 'listen': unknown scheme 'tcp'; it is 'udp' or 'dtls'; culvert carries UDP only"
        ),
        (
            addresses("127.0.0.1:1", "dtls://h:2"),
            "8:10: error: 'listen': missing scheme in '127.0.0.1:1'; write udp://… for plaintext or dtls://… for the encrypted side"
        ),
        (
            addresses("udp://127.0.0.1", "dtls://h:2"),
            "8:10: error: 'listen': missing port in 'udp://127.0.0.1'; write udp://127.0.0.1:PORT"
        ),
        (
            addresses("udp://127.0.0.1:", "dtls://h:2"),
            "8:10: error: 'listen': missing port in 'udp://127.0.0.1:'; write udp://127.0.0.1:PORT"
        ),
        (
            addresses("udp://[::1]", "dtls://h:2"),
            "8:10: error: 'listen': missing port in 'udp://[::1]'; write udp://[::1]:PORT"
        ),
        (
            addresses("udp://::1", "dtls://h:2"),
            "8:10: error: 'listen': an IPv6 address needs brackets: udp://[::1]:PORT"
        ),
        (
            addresses("udp://127.0.0.1:0", "dtls://h:2"),
            "8:10: error: 'listen': bad port '0'; a port is a number from 1 to 65535"
        ),
        (
            addresses("udp://127.0.0.1:65536", "dtls://h:2"),
            "8:10: error: 'listen': bad port '65536'; a port is a number from 1 to 65535"
        ),
        (
            addresses("udp://127.0.0.1:+5", "dtls://h:2"),
            "8:10: error: 'listen': bad port '+5'; a port is a number from 1 to 65535"
        ),
        (
            addresses("udp://127.0.0.1:syslog", "dtls://h:2"),
            "8:10: error: 'listen': bad port 'syslog'; a port is a number from 1 to 65535"
        ),
        (
            addresses("udp://*:514", "dtls://h:2"),
            "8:10: error: 'listen': '*' is not an address; write [::] for every address, or 0.0.0.0 for IPv4 alone"
        ),
        (addresses("udp://:514", "dtls://h:2"), "8:10: error: 'listen': missing host"),
        (
            addresses("udp://myhost:514", "dtls://h:2"),
            "8:10: error: 'listen' names the host 'myhost'; a socket listens on a numeric address of this host, or on 'localhost' (127.0.0.1)"
        ),
        (
            addresses("udp://127.0.0.1:1/x", "dtls://h:2"),
            "8:10: error: 'listen': nothing may follow the port in 'udp://127.0.0.1:1/x'"
        ),
        (
            addresses("udp://127.0.0.1:1", "dtls://h"),
            "9:11: error: 'forward': missing port in 'dtls://h'; write dtls://h:PORT"
        ),
        (addresses("udp://127.0.0.1:1", "dtls://-h:1"), "9:11: error: 'forward': not an address or host name: '-h'"),
        (
            addresses("udp://127.0.0.1:1", "dtls://10.0.0.256:1"),
            "9:11: error: 'forward': not an IPv4 address: '10.0.0.256'; write four numbers from 0 to 255 without leading zeros"
        ),
        (
            addresses("udp://127.0.0.1:1", "dtls://[fe80::1%eth0]:1"),
            "9:11: error: 'forward': an address with an interface is not supported: '[fe80::1%eth0]'"
        ),
        (
            addresses("udp://127.0.0.1:1", "dtls://[1.2.3.4]:1"),
            "9:11: error: 'forward': not an IPv6 address: '1.2.3.4'"
        ),
        (addresses("udp://127.0.0.1:1", "dtls://[::1:1"), "9:11: error: 'forward': missing ']' in 'dtls://[::1:1'"),
        (
            addresses("udp://127.0.0.1:1", "dtls://[::1]1"),
            "9:11: error: 'forward': expected ':' and a port after ']' in 'dtls://[::1]1'"
        ),
        (
            addresses("udp://127.0.0.1:1", "dtls://::1:1"),
            "9:11: error: 'forward': an IPv6 address needs brackets: dtls://[::1:1]:PORT"
        ),
        (
            addresses("udp://127.0.0.1:1", "dtls://x::y:1"),
            "9:11: error: 'forward': not an address or host name: 'x::y'"
        ),
    ])
    func `an address that cannot be used says why`(text: String, expected: String) {
        #expect(check(text) == ["c.toml:\(expected)"])
    }

    @Test(arguments: [
        (
            client("allow_from = ['192.0.2.1']"), "allow_from", "server", "c",
            "client (udp:// to dtls://): a client chooses its peer by 'forward'"
        ),
        (
            client("cookie_exchange = true"), "cookie_exchange", "server", "c",
            "client (udp:// to dtls://): only a server can ask for a cookie, and a client answers always"
        ),
        (
            client("require_client_certificate = true"), "require_client_certificate", "server", "c",
            "client (udp:// to dtls://): a client always verifies its server"
        ),
        (
            client("max_handshakes = 5"), "max_handshakes", "server", "c",
            "client (udp:// to dtls://): a client starts no more handshakes than it has flows"
        ),
        (
            server("connect = 'start'"), "connect", "client", "s",
            "server (dtls:// to udp://): a server waits for its peers"
        ),
    ])
    func `a key of the other side says why`(text: String, key: String, side: String, tunnel: String, why: String) {
        #expect(
            check(text) == ["c.toml:10:1: error: '\(key)' is for the \(side) side, and tunnel '\(tunnel)' is a \(why)"])
    }

    @Test func `reconnect on the server side says why`() {
        let why = "a server waits for its peers to come back"
        #expect(
            check(server("[tunnel.reconnect]")) == [
                "c.toml:10:9: error: 'reconnect' is for the client side, and tunnel 's' is a server (dtls:// to udp://): \(why)"
            ])
    }

    @Test(arguments: ["udp://0.0.0.0:514", "udp://[::]:514", "udp://192.0.2.1:514", "udp://[2001:db8::1]:514"])
    func `plaintext from the network is warned of, but accepted`(listen: String) {
        let text = addresses(listen, "dtls://h:2")
        let (configuration, diagnostics) = Configuration.parse(sources: [
            ConfigurationSource(name: "c.toml", text: text)
        ])
        #expect(configuration != nil)
        #expect(
            diagnostics.map(\.description) == [
                "c.toml:8:10: warning: tunnel 't' takes plaintext from the network; anyone who reaches that address sends "
                    + "into the tunnel; prefer 127.0.0.1 or [::1]"
            ])
    }

    @Test(arguments: [
        ("", "holds an empty string"), ("a b", "cannot be"), ("ä", "cannot be"),
        (String(repeating: "x", count: 64), "cannot be"), ("a/b", "cannot be"),
    ])
    func `a tunnel's name has its letters`(name: String, expected: String) {
        let found = check(client().replacing("name = \"c\"", with: "name = \"\(name)\""))
        #expect(found.count == 1)
        #expect(found.first?.hasPrefix("c.toml:7:8: error: '") == true)
        #expect(found.first?.contains(expected) == true)
    }

    @Test func `a configuration without a tunnel is refused`() {
        #expect(
            check(preamble) == [
                "c.toml: error: the configuration has no tunnel; add a [[tunnel]] with \"name\", \"listen\" and \"forward\""
            ])
        #expect(Configuration.parse(sources: []).diagnostics.count == 1)
    }
}
