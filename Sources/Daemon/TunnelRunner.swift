// One tunnel on one worker: its sockets and its sans-IO core, and the datagrams between them.
//
// A batch of datagrams:
//   1. is read from the socket that the poller reported, with UDP_GRO;
//   2. goes through the core one by one, which writes what is to be sent straight into the send batch;
//   3. leaves with sendmmsg and UDP_SEGMENT when the worker flushes, before it waits again.

import Configuration
import DTLS
import LinuxIO
import OpenSSL
import Tunnel
import Wire

/// Runs one tunnel on its worker's thread.
final class TunnelRunner {
    private enum Core {
        case client(ClientTunnel<OpenSSLHandshake, TunnelSockets>)
        case server(ServerTunnel<OpenSSLHandshake, CookieKey, TunnelSockets>)
    }

    let plan: TunnelPlan
    private let core: Core
    private let sockets: TunnelSockets
    private let received: ReceiveBatch
    private let log: TunnelLog
    private var truncated = 0

    init(
        _ plan: TunnelPlan, sockets: TunnelSockets, received: ReceiveBatch, log: TunnelLog, seed: UInt64, now: Instant
    ) throws(OpenSSLError) {
        self.plan = plan
        self.sockets = sockets
        self.received = received
        self.log = log
        let context = plan.context
        switch plan.settings.role {
        case .client:
            let name = PeerName(plan.serverName)
            core = .client(
                ClientTunnel(
                    target: plan.target, limits: plan.limits, policy: plan.policy, access: plan.access,
                    path: plan.path, output: sockets,
                    seed: seed
                ) { datagramSize in
                    log.engine { () throws(OpenSSLError) in
                        try OpenSSLHandshake(client: context, verifying: name, datagramSize: datagramSize)
                    }
                })
        case .server:
            let verified = plan.settings.cookieExchange
            core = .server(
                ServerTunnel(
                    target: plan.target, limits: plan.limits, access: plan.access, path: plan.path,
                    cookieExchange: verified,
                    firstKey: try CookieKey(), output: sockets, seed: seed, now: now, makeKey: { try? CookieKey() }
                ) { datagramSize in
                    log.engine { () throws(OpenSSLError) in
                        try OpenSSLHandshake(server: context, cookieVerified: verified, datagramSize: datagramSize)
                    }
                })
        }
    }

    /// When ``handleTimeout(now:)`` has to be called next.
    var deadline: Instant? {
        switch core {
        case .client(let tunnel): tunnel.deadline
        case .server(let tunnel): tunnel.deadline
        }
    }

    /// Reads the shared socket.
    func readShared() {
        drain(sockets.shared) { datagram, source, destination, now in
            switch core {
            case .client(let tunnel): tunnel.handleLocal(datagram.bytes, from: source, to: destination, now: now)
            case .server(let tunnel): tunnel.handlePeer(&datagram, from: source, to: destination, now: now)
            }
        }
    }

    /// Reads a flow's own socket.
    func readFlow(_ index: Int32, generation: UInt16) {
        guard let (flow, socket) = sockets.socket(of: index, generation: generation) else { return }
        drain(socket) { datagram, _, _, now in
            switch core {
            case .client(let tunnel): tunnel.handleRemote(&datagram, flow: flow, now: now)
            case .server(let tunnel): tunnel.handleTarget(datagram.bytes, flow: flow, now: now)
            }
        }
        guard received.pendingErrors > 0 else { return }
        log.refused(by: socket.remoteEndpoint)
    }

    /// Takes what ICMP has said about the path from the shared socket. That a stranger who was answered is not there is
    /// no news.
    func readSharedErrors() {
        readErrors(of: sockets.shared) { error, now in
            guard let size = error.packetSize, case .server(let tunnel) = core else { return }
            tunnel.handlePathHint(size, peer: error.destination, now: now)
        }
    }

    /// Takes what ICMP has said about the path from a flow's own socket.
    func readFlowErrors(_ index: Int32, generation: UInt16) {
        guard let (flow, socket) = sockets.socket(of: index, generation: generation) else { return }
        readErrors(of: socket) { error, now in
            guard let size = error.packetSize else { return log.refused(by: socket.remoteEndpoint) }
            guard case .client(let tunnel) = core else { return }
            tunnel.handlePathHint(size, flow: flow, now: now)
        }
    }

    /// Takes the answer to a resolution.
    func handleAddresses(_ addresses: [Endpoint], now: Instant) {
        switch core {
        case .client(let tunnel): tunnel.handleAddresses(addresses, now: now)
        case .server(let tunnel): tunnel.handleAddresses(addresses)
        }
    }

    /// Does what is due.
    func handleTimeout(now: Instant) {
        switch core {
        case .client(let tunnel): tunnel.handleTimeout(now: now)
        case .server(let tunnel): tunnel.handleTimeout(now: now)
        }
    }

    /// Sends what waits, counts what could not be sent, and logs what has happened.
    func flush() {
        // A refused probe of the path MTU is answered with a smaller one, which is to leave too; sizes only shrink.
        while true {
            let failures = sockets.flush()
            guard !failures.isEmpty else { break }
            let now = Instant(nanoseconds: MonotonicClock.now)
            for failed in failures {
                switch core {
                case .client(let tunnel):
                    tunnel.handleSendFailure(failed.flow, failed.failure, count: failed.count, now: now)
                case .server(let tunnel):
                    tunnel.handleSendFailure(failed.flow, failed.failure, count: failed.count, now: now)
                }
            }
        }
        switch core {
        case .client(let tunnel): log.tell(tunnel.takeEvents())
        case .server(let tunnel): log.tell(tunnel.takeEvents())
        }
    }

    /// Tells every peer that this end closes.
    func close() {
        switch core {
        case .client(let tunnel): tunnel.close()
        case .server(let tunnel): tunnel.close()
        }
        flush()
    }

    /// What the tunnel has carried here in all, living associations included.
    var counters: TunnelCounters {
        var counters =
            switch core {
            case .client(let tunnel): tunnel.counters
            case .server(let tunnel): tunnel.counters
            }
        for association in snapshots() { counters.add(association.counters) }
        return counters
    }

    /// Every association, for the control plane.
    func snapshots() -> [AssociationSnapshot] {
        switch core {
        case .client(let tunnel): tunnel.snapshots()
        case .server(let tunnel): tunnel.snapshots()
        }
    }

    /// Reads batch after batch while they come full, but not for ever: other sockets wait too.
    private func drain(
        _ socket: UDPSocket,
        _ body: (inout MutableRawSpan, _ source: Endpoint, _ destination: IPAddress, _ now: Instant) -> Void
    ) {
        for _ in 0..<Self.batchesInARow {
            guard case .received = received.receive(from: socket) else { break }
            let now = Instant(nanoseconds: MonotonicClock.now)
            received.forEachDatagram { datagram, source, destination in body(&datagram, source, destination, now) }
            countTruncated()
            guard received.wasFull else { break }
            flush()
        }
    }

    private func readErrors(of socket: UDPSocket, _ body: (UDPSocket.PathError, _ now: Instant) -> Void) {
        // Whoever can make ICMP messages must not keep the worker here.
        for _ in 0..<Self.errorsInARow {
            guard let error = socket.nextPathError() else { return }
            body(error, Instant(nanoseconds: MonotonicClock.now))
        }
    }

    private func countTruncated() {
        guard received.truncated != truncated else { return }
        // The batch is the worker's and counts for all of its tunnels, one of which reads at a time.
        let count = received.truncated - truncated
        truncated = received.truncated
        switch core {
        case .client(let tunnel): tunnel.countDrop(.truncated, count)
        case .server(let tunnel): tunnel.countDrop(.truncated, count)
        }
    }

    private static let batchesInARow = 8
    private static let errorsInARow = 64
}
