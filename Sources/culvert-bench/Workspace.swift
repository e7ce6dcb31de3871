// A temporary directory with the keys, configs and logs of the contenders, and how each of them is started. Removed with
// all that is in it when it is let go.

import Control
import DTLS
import FoundationEssentials
import LinuxIO
import OpenSSL
import Wire

/// Where the contenders' files are.
final class Workspace {
    let path: String
    private let culvert: String?
    private let baseline: String?
    private var hasKeys = false

    /// Makes the directory. `culvert` is the path of the daemon; nil looks beside this program. `baseline` is that of another
    /// one to compare it with.
    init(culvert: String?, baseline: String? = nil) throws {
        path = FileManager.default.temporaryDirectory.path + "/culvert-bench-\(UUID().uuidString)"
        self.culvert = culvert
        self.baseline = baseline
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }

    /// What a program has said, its last lines, for an error message.
    func lastWords(of kind: ContenderKind) -> String { lastWords(of: kind.rawValue) }

    /// The same of programs whose logs' names begin so.
    func lastWords(of name: String) -> String {
        let names = ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted()
        let logs = names.filter { $0.hasPrefix("\(name)-") && $0.hasSuffix(".log") }
        return logs.flatMap { name in
            text(name).split(separator: "\n").suffix(3).map { "\n    \(name): \($0)" }
        }.joined()
    }

    // MARK: - Relay

    func startRelays(to sink: Endpoint) throws -> ([ChildProcess], Endpoint) {
        let (second, middle) = try startRelay("relay-2.log", to: sink)
        let (first, entry) = try startRelay("relay-1.log", to: middle)
        return ([first, second], entry)
    }

    private func startRelay(_ log: String, to target: Endpoint) throws -> (ChildProcess, Endpoint) {
        let program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let process = try start(
            [program, "relay", "--listen", "127.0.0.1:0", "--forward", target.description], log: log)
        let endpoint = try wait(for: "relay") { Endpoint(self.text(log).split(separator: "\n").first ?? "") }
        return (process, endpoint)
    }

    // MARK: - socat

    func startSocat(to sink: Endpoint) throws -> ([ChildProcess], Endpoint) {
        try makeSocatKey()
        let middle = try freePort()
        let entry = try freePort()
        // SO_RCVBUFFORCE (33) gives as much as culvert's engine asks for, but only root may.
        let bytes = UDPSocket.Options().receiveBufferBytes ?? 0
        let buffer = isRoot ? "setsockopt-int=1:33:\(bytes)" : "rcvbuf=\(bytes)"
        let second = try start(
            [
                "socat",
                "OPENSSL-DTLS-SERVER:\(middle),bind=127.0.0.1,fork,cert=\(path)/socat.pem,verify=0,\(buffer)",
                "UDP4:127.0.0.1:\(sink.port)",
            ], log: "socat-2.log")
        let first = try start(
            [
                "socat", "UDP4-LISTEN:\(entry),bind=127.0.0.1,fork,\(buffer)",
                "OPENSSL-DTLS-CLIENT:127.0.0.1:\(middle),cafile=\(path)/socat.crt,verify=1,commonname=bench,\(buffer)",
            ], log: "socat-1.log")
        return ([first, second], Endpoint(address: .loopbackIPv4, port: entry))
    }

    private func makeSocatKey() throws {
        try runToEnd(
            [
                "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
                "2",
                "-subj", "/CN=bench", "-keyout", "\(path)/socat.key", "-out", "\(path)/socat.crt",
            ], log: "keys.log")
        try write(text("socat.key") + text("socat.crt"), to: "socat.pem")
    }

    // MARK: - culvert

    /// Starts a pair of daemons, the client's first, and returns where datagrams go in.
    func start(_ pair: DaemonPair, to sink: Endpoint) throws -> ([ChildProcess], Endpoint) {
        try makeCulvertKeys()
        let middle = try freePort()
        let entry = try freePort()
        let client = try startDaemon(
            "\(pair.name)-client", pair.program, credentials: "client",
            tunnels: pair.clientTunnels(listen: entry, forward: middle))
        let server = try startDaemon(
            "\(pair.name)-server", pair.program, credentials: "server",
            tunnels: pair.serverTunnels(listen: middle, forward: sink))
        return ([client, server], Endpoint(address: .loopbackIPv4, port: entry))
    }

    /// Starts a server that waits for many peers, and waits until it is ready.
    func startCrowdedCulvert() throws -> (ChildProcess, Endpoint) {
        try makeCulvertKeys()
        let port = try freePort()
        let pair = DaemonPair(name: "crowded", program: try culvertProgram(), sharing: "always")
        let tunnels = pair.serverTunnels(listen: port, forward: Endpoint(address: .loopbackIPv4, port: 9))
        let server = try startDaemon(
            "server", pair.program, credentials: "server",
            tunnels: tunnels + "max_associations = 1000000\nmax_handshakes = 4096\n")
        try waitUntilReady("server")
        return (server, Endpoint(address: .loopbackIPv4, port: port))
    }

    /// Starts a daemon that carries nothing, once there are keys, and waits until it is ready.
    func startBystander() throws -> ChildProcess {
        let pair = DaemonPair(name: "bystander", program: try culvertProgram())
        let daemon = try startDaemon(
            "bystander", pair.program, credentials: "client",
            tunnels: pair.clientTunnels(listen: try freePort(), forward: 9))
        try waitUntilReady("bystander")
        return daemon
    }

    /// Starts to ask the daemon of a role.
    func startRequests(to role: String, rate: Double) throws -> ChildProcess {
        let program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        try? FileManager.default.removeItem(atPath: "\(path)/requests.log")
        return try start(
            ["nice", "-n", "19", program, "requests", "--socket", controlSocket(of: role), "--rate", "\(rate)"],
            log: "requests.log")
    }

    /// Ends that; returns how many requests were answered, and how many were not.
    func endRequests(_ load: ChildProcess) throws -> (answered: Int, failed: Int) {
        load.signal(.terminate)
        return try wait(for: "the answer's count") {
            let numbers = self.text("requests.log").split(separator: " ").compactMap { Int($0) }
            return numbers.count == 2 ? (numbers[0], numbers[1]) : nil
        }
    }

    /// What a peer of the server shows and believes.
    func peerContext() throws -> HandshakeContext {
        let now = Int64(Date.now.timeIntervalSince1970)
        var options = HandshakeContext.Options()
        options.credential =
            Credential.load(
                certificate: "\(path)/client.crt", privateKey: "\(path)/client.key", now: now
            ).value
        options.trust = TrustAnchors.load(authorities: "\(path)/ca.crt", now: now).value
        options.heartbeatMode = .peerAllowedToSend
        options.applicationProtocol = "culvert/1"
        return try HandshakeContext(.client, options)
    }

    /// Where the daemon of this role is asked.
    func controlSocket(of role: String) -> String { "\(path)/\(role).sock" }

    private func makeCulvertKeys() throws {
        guard !hasKeys else { return }
        let program = try culvertProgram()
        try runToEnd([program, "keys", "ca", "--out", "\(path)/ca"], log: "keys.log")
        for role in ["client", "server"] {
            try runToEnd(
                [
                    program, "keys", "issue", "--ca", "\(path)/ca", "--name", "bench-\(role)", "--ip", "127.0.0.1",
                    "--out", "\(path)/\(role)",
                ], log: "keys.log")
        }
        hasKeys = true
    }

    private func waitUntilReady(_ role: String) throws {
        let control = ControlClient(path: controlSocket(of: role))
        try wait(for: "culvert") {
            do { return try control.whatIsMissing() == nil ? true : nil } catch { return nil }
        }
    }

    private func startDaemon(
        _ role: String, _ program: String, credentials: String, tunnels: String
    ) throws -> ChildProcess {
        try write(config(role, credentials: credentials) + tunnels, to: "\(role).toml")
        return try start([program, "run", "--config", "\(path)/\(role).toml"], log: "\(role).log")
    }

    /// The daemon's program of a contender that is a pair of daemons.
    func program(of kind: ContenderKind) throws -> String {
        guard kind == .baseline else { return try culvertProgram() }
        guard let baseline else { throw BenchError("no baseline is named") }
        return baseline
    }

    /// The daemon's program.
    func culvertProgram() throws -> String {
        if let culvert { return culvert }
        let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let program = own.dropLast("culvert-bench".count) + "culvert"
        guard FileManager.default.isExecutableFile(atPath: String(program)) else {
            throw BenchError("there is no \(program); name it with --culvert")
        }
        return String(program)
    }

    private func config(_ role: String, credentials: String) -> String {
        """
        [daemon]
        control_socket = "\(controlSocket(of: role))"

        [identity.default]
        certificate = "\(path)/\(credentials).crt"
        private_key = "\(path)/\(credentials).key"

        [trust.default]
        ca = "\(path)/ca.crt"


        """
    }

    // MARK: - Tools

    private var isRoot: Bool {
        ((try? FileManager.default.attributesOfItem(atPath: "/proc/self"))?[.ownerAccountID] as? Int) == 0
    }

    private func text(_ name: String) -> String {
        (try? String(contentsOfFile: "\(path)/\(name)", encoding: .utf8)) ?? ""
    }

    private func write(_ text: String, to name: String) throws {
        guard
            FileManager.default.createFile(
                atPath: "\(path)/\(name)", contents: Data(text.utf8), attributes: [.posixPermissions: 0o600])
        else { throw BenchError("cannot write \(path)/\(name)") }
    }

    private func start(_ arguments: [String], log: String) throws -> ChildProcess {
        try ChildProcess(arguments, output: "\(path)/\(log)")
    }

    /// Runs a program until it has ended, and throws where it has failed.
    func runToEnd(_ arguments: [String], log: String) throws {
        let process = try start(arguments, log: log)
        let status = try wait(for: arguments[0]) { process.isRunning ? nil : process.status }
        guard status == 0 else {
            throw BenchError("\(arguments.prefix(3).joined(separator: " ")) failed: \(text(log))")
        }
    }

    @discardableResult
    private func wait<Value>(for what: String, _ attempt: () -> Value?) throws -> Value {
        let poller = try Poller()
        let end = MonotonicClock.now + 10_000_000_000
        while MonotonicClock.now < end {
            if let value = attempt() { return value }
            try poller.wait(nanoseconds: 5_000_000) { _ in }
        }
        throw BenchError("\(what) was not ready within 10 s")
    }

    private func freePort() throws -> UInt16 {
        try UDPSocket.bound(to: Endpoint(address: .loopbackIPv4, port: 0)).localEndpoint.port
    }
}
