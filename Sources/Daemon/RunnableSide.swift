// What the two ends of a group do differently for the worker that runs them.

import Configuration
import DTLS
import LinuxIO
import OpenSSL
import Tunnel
import Wire

/// An association with its socket, on its way from one worker to another: nobody else has them meanwhile.
final class SpareParcel: @unchecked Sendable {
    let socket: UDPSocket
    private var association: SpareAssociation<OpenSSLHandshake>?

    init(_ association: consuming SpareAssociation<OpenSSLHandshake>, _ socket: UDPSocket) {
        self.association = consume association
        self.socket = socket
    }

    func takeAssociation() -> SpareAssociation<OpenSSLHandshake>? { association.take() }
}

/// A side of a group whose sockets are the system's.
protocol RunnableSide: GroupSide {
    typealias Group = GroupEnd<OpenSSLHandshake, Self, GroupSockets>

    /// Begins what is to begin before the first datagram.
    static func begin(_ group: inout Group, now: Instant)
    /// What the peer is, once that is known; and whether another worker is to be asked for it.
    static func finding(_ group: inout Group) -> (peerMode: PeerMode?, isWanted: Bool)
    /// Finds out what the peer is, for another worker.
    static func findOut(_ group: inout Group, now: Instant)
    /// Gives away an association that was made to find out, if no flow has it.
    static func takeSpare(_ group: inout Group) -> SpareParcel?
    /// Takes another worker's answer.
    static func learn(_ mode: PeerMode, _ parcel: SpareParcel?, in group: inout Group, now: Instant)
    /// Takes a datagram that came to one of the group's sockets.
    static func take(
        _ datagram: inout MutableRawSpan, at socket: GroupSocket, from source: Endpoint, to destination: IPAddress,
        into group: inout Group, now: Instant)
    /// Counts datagrams that came cut short to one of the group's sockets.
    static func countTruncated(_ count: Int, at socket: GroupSocket, in group: inout Group)
    /// Notes whether more datagrams wait at a socket than were read in one go.
    static func setPressure(_ isPressed: Bool, at socket: GroupSocket, in group: inout Group)
    /// Takes the report of ICMP about the path of a datagram that one of the group's sockets sent.
    static func take(
        _ error: UDPSocket.PathError, packetSize: Int, at socket: GroupSocket, into group: inout Group, now: Instant)
    /// Takes the answer to a resolution.
    static func take(_ addresses: [Endpoint], ofMember member: Int, into group: inout Group, now: Instant)
    /// Takes settings that have changed.
    static func update(_ group: inout Group, by plan: GroupPlan, now: Instant)
    /// Says goodbye to every peer.
    static func close(_ group: inout Group)
    /// Ends an association; false if there is none with this serial.
    static func close(serial: UInt64, in group: inout Group, now: Instant) -> Bool
    /// Begins a handshake for new keys; nil at a server's end, which cannot.
    static func beginRekeying(serial: UInt64, in group: inout Group, now: Instant) -> RekeyOutcome?
}

extension ClientSide: RunnableSide {
    static func begin(_ group: inout Group, now: Instant) { group.start(now: now) }

    static func finding(_ group: inout Group) -> (peerMode: PeerMode?, isWanted: Bool) {
        (group.peerMode, group.takeQuestion())
    }

    static func findOut(_ group: inout Group, now: Instant) { group.findOut(now: now) }

    static func takeSpare(_ group: inout Group) -> SpareParcel? {
        guard let owner = group.spare, let socket = group.output.release(owner), let spare = group.takeSpare() else {
            return nil
        }
        return SpareParcel(spare, socket)
    }

    static func learn(_ mode: PeerMode, _ parcel: SpareParcel?, in group: inout Group, now: Instant) {
        let spare = parcel?.takeAssociation()
        let socket = parcel?.socket
        group.learn(
            mode, spare, attach: { output, owner in socket.map { output.adopt($0, by: owner) } ?? false }, now: now)
    }

    static func take(
        _ datagram: inout MutableRawSpan, at socket: GroupSocket, from source: Endpoint, to destination: IPAddress,
        into group: inout Group, now: Instant
    ) {
        switch socket {
        case .listener(let member):
            group.handleLocal(datagram.bytes, member: member, from: source, to: destination, now: now)
        case .own(let link): group.handleRemote(&datagram, link: link, now: now)
        }
    }

    static func countTruncated(_ count: Int, at socket: GroupSocket, in group: inout Group) {
        switch socket {
        case .listener(let member): group.countTruncated(count, fromPeer: false, member: member)
        case .own: group.countTruncated(count, fromPeer: true)
        }
    }

    static func setPressure(_ isPressed: Bool, at socket: GroupSocket, in group: inout Group) {
        if case .listener = socket { group.setPressure(isPressed) }
    }

    static func take(
        _ error: UDPSocket.PathError, packetSize: Int, at socket: GroupSocket, into group: inout Group, now: Instant
    ) {
        if case .own(let link) = socket { group.handlePathHint(packetSize, link: link, now: now) }
    }

    static func take(_ addresses: [Endpoint], ofMember member: Int, into group: inout Group, now: Instant) {
        group.handleAddresses(addresses, now: now)
    }

    static func update(_ group: inout Group, by plan: GroupPlan, now: Instant) {
        group.update(plan.members, policy: plan.first.settings.reconnect, now: now)
    }

    static func close(_ group: inout Group) { group.close() }

    static func close(serial: UInt64, in group: inout Group, now: Instant) -> Bool {
        group.close(serial: serial, now: now)
    }

    static func beginRekeying(serial: UInt64, in group: inout Group, now: Instant) -> RekeyOutcome? {
        group.rekey(serial: serial, now: now)
    }
}

extension ServerSide: RunnableSide {
    static func begin(_ group: inout Group, now: Instant) {}

    static func finding(_ group: inout Group) -> (peerMode: PeerMode?, isWanted: Bool) { (nil, false) }

    static func findOut(_ group: inout Group, now: Instant) {}

    static func takeSpare(_ group: inout Group) -> SpareParcel? { nil }

    static func learn(_ mode: PeerMode, _ parcel: SpareParcel?, in group: inout Group, now: Instant) {}

    static func take(
        _ datagram: inout MutableRawSpan, at socket: GroupSocket, from source: Endpoint, to destination: IPAddress,
        into group: inout Group, now: Instant
    ) {
        switch socket {
        case .listener: group.handlePeer(&datagram, from: source, to: destination, now: now)
        case .own(let flow): group.handleTarget(datagram.bytes, flow: flow, now: now)
        }
    }

    static func countTruncated(_ count: Int, at socket: GroupSocket, in group: inout Group) {
        switch socket {
        case .listener: group.countTruncated(count, fromPeer: true)
        case .own: group.countTruncated(count, fromPeer: false)
        }
    }

    static func setPressure(_ isPressed: Bool, at socket: GroupSocket, in group: inout Group) {}

    static func take(
        _ error: UDPSocket.PathError, packetSize: Int, at socket: GroupSocket, into group: inout Group, now: Instant
    ) {
        if case .listener = socket { group.handlePathHint(packetSize, peer: error.destination, now: now) }
    }

    static func take(_ addresses: [Endpoint], ofMember member: Int, into group: inout Group, now: Instant) {
        group.handleAddresses(addresses, member: member)
    }

    static func update(_ group: inout Group, by plan: GroupPlan, now: Instant) { group.update(plan.members, now: now) }

    static func close(_ group: inout Group) { group.close() }

    static func close(serial: UInt64, in group: inout Group, now: Instant) -> Bool { group.close(serial: serial) }

    static func beginRekeying(serial: UInt64, in group: inout Group, now: Instant) -> RekeyOutcome? {
        group.has(serial: serial) ? nil : .notFound
    }
}
