// The running daemon's control API.

import Testing
import TestSupport

struct ControlAPITests {
    @Test(.enabled(if: Schemathesis.isInstalled, "needs schemathesis and socat, see scripts/dependencies"))
    func `the running daemon answers every request as it is described`() async throws {
        let pair = try await Pair()
        try await pair.converse(try pair.sender(), pattern(100))
        // Draining would end the daemon that is being asked.
        let report = try await Schemathesis.check(
            pair.client.control.path, excluded: ["/v1/drain"], examples: 15)
        #expect(report.status == 0, "\(report.said)")
        #expect(pair.client.control.isReady)
        try await pair.converse(try pair.sender(), pattern(100))
    }
}
