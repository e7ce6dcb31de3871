// The last flight of a handshake is lost: whoever sent it has its keys already and must send it again when the other end
// asks. RFC 6347 §4.2.4.

import Synchronization
import TestSupport
import Testing
import Wire

/// Loses the server's ChangeCipherSpec and Finished a number of times, whatever datagrams they come in.
private final class FinalFlightLoss: Sendable {
    private let state: Mutex<(left: Int, lost: Int, isOver: Bool)>

    init(times: Int) { state = Mutex((times, 0, false)) }

    /// How many datagrams it has lost.
    var lost: Int { state.withLock { $0.lost } }

    func passes(_ direction: UDPRelay.Direction, _ datagram: [UInt8]) -> Bool {
        guard direction == .toClient else { return true }
        let records = Self.records(of: datagram)
        let hasChange = records.contains { $0.type == .changeCipherSpec }
        let hasFinished = records.contains { $0.type == .handshake && $0.number.epoch == 1 }
        guard hasChange || hasFinished else { return true }
        return state.withLock { state in
            // A new attempt begins with the ChangeCipherSpec; the Finished may come in a datagram of its own.
            if hasChange {
                if state.left == 0 { state.isOver = true }
                state.left -= 1
            }
            if !state.isOver { state.lost += 1 }
            return state.isOver
        }
    }

    private static func records(of datagram: [UInt8]) -> [RecordHeader] {
        var records: [RecordHeader] = []
        var offset = 0
        while let header = RecordHeader(datagram.span.bytes, at: offset) {
            records.append(header)
            offset += RecordHeader.size + header.length
        }
        return records
    }
}

@Suite(.needs(Tool.allCases), .inTurns) struct FinalFlightTests {
    /// socat's client cannot take part: without DTLS's timer it never asks again.
    @Test(arguments: [Tool.openssl, .gnutls], [1, 2])
    func `a server whose final flight is lost sends it again`(_ tool: Tool, times: Int) async throws {
        let scene = try await ServerScene()
        let loss = FinalFlightLoss(times: times)
        let relay = try UDPRelay(to: Endpoint(address: .loopbackIPv4, port: scene.port), passes: loss.passes)
        let client = try tool.client(.ecdsa, port: relay.port, keys: scene.keys)
        try await scene.converse(client)
        #expect(loss.lost >= times)
        #expect(try scene.daemon.associations().map(\.state) == ["established"])
        #expect(!scene.daemon.log.contains("failed"), "\(scene.daemon.log)")
    }

    @Test(arguments: Tool.allCases, [1, 2])
    func `a client whose server's final flight is lost has it sent again`(_ tool: Tool, times: Int) async throws {
        let keys = try await TestKeys.shared()
        let port = try FreePorts.next()
        let server = try await tool.server(.ecdsa, port: port, keys: keys)
        let loss = FinalFlightLoss(times: times)
        let relay = try UDPRelay(to: Endpoint(address: .loopbackIPv4, port: port), passes: loss.passes)
        let scene = try await ClientScene(to: relay.port)
        try await scene.converse(server, tool)
        #expect(loss.lost >= times)
        #expect(try scene.daemon.associations().map(\.state) == ["established"])
        #expect(!scene.daemon.log.contains("failed"), "\(scene.daemon.log)")
    }
}
