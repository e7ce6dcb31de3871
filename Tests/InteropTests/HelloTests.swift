// First messages that are not as usual: in several fragments, very long, or none at all.

import TestSupport
import Testing
import Wire

@Suite(.needs([.openssl, .gnutls]), .inTurns) struct HelloTests {
    /// Protocol names for ALPN of about `bytes` bytes in all.
    private static func protocols(_ bytes: Int) -> String {
        (0..<bytes / 50).map { "\($0)-" + String(repeating: "x", count: 48 - "\($0)-".count) }.joined(separator: ",")
    }

    @Test(arguments: [true, false])
    func `s_client's hello comes in fragments`(usesCookies: Bool) async throws {
        let scene = try await ServerScene(.ecdsa, "cookie_exchange = \(usesCookies)")
        let client = try Tool.openssl.client(
            .ecdsa, port: scene.port, keys: scene.keys, extra: ["-mtu", "300", "-alpn", Self.protocols(600)])
        try await scene.converse(client)
    }

    @Test(arguments: [true, false])
    func `gnutls-cli's hello comes in fragments`(usesCookies: Bool) async throws {
        let scene = try await ServerScene(.ecdsa, "cookie_exchange = \(usesCookies)")
        let client = try Tool.gnutls.client(
            .ecdsa, port: scene.port, keys: scene.keys,
            extra: ["--mtu", "260"] + (0..<6).map { "--alpn=\($0)-\(String(repeating: "y", count: 28))" })
        try await scene.converse(client)
    }

    @Test func `a hello of many kilobytes ends well or is refused, and the next client is served`() async throws {
        let scene = try await ServerScene()
        for bytes in [4000, 16_000, 60_000] {
            let client = try Tool.openssl.client(
                .ecdsa, port: scene.port, keys: scene.keys, extra: ["-alpn", Self.protocols(bytes)])
            let outcome = try await eventually(
                "an outcome for a hello of \(bytes) bytes: \(client); \(scene.daemon.log)"
            ) {
                if client.said.contains("Verify return code: 0") { return "established" }
                return client.said.contains("TIMEOUT occurred") || !client.isRunning ? "refused" : nil
            }
            #expect(bytes > 4000 || outcome == "established", "\(client)")
        }
        let good = try Tool.openssl.client(.ecdsa, port: scene.port, keys: scene.keys)
        try await scene.converse(good)
    }

    @Test func `what is no hello is dropped and nobody is hurt`() async throws {
        let scene = try await ServerScene()
        let client = try Tool.openssl.client(.ecdsa, port: scene.port, keys: scene.keys)
        try await scene.converse(client)
        let stranger = try UDPEndpoint()
        let server = Endpoint(address: .loopbackIPv4, port: scene.port)
        for datagram in Self.garbage { stranger.send(datagram, to: server) }
        try await scene.converse(client, rounds: 4...6)
        let association = try #require(try scene.daemon.associations().first)
        #expect(try scene.daemon.associations().count == 1 && association.authFailures == 0)
        // At most a HelloVerifyRequest comes back, never more than was sent.
        while let (answer, _) = stranger.receive() { #expect(answer.count <= 100) }
    }

    /// Datagrams that begin like a ClientHello and go wrong after that, and some that do not even begin.
    private static let garbage: [[UInt8]] = {
        func record(_ type: UInt8, _ body: [UInt8], length: Int? = nil) -> [UInt8] {
            let length = length ?? body.count
            return [type, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, UInt8(length >> 8 & 255), UInt8(length & 255)] + body
        }
        func hello(claiming length: UInt32, fragment: UInt32, _ body: [UInt8]) -> [UInt8] {
            func bytes(_ value: UInt32) -> [UInt8] {
                [UInt8(value >> 16 & 255), UInt8(value >> 8 & 255), UInt8(value & 255)]
            }
            return record(22, [1] + bytes(length) + [0, 0] + bytes(0) + bytes(fragment) + body)
        }
        let head: [UInt8] = [0xfe, 0xfd] + [UInt8](repeating: 7, count: 32)
        return [
            [], [22], record(22, []), record(22, [1], length: 9000), record(23, [1, 2, 3]), record(24, [1, 0, 9]),
            record(255, [0]), record(20, [1]), record(21, [2, 40]),
            hello(claiming: 0xff_ffff, fragment: UInt32(head.count), head),
            hello(claiming: UInt32(head.count), fragment: 0xff_ffff, head),
            hello(claiming: 40, fragment: 40, head + [255, 255, 255, 255, 255, 255]),
            hello(claiming: 0xff_ffff, fragment: 40, head + [0, 32, 1, 2, 3, 4]),
            hello(claiming: 1400, fragment: 1400, head + [0, 0, 255, 255] + [UInt8](repeating: 9, count: 1362)),
        ] + (0..<50).map { length in (0..<length * 20).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ length) } }
    }()
}
