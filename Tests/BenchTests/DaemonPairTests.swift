// The tunnels of a pair of daemons: one that is used, and others beside it that are in nobody's way.

import Testing
import Wire

@testable import culvert_bench

@Suite struct DaemonPairTests {
    @Test func `the last tunnel of a client is the one that is used`() {
        let pair = DaemonPair(name: "x", program: "", tunnels: 300)
        let listens = values("listen", pair.clientTunnels(listen: 5000, forward: 6000))
        #expect(listens.count == 300 && Set(listens).count == 300)
        #expect(listens.first == "udp://127.3.0.1:5000" && listens[298] == "udp://127.3.1.43:5000")
        #expect(listens.last == "udp://127.0.0.1:5000")
        let text = pair.clientTunnels(listen: 5000, forward: 6000)
        #expect(values("name", text).last == "bench" && Set(values("name", text)).count == 300)
        #expect(Set(values("forward", text)) == ["dtls://127.0.0.1:6000"])
    }

    @Test func `all services of a server have one listen address`() {
        let pair = DaemonPair(name: "x", program: "", sharing: "always", services: 3)
        let text = pair.serverTunnels(listen: 6000, forward: Endpoint(address: .loopbackIPv4, port: 7000))
        #expect(values("name", text) == ["idle-0", "idle-1", "bench"])
        #expect(Set(values("listen", text)) == ["dtls://127.0.0.1:6000"])
        #expect(Set(values("forward", text)) == ["udp://127.0.0.1:7000"])
        #expect(values("sharing", text) == ["always", "always", "always"])
    }

    @Test func `an end has one tunnel unless more are asked for`() {
        let pair = DaemonPair(name: "x", program: "")
        #expect(values("name", pair.clientTunnels(listen: 1, forward: 2)) == ["bench"])
        #expect(values("sharing", pair.clientTunnels(listen: 1, forward: 2)) == ["never"])
    }

    private func values(_ key: String, _ text: String) -> [String] {
        text.split(separator: "\n").filter { $0.hasPrefix("\(key) = ") }.map {
            String($0.dropFirst(key.count + 3).filter { $0 != "\"" })
        }
    }
}
