// Files and directories: what can go wrong on the way from the disk, and how several files become one configuration.

import Configuration
import Testing

private let tunnel = "[[tunnel]]\nname = 't'\nlisten = 'udp://127.0.0.1:5'\nforward = 'dtls://h:6'\n"

struct LoaderTests {
    @Test func `a missing file, an empty directory and a file without end are refused`() throws {
        let directory = try ScratchDirectory()
        func load(_ path: String) -> [String] { ConfigurationLoader.load(path: path).diagnostics.map(\.description) }
        #expect(
            load("\(directory.path)/none.toml") == [
                "\(directory.path)/none.toml: error: cannot open: no such file or directory"
            ])
        try directory.write("readme.txt", "")
        try directory.write(".hidden.toml", "x = ")
        #expect(load(directory.path) == ["\(directory.path): error: the directory holds no *.toml file"])
        #expect(load("/dev/zero") == ["/dev/zero: error: too large: a configuration file has at most 1 MiB"])
        #expect(load("") == [": error: cannot open: no such file or directory"])
        let large = try directory.write("large.toml", [UInt8](repeating: 10, count: (1 << 20) + 1))
        #expect(load(large) == ["\(large): error: too large: a configuration file has at most 1 MiB"])
        let largest = try directory.write(
            "large.toml", Array(repeating: 10, count: (1 << 20) - 4) + Array("a=1\n".utf8))
        #expect(load(largest).last == "\(largest):1048573:1: error: unknown key 'a' at the top level")
    }

    @Test func `the files of a directory are read in the order of their names and put together`() throws {
        let directory = try ScratchDirectory()
        try directory.write("20-b.toml", tunnel.replacing("'t'", with: "'b'").replacing(":5", with: ":7"))
        try directory.write("10-a.toml", "[daemon]\nworkers = 2\n" + tunnel)
        try directory.write(
            "30-c.toml", "[daemon]\nlog_level = 'debug'\n[trust.default]\nca = 'ca.crt'\ncrl = '/crl.pem'\n")
        try directory.write("40-d.toml~", "broken")
        for path in [directory.path, directory.path + "/"] {
            let (configuration, diagnostics) = ConfigurationLoader.load(path: path)
            #expect(diagnostics.map(\.description) == [])
            let found = try #require(configuration)
            #expect(found.daemon.workers == 2)
            #expect(found.daemon.logLevel == .debug)
            #expect(found.tunnels.map(\.name) == ["t", "b"])
            #expect(found.tunnels[0].locatedName.location.file == "\(directory.path)/10-a.toml")
            guard case .path(let authorities)? = found.trusts[0].authorities else {
                Issue.record("no authorities")
                return
            }
            #expect(authorities.value == "\(directory.path)/ca.crt")
            #expect(found.trusts[0].revocationList?.value == "/crl.pem")
        }
    }

    @Test func `what two files say twice names both places`() throws {
        let sources = [
            ConfigurationSource(name: "d/a.toml", text: "[daemon]\nworkers = 2\n[trust.default]\nca = 'x'\n" + tunnel),
            ConfigurationSource(
                name: "d/b.toml", text: "[trust.default]\npsk_file = 'x'\n[daemon]\nworkers = 2\n" + tunnel),
        ]
        let (configuration, diagnostics) = Configuration.parse(sources: sources)
        #expect(configuration == nil)
        #expect(
            diagnostics.map(\.description) == [
                "d/b.toml:1:8: error: [trust.default] is given twice; the first is at d/a.toml:3:8",
                "d/b.toml:4:1: error: 'workers' in [daemon] is given twice; the first is at d/a.toml:2:1",
                "d/b.toml:6:8: error: a tunnel named 't' exists already, at d/a.toml:6:8",
                "d/b.toml:7:10: error: 127.0.0.1:5 is already taken by tunnel 't' at d/a.toml:7:10",
            ])
    }

    @Test func `a file that cannot be read does not hide the mistakes of the others`() throws {
        let directory = try ScratchDirectory()
        try directory.write("a.toml", "[daemon]\nwrkers = 2\n" + tunnel)
        try directory.write("b.toml", [UInt8](repeating: 10, count: (1 << 20) + 1))
        let (configuration, diagnostics) = ConfigurationLoader.load(path: directory.path)
        #expect(configuration == nil)
        #expect(
            diagnostics.map(\.description) == [
                "\(directory.path)/b.toml: error: too large: a configuration file has at most 1 MiB",
                "\(directory.path)/a.toml:2:1: error: unknown key 'wrkers' in [daemon]; did you mean 'workers'?",
            ])
    }

    @Test func `relative paths start at the file that names them`() {
        #expect(SourceLocation(file: "/etc/culvert/c.toml").resolve(path: "a/b") == "/etc/culvert/a/b")
        #expect(SourceLocation(file: "c.toml").resolve(path: "a/b") == "a/b")
        #expect(SourceLocation(file: "../c.toml").resolve(path: "b") == "../b")
        #expect(SourceLocation(file: "/c.toml").resolve(path: "b") == "/b")
        #expect(SourceLocation(file: "/etc/c.toml").resolve(path: "/b") == "/b")
    }

    @Test func `a control socket whose path does not fit its address is refused`() {
        let path = "/" + String(repeating: "s", count: 106)
        #expect(
            check("[daemon]\ncontrol_socket = '\(path)'\n" + preamble + tunnel).first?
                .hasPrefix("c.toml:2:18: error: 'control_socket' is longer than 106 bytes: '/sss") == true)
    }
}
