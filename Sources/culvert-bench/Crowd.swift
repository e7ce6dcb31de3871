// Many idle peers of one server, in one thread with one socket: each has a loopback address of its own, 127.2.0.1 and on. Their
// associations are culvert's own, in shared mode and without a flow, so that neither end needs a socket for each.

import DTLS
import LinuxIO
import OpenSSL
import Synchronization
import Wire

/// Associations that do nothing but answer, for as long as the crowd lives.
final class Crowd: Sendable {
    /// What the crowd's thread and its owner share.
    private final class Shared: Sendable {
        let established = Atomic<Int>(0)
        let ended = Atomic<Int>(0)
        let isStopping = Atomic<Bool>(false)
        /// Why the thread has ended, if it has: an errno, or -1.
        let failure = Atomic<Int32>(0)
    }

    /// The most peers that a crowd may have.
    static let maximumCount = 200_000

    private let shared = Shared()
    private let wakeup: Wakeup

    /// Begins `count` associations with the server at `server`, so many at a time.
    init(_ count: Int, of server: Endpoint, context: HandshakeContext, concurrent: Int = 64) throws {
        let shared = shared
        let wakeup = try Wakeup()
        self.wakeup = wakeup
        _ = try NativeThread.start(name: "crowd", stackBytes: 4 << 20) {
            do {
                let peers = try Peers(count, of: server, context: context, concurrent: concurrent)
                try peers.run(wakeup) {
                    shared.established.store($0.established, ordering: .releasing)
                    shared.ended.store($0.ended, ordering: .releasing)
                    return !shared.isStopping.load(ordering: .acquiring)
                }
            } catch {
                shared.failure.store((error as? SystemError)?.code ?? -1, ordering: .releasing)
            }
        }
    }

    deinit {
        shared.isStopping.store(true, ordering: .releasing)
        wakeup.signal()
    }

    /// Associations that were established, and those of them that have ended.
    var counts: (established: Int, ended: Int) {
        (shared.established.load(ordering: .acquiring), shared.ended.load(ordering: .acquiring))
    }

    /// Throws where the crowd's thread has given up.
    func check() throws {
        let failure = shared.failure.load(ordering: .acquiring)
        guard failure == 0 else { throw BenchError("the crowd of peers has failed: error \(failure)") }
    }
}

/// The crowd on its thread.
private final class Peers {
    private final class Peer {
        var association: Association<OpenSSLHandshake>

        init(_ engine: OpenSSLHandshake, seed: UInt64, now: Instant) {
            association = Association(engine: engine, seed: seed, now: now)
        }

        /// Takes a datagram; data is of no interest.
        func receive(_ datagram: inout MutableRawSpan, now: Instant) {
            var cursor = RecordCursor()
            while association.next(&datagram, &cursor, now: now) != .end {}
        }
    }

    private(set) var established = 0
    private(set) var ended = 0

    private let server: Endpoint
    private let context: HandshakeContext
    private let concurrent: Int
    private let socket: UDPSocket
    private let poller: Poller
    private let received = ReceiveBatch()
    private let sending = SendBatch()
    private var all: [Peer?]
    private var next = 0
    private var handshaking: Set<Int> = []

    init(_ count: Int, of server: Endpoint, context: HandshakeContext, concurrent: Int) throws {
        self.server = server
        self.context = context
        self.concurrent = concurrent
        var options = UDPSocket.Options()
        options.packetInfo = true
        socket = try UDPSocket.bound(to: Endpoint(address: IPAddress(ipv4: 0), port: 0), options: options)
        poller = try Poller()
        all = Array(repeating: nil, count: count)
    }

    func run(_ wakeup: Wakeup, isWanted: (Peers) -> Bool) throws {
        try poller.add(socket.descriptor, token: 0)
        try poller.add(wakeup.descriptor, token: 1)
        var looked = MonotonicClock.now
        while isWanted(self) {
            while handshaking.count < concurrent, next < all.count { try begin() }
            sending.flush { _, _, _ in }
            try poller.wait(nanoseconds: handshaking.isEmpty ? nil : Self.patience) { _ in }
            while case .received(let slots) = received.receive(from: socket), slots > 0 {
                received.forEachDatagram { datagram, _, destination in take(&datagram, to: destination) }
                sending.flush { _, _, _ in }
                guard received.wasFull else { break }
            }
            let now = MonotonicClock.now
            guard now - looked >= Self.patience else { continue }
            looked = now
            for number in handshaking {
                guard let peer = all[number], let deadline = peer.association.deadline, deadline <= instant else {
                    continue
                }
                peer.association.handleTimeout(now: instant)
                serve(peer, number)
            }
        }
    }

    /// How often it is looked whether a handshake has to be helped on, in nanoseconds.
    private static let patience: Int64 = 50_000_000
    private static let firstAddress: UInt32 = 0x7f02_0001

    private var instant: Instant { Instant(nanoseconds: MonotonicClock.now) }

    private func address(of number: Int) -> IPAddress { IPAddress(ipv4: Self.firstAddress + UInt32(number)) }

    private func begin() throws {
        let engine = try OpenSSLHandshake(
            client: context, verifying: PeerName("\(server.address)"), datagramSize: 1400)
        let peer = Peer(engine, seed: UInt64(next), now: instant)
        all[next] = peer
        handshaking.insert(next)
        peer.association.start(now: instant)
        serve(peer, next)
        next += 1
    }

    private func take(_ datagram: inout MutableRawSpan, to destination: IPAddress) {
        let number = Int(destination.ipv4Bits) - Int(Self.firstAddress)
        guard destination.isIPv4, all.indices.contains(number), let peer = all[number] else { return }
        peer.receive(&datagram, now: instant)
        serve(peer, number)
    }

    private func serve(_ peer: Peer, _ number: Int) {
        while let event = peer.association.pollEvent() {
            switch event {
            case .established:
                _ = peer.association.accept()
                established += 1
                handshaking.remove(number)
            case .ended:
                ended += 1
                handshaking.remove(number)
                all[number] = nil
            case .pathMTUChanged, .roundTrip, .pinged, .worn, .unanswered: break
            }
        }
        while let transmit = peer.association.pollTransmit() {
            sending.append(
                transmit.datagram.bytes, on: socket, to: server, from: address(of: number), token: 0)
        }
    }
}
