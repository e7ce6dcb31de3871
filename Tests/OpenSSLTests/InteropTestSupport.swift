// One end of a handshake on a UDP socket on loopback, against a program of somebody else's.

import DTLS
import Foundation
import Glibc
import Testing
import Wire

@testable import OpenSSL

/// A UDP socket on loopback.
final class LoopbackSocket {
    let port: UInt16
    private let descriptor: CInt
    private var peer = sockaddr_in()

    init(to remotePort: UInt16? = nil) throws {
        let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        self.descriptor = descriptor
        try #require(descriptor >= 0)
        var local = Self.address(0)
        let size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = unsafe withUnsafePointer(to: &local) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe bind(descriptor, $0, size) }
        }
        try #require(isBound == 0)
        var length = size
        let isNamed = unsafe withUnsafeMutablePointer(to: &local) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe getsockname(descriptor, $0, &length) }
        }
        try #require(isNamed == 0)
        port = UInt16(bigEndian: local.sin_port)
        if let remotePort { peer = Self.address(remotePort) }
    }

    deinit { close(descriptor) }

    /// A port that was free a moment ago.
    static func freePort() throws -> UInt16 { try LoopbackSocket().port }

    func send(_ datagram: [UInt8]) {
        var peer = peer
        let size = socklen_t(MemoryLayout<sockaddr_in>.size)
        _ = unsafe withUnsafePointer(to: &peer) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe sendto(descriptor, datagram, datagram.count, 0, $0, size)
            }
        }
    }

    /// The next datagram; whoever sent it is answered from now on.
    func receive(milliseconds: Int32) -> [UInt8]? {
        var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard unsafe poll(&waiting, 1, milliseconds) > 0 else { return nil }
        var buffer = [UInt8](repeating: 0, count: 20_000)
        var source = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let count = unsafe withUnsafeMutablePointer(to: &source) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe recvfrom(descriptor, &buffer, buffer.count, 0, $0, &length)
            }
        }
        guard count >= 0 else { return nil }
        peer = source
        return Array(buffer.prefix(count))
    }

    private static func address(_ port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        return address
    }
}

/// A program that runs beside the test, fed by hand, and is ended with the object. Foundation's Process would wait
/// for ever where several are started at the same time.
final class PeerProgram {
    private let scratch: Scratch
    private let input: CInt
    private let id: pid_t

    init(_ arguments: [String]) throws {
        scratch = try Scratch()
        var ends: [CInt] = [-1, -1]
        try #require(
            unsafe socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends) == 0)
        defer { close(ends[1]) }
        input = ends[0]
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        unsafe posix_spawn_file_actions_adddup2(&actions, ends[1], 0)
        unsafe posix_spawn_file_actions_addopen(&actions, 1, scratch("output"), O_WRONLY | O_CREAT | O_APPEND, 0o600)
        unsafe posix_spawn_file_actions_adddup2(&actions, 1, 2)
        let strings = unsafe arguments.map { unsafe strdup($0) } + [nil]
        defer { unsafe strings.forEach { unsafe free($0) } }
        var started = pid_t()
        let result = unsafe posix_spawnp(&started, arguments[0], &actions, nil, strings, environ)
        id = started
        try #require(result == 0, "\(arguments[0]) could not be started")
    }

    deinit {
        close(input)
        // Zero, where it could not be started, would stand for this process and its relatives.
        guard id > 0 else { return }
        kill(id, SIGKILL)
        var status: CInt = 0
        unsafe waitpid(id, &status, 0)
    }

    /// Everything it has said so far.
    var said: String {
        // Foundation's reading leaks memory where the file is still empty.
        let file = unsafe open(scratch("output"), O_RDONLY)
        defer { close(file) }
        var text: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = unsafe read(file, &chunk, chunk.count)
            guard count > 0 else { return String(decoding: text, as: UTF8.self) }
            text += chunk.prefix(count)
        }
    }

    func write(_ line: String) {
        let bytes = Array(line.utf8)
        _ = unsafe Glibc.send(input, bytes, bytes.count, Int32(MSG_NOSIGNAL))
    }

    /// Whether it says something within some hundredths of a second.
    func says(_ words: String, within hundredths: Int) -> Bool {
        for _ in 0..<hundredths where !said.contains(words) { usleep(10_000) }
        return said.contains(words)
    }

    /// Waits for it to say something.
    func expect(_ words: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
        try #require(says(words, within: 1000), "\(said)", sourceLocation: sourceLocation)
    }
}

/// A handshake and what comes after it, over a socket.
final class NetworkEnd {
    let socket: LoopbackSocket
    private(set) var end: TestEnd?
    private let makeServer: (() throws -> OpenSSLHandshake)?
    private let usesCookies: Bool

    /// A client.
    init(
        _ options: HandshakeContext.Options, name: String = "server.example.net", to port: UInt16,
        datagramSize: Int = 1452
    )
        throws
    {
        socket = try LoopbackSocket(to: port)
        let context = try HandshakeContext(.client, options)
        end = TestEnd(
            try OpenSSLHandshake(client: context, verifying: PeerName(name), datagramSize: datagramSize))
        makeServer = nil
        usesCookies = false
    }

    /// A server for one client.
    init(server options: HandshakeContext.Options, usesCookies: Bool, datagramSize: Int = 1452) throws {
        socket = try LoopbackSocket()
        let context = try HandshakeContext(.server, options)
        makeServer = {
            try OpenSSLHandshake(server: context, cookieVerified: usesCookies, datagramSize: datagramSize)
        }
        self.usesCookies = usesCookies
    }

    /// Runs until `isDone`, at most ten seconds; a `program` that is the other end is quoted if it does not come to it.
    func run(
        until what: Comment, with program: PeerProgram, sourceLocation: SourceLocation = #_sourceLocation,
        _ isDone: (TestEnd) -> Bool
    ) throws {
        if let end, end.result == nil { end.start() }
        let clock = ContinuousClock()
        let deadline = clock.now + .seconds(10)
        while clock.now < deadline {
            while let datagram = end?.engine.pollTransmit() { socket.send(datagram) }
            if let end, isDone(end) { return }
            if let datagram = socket.receive(milliseconds: 20) {
                try accept(datagram)
            } else if let end, end.engine.flightTimer == .due(in: .zero) {
                end.timeOut()
            }
        }
        let failure = end?.failure.map(String.init(describing:)) ?? "no failure"
        Issue.record("\(what) did not happen: \(failure); \(program.said)", sourceLocation: sourceLocation)
        throw CancellationError()
    }

    func send(_ text: String) {
        guard let end else { return }
        socket.send(end.seal(Array(text.utf8)))
    }

    private func accept(_ datagram: [UInt8]) throws {
        if let end { return end.receive(datagram) }
        guard let makeServer, let hello = try? ClientHello(datagram.bytes) else { return }
        guard hello.messageSequence == 1 || !usesCookies else {
            return socket.send(try helloVerifyRequest(answering: datagram))
        }
        let server = TestEnd(try makeServer())
        end = server
        server.receive(datagram)
    }
}

/// Whether GnuTLS's programs are there.
let hasGnuTLS = ["gnutls-cli", "gnutls-serv"].allSatisfy { program in
    let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin"
    return path.split(separator: ":").contains { unsafe access("\($0)/\(program)", X_OK) == 0 }
}
