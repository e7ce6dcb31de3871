// What a reload would do and say, for every kind of change. Whatever changes, each tunnel is told of exactly once, and the groups
// that go on, end and begin are those before and those after.

import Configuration
import Testing

@testable import Daemon

@Suite struct `A reload's plan` {
    /// A tunnel's section. A server's listens on port 5000 and a client's on the port that its name ends with, unless the
    /// keys say otherwise.
    private static func client(_ name: String, _ keys: String = "", forward: String = "192.0.2.1:6514") -> String {
        let listen = keys.contains("listen =") ? "" : "listen = \"udp://127.0.0.1:400\(name.last ?? "0")\""
        return "[[tunnel]]\nname = \"\(name)\"\n\(listen)\nforward = \"dtls://\(forward)\"\n\(keys)\n"
    }

    private static func server(_ name: String, _ keys: String = "", listen: String = "127.0.0.1:5000") -> String {
        let forward = keys.contains("forward =") ? "" : "forward = \"udp://127.0.0.1:514\""
        return "[[tunnel]]\nname = \"\(name)\"\nlisten = \"dtls://\(listen)\"\n\(forward)\n\(keys)\n"
    }

    private static let sections = """
        [identity.default]
        certificate = "/own.crt"
        private_key = "/own.key"
        [identity.other]
        certificate = "/other.crt"
        private_key = "/other.key"
        [trust.default]
        ca = "/ca.crt"
        [trust.other]
        ca = "/other-ca.crt"

        """

    private struct Outcome {
        let plan: ReloadPlan
        /// The tunnels of the groups after the reload, by the groups' numbers; new ones are numbered on.
        let groups: [[String]]
        var applied: [String] { plan.applied }
        var unchanged: [String] { plan.unchanged }
        /// Whether nothing ends and nothing begins.
        var isLive: Bool { plan.ended.isEmpty && plan.begun.isEmpty }
    }

    /// Plans the way from tunnels to others, and holds what must be true of every plan.
    private static func plan(
        _ before: [String], _ after: [String], sections: (String, String) = (sections, sections),
        at location: Testing.SourceLocation = #_sourceLocation
    ) throws -> Outcome {
        let (old, running) = try Configuration.planned(sections.0 + before.joined())
        let (new, plans) = try Configuration.planned(sections.1 + after.joined())
        let numbered = Dictionary(uniqueKeysWithValues: zip(10..., running))
        let plan = ReloadPlan(from: numbered, old, to: plans, new)

        let names = Set(old.tunnels.map(\.name)).union(new.tunnels.map(\.name))
        for name in names {
            let told = plan.applied.filter { $0.hasPrefix("tunnel '\(name)': ") }.count
            #expect(told + plan.unchanged.filter { $0 == name }.count == 1, "\(name)", sourceLocation: location)
        }
        #expect(
            plan.applied.count(where: { $0.hasPrefix("tunnel '") }) + plan.unchanged.count == names.count,
            sourceLocation: location)
        #expect(
            Set(plan.ended).union(plan.updated.map(\.group)) == Set(numbered.keys)
                && plan.ended.count + plan.updated.count == numbered.count && plan.ended == plan.ended.sorted(),
            sourceLocation: location)
        for (group, updated) in plan.updated {
            // Members of a group that runs keep their places.
            #expect(updated.tunnels.map(\.name) == numbered[group]?.tunnels.map(\.name), sourceLocation: location)
        }
        let groups = plan.updated.sorted { $0.group < $1.group }.map(\.plan) + plan.begun
        #expect(
            Set(groups.map { Set($0.tunnels.map(\.name)) }) == Set(plans.map { Set($0.tunnels.map(\.name)) }),
            sourceLocation: location)
        // What is in force afterwards is what was asked for, down to each setting.
        for settings in groups.flatMap(\.tunnels).map(\.settings) {
            #expect(new.tunnels.contains(settings), sourceLocation: location)
        }
        return Outcome(plan: plan, groups: groups.map { $0.tunnels.map(\.name) })
    }

    @Test func `nothing changed: nothing is done and nothing said`() throws {
        let tunnels = [Self.client("a1"), Self.client("a2"), Self.server("b"), Self.server("c")]
        let outcome = try Self.plan(tunnels, tunnels)
        #expect(outcome.isLive && outcome.applied.isEmpty && outcome.plan.needsRestart.isEmpty)
        #expect(outcome.unchanged == ["a1", "a2", "b", "c"] && outcome.groups == [["a1", "a2"], ["b", "c"]])
    }

    @Test(
        arguments: [
            "allow_from = [\"192.0.2.0/24\"]", "flow_timeout = \"1m\"", "max_flows = 7", "max_associations = 7",
            "max_handshakes = 7", "oversize = \"drop\"", "log_level = \"debug\"",
            "allow_peers = [\"CN:edge-7\"]",
        ])
    func `what holds while a server's tunnel runs`(setting: String) throws {
        let key = try #require(setting.split(separator: " ").first)
        let outcome = try Self.plan(
            [Self.server("a"), Self.client("b1")], [Self.server("a", setting), Self.client("b1")])
        #expect(outcome.isLive && outcome.applied == ["tunnel 'a': \(key) changed"] && outcome.unchanged == ["b1"])
    }

    @Test(
        arguments: [
            ("flow_timeout = \"1m\"", "flow_timeout"), ("max_flows = 7", "max_flows"),
            ("max_associations = 7", "max_associations"), ("oversize = \"drop\"", "oversize"),
            ("log_level = \"debug\"", "log_level"), ("allow_peers = [\"CN:hub\"]", "allow_peers"),
            ("reconnect = { minimum = \"2s\" }", "reconnect.minimum"),
            ("reconnect = { minimum = \"2s\", maximum = \"9s\" }", "reconnect.maximum, reconnect.minimum"),
        ])
    func `what holds while a client's tunnel runs`(setting: String, keys: String) throws {
        let outcome = try Self.plan([Self.client("a1")], [Self.client("a1", setting)])
        #expect(outcome.isLive && outcome.applied == ["tunnel 'a1': \(keys) changed"] && outcome.unchanged.isEmpty)
    }

    @Test(
        arguments: [
            ("listen = \"udp://127.0.0.1:4009\"", "listen"), ("identity = \"other\"", "identity"),
            ("trust = \"other\"", "trust"), ("server_name = \"hub.example\"", "server_name"),
            ("sharing = \"never\"", "sharing"), ("service = \"logs\"", "service"),
            ("connect = \"first-datagram\"", "connect"),
            ("require_extended_master_secret = false", "require_extended_master_secret"),
            ("ciphers = [\"ECDHE-ECDSA-AES128-GCM-SHA256\"]", "ciphers"),
            ("heartbeat = { interval = \"3s\" }", "heartbeat.interval"), ("mtu = { maximum = 1400 }", "mtu.maximum"),
            ("max_flows = 7\nmtu = { maximum = 1400 }", "max_flows, mtu.maximum"),
        ])
    func `what a client's associations were made with`(setting: String, keys: String) throws {
        let outcome = try Self.plan(
            [Self.client("a1"), Self.server("b")], [Self.client("a1", setting), Self.server("b")])
        #expect(outcome.plan.ended == [10] && outcome.unchanged == ["b"])
        #expect(outcome.applied == ["tunnel 'a1': \(keys) changed; its associations begin anew"])
    }

    @Test(
        arguments: [
            ("cookie_exchange = false", "cookie_exchange"),
            ("require_client_certificate = false", "require_client_certificate"),
            ("forward = \"udp://127.0.0.1:515\"", "forward"), ("server_name = \"a.example\"", "server_name"),
            ("sharing = \"always\"", "sharing"),
        ])
    func `what a server's associations were made with`(setting: String, keys: String) throws {
        let outcome = try Self.plan([Self.server("a")], [Self.server("a", setting)])
        #expect(outcome.plan.ended == [10])
        #expect(outcome.applied == ["tunnel 'a': \(keys) changed; its associations begin anew"])
    }

    @Test func `tunnels that come, go and get another name`() throws {
        let alone = "sharing = \"never\""
        let outcome = try Self.plan(
            [Self.client("a1", alone), Self.client("b2", alone), Self.server("c")],
            [Self.client("d4", alone), Self.client("a1", alone), Self.server("e")])
        #expect(outcome.plan.ended == [11, 12] && outcome.groups == [["a1"], ["d4"], ["e"]])
        #expect(
            outcome.applied == [
                "tunnel 'd4': added", "tunnel 'e': added", "tunnel 'b2': removed", "tunnel 'c': removed",
            ])
        #expect(outcome.unchanged == ["a1"])
    }

    @Test func `the order of tunnels in the file means nothing where they stand alone or at a client's end`() throws {
        let tunnels = [
            Self.client("a1"), Self.client("a2"), Self.client("b3", forward: "192.0.2.2:6514"),
            Self.server("c", listen: "127.0.0.1:5001"), Self.server("d"),
        ]
        let outcome = try Self.plan(tunnels, tunnels.reversed())
        #expect(outcome.isLive && outcome.applied.isEmpty && outcome.unchanged == ["d", "c", "b3", "a2", "a1"])
    }

    @Test func `tunnels that changed places keep their own settings`() throws {
        let outcome = try Self.plan(
            [Self.client("a1"), Self.client("a2")],
            [Self.client("a2", "max_flows = 2"), Self.client("a1", "max_flows = 1")])
        #expect(outcome.isLive && outcome.groups == [["a1", "a2"]])
        #expect(outcome.plan.updated.first?.plan.tunnels.map(\.settings.limits.maximumFlows) == [1, 2])
        #expect(outcome.applied == ["tunnel 'a2': max_flows changed", "tunnel 'a1': max_flows changed"])
    }

    @Test func `plain clients that name no tunnel get the first on an address, so it matters which that is`() throws {
        let (a, b, c) = (Self.server("a"), Self.server("b"), Self.server("c"))
        let behind = try Self.plan([a, b, c], [a, c, b])
        #expect(behind.isLive && behind.applied.isEmpty && behind.unchanged == ["a", "c", "b"])

        let first = try Self.plan([a, b], [Self.server("b", "max_flows = 9"), a])
        let reason = "because clients in plain mode that name no tunnel get 'b' now, not 'a'"
        #expect(first.plan.ended == [10] && first.groups == [["b", "a"]])
        #expect(
            first.applied == [
                "tunnel 'b': max_flows changed; its associations begin anew, \(reason)",
                "tunnel 'a': its associations begin anew, \(reason)",
            ])
    }

    @Test func `where plain clients are refused, the order on an address means nothing`() throws {
        let tunnels = ["a", "b"].map { Self.server($0, "sharing = \"always\"") }
        let outcome = try Self.plan(tunnels, tunnels.reversed())
        #expect(outcome.isLive && outcome.unchanged == ["b", "a"] && outcome.groups == [["a", "b"]])
    }

    @Test func `one that changes takes along those that it shares with, and nobody else`() throws {
        let clients = try Self.plan(
            [Self.client("a1"), Self.client("a2"), Self.client("b3", forward: "192.0.2.2:6514")],
            [Self.client("a1"), Self.client("a2", "service = \"logs\""), Self.client("b3", forward: "192.0.2.2:6514")])
        #expect(
            clients.applied == [
                "tunnel 'a1': its associations begin anew, because a tunnel that it shares its associations with has changed",
                "tunnel 'a2': service changed; its associations begin anew",
            ])
        #expect(clients.plan.ended == [10] && clients.unchanged == ["b3"])

        let servers = try Self.plan(
            [Self.server("a"), Self.server("b")],
            [Self.server("a"), Self.server("b", "forward = \"udp://127.0.0.1:9\"")])
        #expect(
            servers.applied == [
                "tunnel 'a': its associations begin anew, because a tunnel that it shares its address with has changed",
                "tunnel 'b': forward changed; its associations begin anew",
            ])
    }

    @Test func `tunnels that come to share and cease to`() throws {
        let (a, b, c) = (Self.client("a1"), Self.client("b2"), Self.client("c3"))
        func told(_ name: String, _ why: String) -> String {
            "tunnel '\(name)': its associations begin anew, because it shares its associations with \(why)"
        }
        #expect(try Self.plan([a], [a, b]).applied == [told("a1", "other tunnels now"), "tunnel 'b2': added"])
        #expect(
            try Self.plan([a, b], [a]).applied == [told("a1", "no other tunnel any more"), "tunnel 'b2': removed"])
        #expect(
            try Self.plan([a, b], [c, a]).applied == [
                "tunnel 'c3': added", told("a1", "other tunnels than before"), "tunnel 'b2': removed",
            ])
        // One goes over to another peer, or asks more of the one that it has.
        let elsewhere = Self.client("b2", forward: "192.0.2.2:6514")
        #expect(
            try Self.plan([a, b], [a, elsewhere]).applied == [
                told("a1", "no other tunnel any more"),
                "tunnel 'b2': forward, server_name changed; its associations begin anew",
            ])
        #expect(
            try Self.plan([a, b], [a, Self.client("b2", "allow_peers = [\"CN:hub\"]")]).applied == [
                told("a1", "no other tunnel any more"),
                "tunnel 'b2': allow_peers changed; its associations begin anew, because it shares its associations with no other tunnel any more",
            ])
        #expect(
            try Self.plan([Self.server("a")], [Self.server("a"), Self.server("b")]).applied == [
                "tunnel 'a': its associations begin anew, because it shares its address with other tunnels now",
                "tunnel 'b': added",
            ])
    }

    @Test func `one that waits less, and would else share, is told of as what it is`() throws {
        // `reconnect` is one for all that share: both have it, so both go on.
        let keys = "reconnect = { maximum = \"9s\" }"
        let outcome = try Self.plan(
            [Self.client("a1"), Self.client("a2")], [Self.client("a1", keys), Self.client("a2", keys)])
        #expect(outcome.isLive)
        #expect(outcome.applied == ["a1", "a2"].map { "tunnel '\($0)': reconnect.maximum changed" })
    }

    @Test func `a tunnel that is turned round`() throws {
        let outcome = try Self.plan([Self.client("a1"), Self.client("a2")], [Self.server("a1"), Self.client("a2")])
        #expect(
            outcome.applied == [
                "tunnel 'a1': it was a client's end and is a server's now; its associations begin anew",
                "tunnel 'a2': its associations begin anew, because it shares its associations with no other tunnel any more",
            ])
        #expect(outcome.plan.ended == [10] && outcome.groups == [["a1"], ["a2"]])
    }

    @Test func `names that change places`() throws {
        let alone = "sharing = \"never\""
        func pair(_ first: String, _ second: String) -> [String] {
            [
                Self.client(first, "listen = \"udp://127.0.0.1:4001\"\n\(alone)"),
                Self.client(second, "listen = \"udp://127.0.0.1:4002\"\n\(alone)"),
            ]
        }
        let outcome = try Self.plan(pair("a", "b"), pair("b", "a"))
        #expect(outcome.plan.ended == [10, 11])
        #expect(outcome.applied == ["b", "a"].map { "tunnel '\($0)': listen changed; its associations begin anew" })
    }

    @Test func `other keys and authorities hold for handshakes to come`() throws {
        let outcome = try Self.plan(
            [Self.client("a1"), Self.server("b")], [Self.client("a1"), Self.server("b")],
            sections: (
                Self.sections,
                Self.sections.replacing("/own.key", with: "/new.key").replacing("/ca.crt", with: "/new-ca.crt")
                    + "[identity.third]\ncertificate = \"/third.crt\"\nprivate_key = \"/third.key\"\n"
            ))
        #expect(outcome.isLive && outcome.unchanged == ["a1", "b"])
        #expect(
            outcome.applied
                == ["identity", "trust"].map {
                    "[\($0).default] changed: it holds for handshakes from now on"
                })
    }

    @Test func `what concerns the process takes a restart, but for the level of its log`() throws {
        let daemon = """
            [daemon]
            workers = 7
            control_socket = "/elsewhere.sock"
            metrics_listen = "127.0.0.1:9464"
            log_format = "json"
            log_level = "debug"

            """
        let outcome = try Self.plan(
            [Self.client("a1")], [Self.client("a1", "log_level = \"error\"")],
            sections: (Self.sections, daemon + Self.sections))
        #expect(outcome.isLive)
        #expect(outcome.applied == ["tunnel 'a1': log_level changed", "log_level changed"])
        #expect(
            outcome.plan.needsRestart
                == ["control_socket", "log_format", "metrics_listen", "workers"].map {
                    "\($0) changed; restart the daemon to apply it"
                })
    }
}
