// Bytes that no client would send: random ones, and requests that were damaged. Whatever comes, the server answers the next
// client.

import Foundation
import Testing

@testable import Control

@Suite(.timeLimit(.minutes(3)))
struct HostileBytesTests {
    let scratch: Scratch

    init() throws { scratch = try Scratch() }

    private static let requests = [
        "GET /v1/associations?limit=2&after=1-1 HTTP/1.1\r\nHost: culvert\r\n\r\n",
        "POST /v1/log-level HTTP/1.1\r\nHost: culvert\r\nContent-Type: application/json\r\n"
            + "Content-Length: 35\r\n\r\n{\"level\":\"debug\",\"tunnel\":\"syslog\"}",
        "POST /v1/associations/1%2D1/close HTTP/1.1\r\nHost: culvert\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HEAD /v1/metrics?associations=1 HTTP/1.0\r\n\r\n",
        "GET /v1/events?after=0 HTTP/1.1\r\nHost: culvert\r\n\r\n",
    ]

    /// Xorshift, so that a failure can be repeated by its number.
    private struct Random: RandomNumberGenerator {
        var state: UInt64
        init(_ number: Int) { state = UInt64(number) &* 0x9E37_79B9_7F4A_7C15 | 1 }
        mutating func next() -> UInt64 {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return state
        }
    }

    private static func bytes(_ number: Int) -> [UInt8] {
        var random = Random(number)
        guard number.isMultiple(of: 4) == false else {
            return (0..<Int.random(in: 1...2_000, using: &random)).map { _ in .random(in: .min ... .max, using: &random)
            }
        }
        var bytes = Array(requests[number % requests.count].utf8)
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            let place = Int.random(in: 0..<bytes.count, using: &random)
            switch Int.random(in: 0..<4, using: &random) {
            case 0: bytes[place] = .random(in: .min ... .max, using: &random)
            case 1: bytes.insert(.random(in: .min ... .max, using: &random), at: place)
            case 2 where bytes.count > 1: bytes.remove(at: place)
            default: bytes.insert(contentsOf: bytes[place...].prefix(20), at: place)
            }
        }
        return bytes
    }

    @Test func `the server lives through 1,000 of them and answers in HTTP or not at all`() async throws {
        var limits = ControlLimits.patient
        limits.request = .milliseconds(200)
        let server = try ControlServer.start(path: scratch.socket, source: FakeSource(), limits: limits)
        defer { server.stop() }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for start in 0..<20 {
                group.addTask {
                    for number in stride(from: start, to: 1_000, by: 20) {
                        let client = try await RawClient(server.address, limit: .milliseconds(400))
                        await client.send(Self.bytes(number))
                        await client.closeOutput()
                        // Nil is a stream of events, which has no end.
                        guard let answer = try await client.answer() else { continue }
                        #expect(answer.isEmpty || answer.hasPrefix("HTTP/1."), "number \(number): \(answer.prefix(80))")
                        #expect(!answer.hasPrefix("HTTP/1.1 5"), "number \(number): \(answer.prefix(300))")
                    }
                }
            }
            try await group.waitForAll()
        }
        let status = try await blocking {
            try ControlClient(path: server.address, timeout: .seconds(60)).get("/healthz").status
        }
        #expect(status == 200)
    }
}
