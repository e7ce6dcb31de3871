// What the two ends of a group have in common for the worker that runs them.

import Configuration
import DTLS
import LinuxIO
import OpenSSL
import Tunnel
import Wire

/// A group's core with its sockets. The conforming types are wrappers, because the runtime of Swift 6.3 does not find a
/// conformance that holds only for a type that cannot be copied.
protocol RunnableGroup: ~Copyable {
    /// One of its sockets, if it is still there.
    func socket(_ socket: GroupSocket) -> UDPSocket?
    /// The owners of datagrams whose socket was already closed, since the last call.
    mutating func takeStrays() -> [PlaceID]
    /// Lets all sockets go.
    mutating func closeSockets()
    /// When ``handleTimeout(now:)`` has to be called next.
    var deadline: Instant? { get }

    /// Takes a datagram that came to one of the group's sockets.
    mutating func take(
        _ datagram: inout MutableRawSpan, at socket: GroupSocket, from source: Endpoint, to destination: IPAddress,
        now: Instant)
    /// Counts datagrams that came cut short to one of the group's sockets.
    mutating func countTruncated(_ count: Int, at socket: GroupSocket)
    /// Notes whether more datagrams wait at a socket than were read in one go.
    mutating func setPressure(_ isPressed: Bool, at socket: GroupSocket)
    /// Takes the report of ICMP about the path of a datagram that one of the group's sockets sent.
    mutating func take(_ error: UDPSocket.PathError, packetSize: Int, at socket: GroupSocket, now: Instant)
    /// Takes the answer to a resolution.
    mutating func take(_ addresses: [Endpoint], ofMember member: Int, now: Instant)
    /// Counts datagrams that the system did not send.
    mutating func handleSendFailure(_ origin: DatagramOrigin, _ failure: SendFailure, count: Int, now: Instant)
    /// Does what is due.
    mutating func handleTimeout(now: Instant)
    /// Sends what has waited for the end of a batch.
    mutating func finishBatch(now: Instant)
    /// Says goodbye to every peer.
    mutating func close()

    /// Takes settings that have changed.
    mutating func update(_ plan: GroupPlan, now: Instant)
    /// Accepts nothing new from now on.
    mutating func drain()
    /// Ends an association; false if there is none with this serial.
    mutating func close(serial: UInt64, now: Instant) -> Bool
    /// Sends a heartbeat request.
    mutating func ping(serial: UInt64, ticket: UInt64, now: Instant) -> PingOutcome
    /// The outcomes of pings since the last call.
    mutating func takePingAnswers() -> [(ticket: UInt64, answer: PingAnswer)]
    /// Begins a handshake for new keys; nil at a server's end, which cannot.
    mutating func beginRekeying(serial: UInt64, now: Instant) -> RekeyOutcome?
    /// Everything to tell since the last call, in order.
    mutating func takeEvents() -> [TunnelNotice]

    /// What each tunnel has done in all, and what state it is in.
    func tallies() -> [MemberTally]
    /// A page of associations, and how many there are in all.
    func snapshots(_ page: SnapshotPage) -> (page: [AssociationSnapshot], total: Int)
    /// A page of flows, and how many there are in all.
    func flowSnapshots(_ page: SnapshotPage) -> (page: [FlowSnapshot], total: Int)
}

/// A client's end.
struct RunnableClient: RunnableGroup, ~Copyable {
    var group: ClientGroup<OpenSSLHandshake, GroupSockets>

    init(_ group: consuming ClientGroup<OpenSSLHandshake, GroupSockets>) { self.group = group }

    mutating func take(
        _ datagram: inout MutableRawSpan, at socket: GroupSocket, from source: Endpoint, to destination: IPAddress,
        now: Instant
    ) {
        switch socket {
        case .listener(let member):
            group.handleLocal(datagram.bytes, member: member, from: source, to: destination, now: now)
        case .own(let link): group.handleRemote(&datagram, link: link, now: now)
        }
    }

    mutating func countTruncated(_ count: Int, at socket: GroupSocket) {
        if case .listener(let member) = socket {
            group.countTruncated(count, member: member)
        } else {
            group.countTruncated(count, member: nil)
        }
    }

    mutating func setPressure(_ isPressed: Bool, at socket: GroupSocket) {
        if case .listener = socket { group.setPressure(isPressed) }
    }

    mutating func take(_ error: UDPSocket.PathError, packetSize: Int, at socket: GroupSocket, now: Instant) {
        if case .own(let link) = socket { group.handlePathHint(packetSize, link: link, now: now) }
    }

    mutating func take(_ addresses: [Endpoint], ofMember member: Int, now: Instant) {
        group.handleAddresses(addresses, now: now)
    }

    mutating func finishBatch(now: Instant) { group.finishBatch(now: now) }

    mutating func update(_ plan: GroupPlan, now: Instant) {
        group.update(plan.members, policy: plan.first.settings.reconnect, now: now)
    }

    mutating func close(serial: UInt64, now: Instant) -> Bool { group.close(serial: serial, now: now) }

    mutating func beginRekeying(serial: UInt64, now: Instant) -> RekeyOutcome? {
        group.rekey(serial: serial, now: now)
    }

    // MARK: The same at both ends

    func socket(_ socket: GroupSocket) -> UDPSocket? { group.output.socket(socket) }
    mutating func takeStrays() -> [PlaceID] { group.output.takeStrays() }
    mutating func closeSockets() { group.output.closeAll() }
    var deadline: Instant? { group.deadline }

    mutating func handleSendFailure(_ origin: DatagramOrigin, _ failure: SendFailure, count: Int, now: Instant) {
        group.handleSendFailure(origin, failure, count: count, now: now)
    }
    mutating func handleTimeout(now: Instant) { group.handleTimeout(now: now) }
    mutating func close() { group.close() }
    mutating func drain() { group.drain() }
    mutating func ping(serial: UInt64, ticket: UInt64, now: Instant) -> PingOutcome {
        group.ping(serial: serial, ticket: ticket, now: now)
    }
    mutating func takePingAnswers() -> [(ticket: UInt64, answer: PingAnswer)] { group.takePingAnswers() }
    mutating func takeEvents() -> [TunnelNotice] { group.takeEvents() }
    func tallies() -> [MemberTally] { group.tallies() }
    func snapshots(_ page: SnapshotPage) -> (page: [AssociationSnapshot], total: Int) { group.snapshots(page) }
    func flowSnapshots(_ page: SnapshotPage) -> (page: [FlowSnapshot], total: Int) { group.flowSnapshots(page) }
}

/// A server's end.
struct RunnableServer: RunnableGroup, ~Copyable {
    var group: ServerGroup<OpenSSLHandshake, CookieKey, GroupSockets>

    init(_ group: consuming ServerGroup<OpenSSLHandshake, CookieKey, GroupSockets>) { self.group = group }

    mutating func take(
        _ datagram: inout MutableRawSpan, at socket: GroupSocket, from source: Endpoint, to destination: IPAddress,
        now: Instant
    ) {
        switch socket {
        case .listener: group.handlePeer(&datagram, from: source, to: destination, now: now)
        case .own(let flow): group.handleTarget(datagram.bytes, flow: flow, now: now)
        }
    }

    mutating func countTruncated(_ count: Int, at socket: GroupSocket) {
        if case .listener = socket {
            group.countTruncated(count, fromPeer: true)
        } else {
            group.countTruncated(count, fromPeer: false)
        }
    }

    mutating func setPressure(_ isPressed: Bool, at socket: GroupSocket) {}

    mutating func take(_ error: UDPSocket.PathError, packetSize: Int, at socket: GroupSocket, now: Instant) {
        if case .listener = socket { group.handlePathHint(packetSize, peer: error.destination, now: now) }
    }

    mutating func take(_ addresses: [Endpoint], ofMember member: Int, now: Instant) {
        group.handleAddresses(addresses, member: member)
    }

    mutating func finishBatch(now: Instant) {}

    mutating func update(_ plan: GroupPlan, now: Instant) { group.update(plan.members, now: now) }

    mutating func close(serial: UInt64, now: Instant) -> Bool { group.close(serial: serial) }

    mutating func beginRekeying(serial: UInt64, now: Instant) -> RekeyOutcome? {
        group.has(serial: serial) ? nil : .notFound
    }

    // MARK: The same at both ends

    func socket(_ socket: GroupSocket) -> UDPSocket? { group.output.socket(socket) }
    mutating func takeStrays() -> [PlaceID] { group.output.takeStrays() }
    mutating func closeSockets() { group.output.closeAll() }
    var deadline: Instant? { group.deadline }

    mutating func handleSendFailure(_ origin: DatagramOrigin, _ failure: SendFailure, count: Int, now: Instant) {
        group.handleSendFailure(origin, failure, count: count, now: now)
    }
    mutating func handleTimeout(now: Instant) { group.handleTimeout(now: now) }
    mutating func close() { group.close() }
    mutating func drain() { group.drain() }
    mutating func ping(serial: UInt64, ticket: UInt64, now: Instant) -> PingOutcome {
        group.ping(serial: serial, ticket: ticket, now: now)
    }
    mutating func takePingAnswers() -> [(ticket: UInt64, answer: PingAnswer)] { group.takePingAnswers() }
    mutating func takeEvents() -> [TunnelNotice] { group.takeEvents() }
    func tallies() -> [MemberTally] { group.tallies() }
    func snapshots(_ page: SnapshotPage) -> (page: [AssociationSnapshot], total: Int) { group.snapshots(page) }
    func flowSnapshots(_ page: SnapshotPage) -> (page: [FlowSnapshot], total: Int) { group.flowSnapshots(page) }
}
