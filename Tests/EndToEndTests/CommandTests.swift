// The commands that talk to the daemon, against daemons that run.

import Testing
import TestSupport

@Suite struct CommandTests {
    /// Runs `culvert` against `daemon` to its end.
    private func run(_ arguments: String..., on daemon: Daemon) async throws -> (status: Int32, said: String) {
        let program = try Program(
            [Program.built("culvert")] + arguments,
            environment: ["CULVERT_SOCKET": daemon.control.path, "LC_ALL": "C.UTF-8", "ASAN_OPTIONS": "detect_leaks=0"])
        program.closeInput()
        return (try await program.expectExit(), program.said)
    }

    @Test(arguments: ["never", "auto"])
    func `a running tunnel is seen, pinged, followed and closed by commands`(sharing: String) async throws {
        let pair = try await Pair(sharing: sharing)
        let sender = try pair.sender()
        try await pair.converse(sender, pattern(100))

        for (daemon, identity) in [(pair.client, "localhost"), (pair.server, "edge-7")] {
            let (status, said) = try await run("status", on: daemon)
            #expect(status == 0)
            let first = try #require(said.split(separator: "\n").first)
            #expect(
                first.hasPrefix("echo  up  ") && first.contains("  encrypted: DTLS 1.2, ECDHE-")
                    && first.contains(identity))
            #expect(first.hasSuffix(", shared") == (sharing == "auto"))
            #expect(try await run("tunnels", on: daemon).said.split(separator: "\n").count == 2)
            #expect(try await run("flows", on: daemon).said.contains("open"))
            let ping = try await run("ping", "echo", on: daemon)
            #expect(ping.status == 0 && ping.said.contains(" ms, path MTU "), "\(ping.said)")
        }

        let events = try Program(
            [Program.built("culvert"), "events", "--after", "0", "--socket", pair.client.control.path])
        try await events.expect("echo: ")
        let id = try #require(try pair.client.associations().first?.id)
        #expect(try await run("close", id, on: pair.client) == (0, "\(id): closed\n"))
        try await events.expect("ended: closed by this end")
        #expect(try await run("close", "nobody", on: pair.client) == (1, "culvert: There is no association nobody.\n"))
        try await pair.recover(sender)

        #expect(try await run("log-level", "debug", "--tunnel", "echo", on: pair.client).status == 0)
        #expect(
            try await run("reload", on: pair.client) == (
                0, "no setting was changed; keys and certificates were read again\nunchanged: echo\n"
            ))
        #expect(try await run("metrics", on: pair.client).said.contains("culvert_tunnel_up{tunnel=\"echo\"} 1"))
        #expect(try await pair.client.stop().status == 0)
        #expect(try await events.expectExit() == 69)
        #expect(try await run("status", on: pair.client).status == 69)
    }
}
