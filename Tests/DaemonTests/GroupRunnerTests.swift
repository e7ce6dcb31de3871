// What a runner makes of what its group says.

import Configuration
import DTLS
import LinuxIO
import OpenSSL
import Settings
import Synchronization
import Testing
import TestSupport
import Wire

@testable import Daemon
@testable import Tunnel

@Suite struct GroupRunnerTests {
    private static let configuration = """
        [trust.default]
        ca = "ca.crt"
        [[tunnel]]
        name = "a"
        listen = "udp://127.0.0.1:5514"
        forward = "dtls://192.0.2.1:6514"
        """

    @Test(arguments: [true, false])
    func `a ping's answer is told with its own association, or that this has ended`(isThere: Bool) throws {
        let (log, _) = try LogFile.make(.text)
        let (_, plans) = try Configuration.planned(Self.configuration)
        let plan = try #require(plans.first)
        let sockets = try GroupSockets(
            number: 0, listeners: [], poller: Poller(), batch: SendBatch(), fragmentation: .allowed
        ) { _ in }
        var group = ClientGroup<OpenSSLHandshake, GroupSockets>(
            plan.members, policy: ReconnectPolicy(), output: sockets, seed: 1
        ) { _ in nil }
        let now = Instant(nanoseconds: 0)
        let links = (0..<2).map { _ in group.addLink(in: .common, use: .common, now: now) }
        group.pings.add(1, at: group.links.id(links[0]))
        group.pings.answer(group.links.id(links[0]), .roundTrip(.milliseconds(7)))
        if !isThere { group.links.remove(links[0]) }
        let runner = GroupRunner<ClientSide>(
            plan, group, source: HandshakeSource(plan.context), log: GroupLog(plan, group: 0, worker: 0, log),
            post: Post(question: {}, answer: { _, _, _ in }))
        let told = Mutex("")
        let give: @Sendable (ActOutcome) -> Void = { outcome in
            told.withLock { told in
                switch outcome {
                case .answered(_, let snapshot): told = "answered by \(snapshot.serial)"
                case .refused(let reason): told = reason
                default: told = "\(outcome)"
                }
            }
        }
        runner.askers[1] = (1, give)
        runner.tell()
        #expect(told.withLock { $0 } == (isThere ? "answered by 1" : "the association has ended"))
    }
}
