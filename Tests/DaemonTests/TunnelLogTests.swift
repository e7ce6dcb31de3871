import Control
import Foundation
import LinuxIO
import Testing
import Tunnel
import Wire

@testable import DTLS
@testable import Daemon

@Suite struct `A tunnel's log` {
    private static let peer = Endpoint(address: IPAddress(ipv4: 0xC000_0201), port: 6514)
    private static let sender = Endpoint(address: IPAddress(ipv4: 0x7F00_0001), port: 40_000)
    private static let identity = PeerIdentity(commonName: "edge-7")
    private static let description = AssociationDescription(
        peer: identity, cipherSuite: "ECDHE-ECDSA-AES256-GCM-SHA384", isResumed: false,
        handshakeDuration: .milliseconds(12), peerHeartbeatMode: nil)

    /// Every event that a core has, and what is told of it.
    private static let told: [(TunnelEvent, EventKind, LogLevel, String, [String: String])] = [
        (
            .established(peer: peer, sender: sender, description), .established, .info,
            "association with 192.0.2.1:6514 established for 127.0.0.1:40000: \(identity), ECDHE-ECDSA-AES256-GCM-SHA384, 12 ms",
            [
                "peer": "192.0.2.1:6514", "sender": "127.0.0.1:40000", "identity": "\(identity)",
                "cipher": "ECDHE-ECDSA-AES256-GCM-SHA384", "handshake_ms": "12",
            ]
        ),
        (
            .handshakeFailed(
                peer: peer, HandshakeFailure(.timeout, detail: "no answer"), retryIn: .milliseconds(2600)),
            .handshakeFailed, .warning,
            "handshake with 192.0.2.1:6514 failed: no answer; next attempt in 3 s",
            ["peer": "192.0.2.1:6514", "reason": "no answer"]
        ),
        (
            .handshakeFailed(
                peer: peer, HandshakeFailure(.preSharedKey, .otherPreSharedKey, detail: "wrong key"), retryIn: nil),
            .handshakeFailed, .warning,
            "handshake with 192.0.2.1:6514 failed: wrong key; give both ends the same key",
            ["peer": "192.0.2.1:6514", "reason": "wrong key; give both ends the same key"]
        ),
        (
            .refused(peer: peer, identity, by: .source), .refused, .warning,
            "refused 192.0.2.1:6514 (\(identity)): 192.0.2.1 is not in allow_from; add it there if it should be let in",
            ["peer": "192.0.2.1:6514", "identity": "\(identity)"]
        ),
        (
            .refused(peer: peer, identity, by: .identity), .refused, .warning,
            "refused 192.0.2.1:6514: \(identity) is not in allow_peers; add it there if it should be let in",
            ["peer": "192.0.2.1:6514", "identity": "\(identity)"]
        ),
        (
            .ended(peer: peer, identity, .closedByPeer, retryIn: nil), .ended, .info,
            "association with 192.0.2.1:6514 (\(identity)) ended: the peer closed it",
            ["peer": "192.0.2.1:6514", "identity": "\(identity)", "reason": "the peer closed it"]
        ),
        (
            .ended(peer: peer, nil, .unanswered, retryIn: nil), .ended, .info,
            "association with 192.0.2.1:6514 ended: the peer is gone: it answers no heartbeats",
            ["peer": "192.0.2.1:6514", "reason": "the peer is gone: it answers no heartbeats"]
        ),
        (
            .unresolved("collector.example.net", retryIn: .milliseconds(500)), .unresolved, .warning,
            "no address for collector.example.net; next attempt in 500 ms", ["host": "collector.example.net"]
        ),
        (
            .oversize(from: sender, byteCount: 1500, .fragmented(limit: 1400)), .oversize, .warning,
            "fragmented a datagram of 1500 bytes from 127.0.0.1:40000: one packet of the path carries 1400; make the application send at most that",
            ["sender": "127.0.0.1:40000", "datagram": "1500", "max_datagram": "1400", "fate": "fragmented"]
        ),
        (
            .oversize(from: sender, byteCount: 20_000, .dropped(limit: 16_384)), .oversize, .warning,
            "dropped a datagram of 20000 bytes from 127.0.0.1:40000: a DTLS record carries at most 16384; make the application send at most that",
            ["sender": "127.0.0.1:40000", "datagram": "20000", "max_datagram": "16384", "fate": "dropped"]
        ),
        (
            .pathMTUChanged(
                peer: peer, PathMTU(current: 1400, state: .complete, probes: 9), from: 1500, maximumDatagram: 1300),
            .pathMTU, .info,
            "path MTU to 192.0.2.1:6514 changed from 1500 to 1400 (complete): datagrams of up to 1300 bytes go in one packet",
            ["peer": "192.0.2.1:6514", "path_mtu": "1400", "max_datagram": "1300"]
        ),
        (
            .pathMTUChanged(
                peer: peer, PathMTU(current: 1280, state: .base, probes: 1), from: nil, maximumDatagram: 1200),
            .pathMTU, .debug,
            "path MTU to 192.0.2.1:6514 is 1280 (base): datagrams of up to 1200 bytes go in one packet",
            ["peer": "192.0.2.1:6514", "path_mtu": "1280", "max_datagram": "1200"]
        ),
        (
            .expired(sender), .expired, .debug, "flow of 127.0.0.1:40000 expired", ["sender": "127.0.0.1:40000"]
        ),
        (
            .limit(.flows, evicted: sender), .limit, .warning,
            "max_associations is reached: 127.0.0.1:40000, idle for the longest, gave way; raise it if this load is expected",
            ["limit": "max_associations"]
        ),
        (
            .limit(.handshakes, evicted: nil), .limit, .warning,
            "max_handshakes is reached: none is idle, so a new one was refused; raise it if this load is expected",
            ["limit": "max_handshakes"]
        ),
        (
            .noSocket(peer), .noSocket, .error,
            "cannot open a socket to 192.0.2.1:6514: out of file descriptors, or no route to it",
            ["peer": "192.0.2.1:6514"]
        ),
    ]

    private func make() throws -> (TunnelLog, Followed) {
        let (log, _) = try LogFile.make(.text, .trace)
        return (
            TunnelLog(log.of(tunnel: "t"), forward: "dtls://x", isBoundByAssociations: true), Followed(log.events)
        )
    }

    @Test(arguments: told.indices)
    func `every event has its kind, level, sentence and fields`(_ index: Int) throws {
        let (event, kind, level, message, fields) = Self.told[index]
        let (log, followed) = try make()
        log.tell(event)
        let told = try #require(followed.events.first)
        #expect(told.type == kind && told.level == level.rawValue && told.tunnels == ["t"])
        #expect(told.message == message)
        var rest = told.fields
        rest["peer"] = told.peerAddress
        rest["identity"] = told.peerIdentity
        rest["reason"] = told.reason
        #expect(rest == fields)
    }

    @Test func `what the system says is told, too`() throws {
        let (log, followed) = try make()
        log.refused(by: Self.peer)
        log.refused(by: nil)
        log.resolved(.success([Self.peer]))
        log.resolved(
            .failure(try #require(throws: ResolutionError.self) { try NameResolver.addresses(of: "", port: 1) }))
        #expect(followed.events.map(\.type) == [.unreachable, .log, .unresolved])
    }

    @Test func `a peer that tries over and over is told once`() throws {
        let (log, followed) = try make()
        for port in 1...500 {
            let peer = Endpoint(address: Self.peer.address, port: UInt16(port))
            let events: [TunnelEvent] = [
                .handshakeFailed(peer: peer, HandshakeFailure(.certificate, detail: "expired"), retryIn: nil),
                .refused(peer: peer, Self.identity, by: .identity),
                .refused(peer: peer, Self.identity, by: .source),
                .established(peer: Self.peer, sender: Self.sender, Self.description),
                .ended(peer: Self.peer, Self.identity, .closedByPeer, retryIn: nil), .limit(.flows, evicted: nil),
                .noSocket(peer), .unresolved("x", retryIn: .seconds(port)),
                .oversize(from: Self.sender, byteCount: port, .dropped(limit: 1)),
            ]
            for event in events { log.tell(event) }
            log.refused(by: Self.peer)
        }
        #expect(followed.events.count == 10, "\(followed.messages)")
    }

    @Test func `the manual names every event, every field and every reason of a drop`() throws {
        let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("docs/LOGGING.md").path
        let manual = try String(contentsOfFile: path, encoding: .utf8)
        let rows = Set(
            manual.split(separator: "\n").compactMap { line in
                line.firstMatch(of: /^\| `([a-z_]+)` \|/).map { String($0.output.1) }
            })
        for kind in ControlEvent.Kind.allCases { #expect(rows.contains(kind.rawValue), "\(kind)") }
        for reason in DropReason.allCases { #expect(rows.contains(reason.name), "\(reason)") }
        for field in Set(Self.told.flatMap { $0.4.keys }).union(["tunnel", "event", "repeated", "log_level"]) {
            #expect(rows.contains(field), "\(field)")
        }
    }
}
