// One end of a handshake on a UDP socket on loopback, against a program of somebody else's.

import DTLS
import Foundation
import Glibc
import Synchronization
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

/// A program that runs beside the test and is ended with the object.
final class PeerProgram {
    private let process = Process()
    private let input = Pipe()
    private let output = Pipe()
    private let text = Text()

    private final class Text: Sendable {
        let value = Mutex("")
    }

    init(_ arguments: [String]) throws {
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = arguments
        process.standardInput = input
        process.standardOutput = output
        process.standardError = output
        let text = text
        output.fileHandleForReading.readabilityHandler = { handle in
            let data = handle.availableData
            if data.isEmpty { handle.readabilityHandler = nil }
            text.value.withLock { $0 += String(decoding: data, as: UTF8.self) }
        }
        try process.run()
    }

    deinit {
        output.fileHandleForReading.readabilityHandler = nil
        process.terminate()
        process.waitUntilExit()
    }

    /// Everything it has said so far.
    var said: String { text.value.withLock { $0 } }

    func write(_ line: String) { input.fileHandleForWriting.write(Data(line.utf8)) }

    /// Waits for it to say something.
    func expect(_ words: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
        for _ in 0..<1000 where !said.contains(words) { usleep(10_000) }
        try #require(said.contains(words), "\(said)", sourceLocation: sourceLocation)
    }
}

/// A handshake and what comes after it, over a socket.
final class NetworkEnd {
    let socket: LoopbackSocket
    private(set) var end: TestEnd?
    private let makeServer: (() throws -> OpenSSLHandshake)?
    private let usesCookies: Bool

    /// A client.
    init(_ options: HandshakeContext.Options, name: String = "server.example.net", to port: UInt16, datagramSize: Int = 1452)
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
            } else if let end, end.engine.retransmission == .zero {
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

let hasGnuTLS = (try? runProgram("gnutls-cli", ["--version"]))?.status == 0
