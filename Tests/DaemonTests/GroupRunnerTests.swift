// What a runner makes of what its group says, with a group that says what a test wants.

import Configuration
import DTLS
import LinuxIO
import OpenSSL
import Synchronization
import Testing
import TestSupport
import Wire

@testable import Daemon
@testable import Tunnel

/// A group without sockets: it is asked for pings, and has the associations and answers that it was given.
private struct SayingGroup: RunnableGroup, ~Copyable {
    var serials: [UInt64]
    var answers: [(ticket: UInt64, answer: PingAnswer)]

    mutating func ping(serial: UInt64, ticket: UInt64, now: Instant) -> PingOutcome { .sent }
    mutating func takePingAnswers() -> [(ticket: UInt64, answer: PingAnswer)] { answers }
    func snapshots(_ page: SnapshotPage) -> (page: [AssociationSnapshot], total: Int) {
        let snapshots = serials.filter { $0 > page.after }.prefix(page.limit).map { serial in
            var link = Link<OpenSSLHandshake>()
            link.serial = serial
            return AssociationSnapshot(link)
        }
        return (snapshots, serials.count)
    }

    var deadline: Instant? { nil }
    func socket(_ socket: GroupSocket) -> UDPSocket? { nil }
    mutating func takeStrays() -> [PlaceID] { [] }
    mutating func closeSockets() {}
    mutating func take(
        _ datagram: inout MutableRawSpan, at socket: GroupSocket, from source: Endpoint, to destination: IPAddress,
        now: Instant
    ) {}
    mutating func countTruncated(_ count: Int, at socket: GroupSocket) {}
    mutating func setPressure(_ isPressed: Bool, at socket: GroupSocket) {}
    mutating func take(_ error: UDPSocket.PathError, packetSize: Int, at socket: GroupSocket, now: Instant) {}
    mutating func take(_ addresses: [Endpoint], ofMember member: Int, now: Instant) {}
    mutating func handleSendFailure(_ origin: DatagramOrigin, _ failure: SendFailure, count: Int, now: Instant) {}
    mutating func handleTimeout(now: Instant) {}
    mutating func finishBatch(now: Instant) {}
    mutating func close() {}
    mutating func update(_ plan: GroupPlan, now: Instant) {}
    mutating func drain() {}
    mutating func close(serial: UInt64, now: Instant) -> Bool { false }
    mutating func beginRekeying(serial: UInt64, now: Instant) -> RekeyOutcome? { nil }
    mutating func takeEvents() -> [TunnelNotice] { [] }
    func tallies() -> [MemberTally] { [] }
    func flowSnapshots(_ page: SnapshotPage) -> (page: [FlowSnapshot], total: Int) { ([], 0) }
}

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
        let group = SayingGroup(serials: isThere ? [3, 5] : [5], answers: [(1, .roundTrip(.milliseconds(7)))])
        let runner = GroupRunner(
            plan, group, source: HandshakeSource(plan.context), log: GroupLog(plan, group: 0, worker: 0, log))
        let told = Mutex("")
        runner.act(.ping, serial: 3, now: Instant(nanoseconds: 0)) { outcome in
            told.withLock { told in
                switch outcome {
                case .answered(_, let snapshot): told = "answered by \(snapshot.serial)"
                case .refused(let reason): told = reason
                default: told = "\(outcome)"
                }
            }
        }
        runner.tell()
        #expect(told.withLock { $0 } == (isThere ? "answered by 3" : "the association has ended"))
    }
}
