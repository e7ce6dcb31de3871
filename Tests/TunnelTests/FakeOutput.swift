// A tunnel's sockets as lists of what a test wants to know.

import DTLS
import Tunnel
import Wire

/// Takes everything that a tunnel sends.
final class FakeOutput: DatagramOutput {
    struct Shared: Equatable {
        var flow: FlowID?
        var listener = 0
        var destination: Endpoint
        var source: IPAddress
        var bytes: [UInt8]
    }

    /// What left through flows' own sockets.
    var sent: [(flow: FlowID, bytes: [UInt8])] = []
    /// What left through the shared socket.
    var shared: [Shared] = []
    /// The sockets that are open, and where to.
    var open: [FlowID: Endpoint] = [:]
    /// Every address that a socket was opened to.
    var opened: [Endpoint] = []
    var resolutions = 0
    var refusesSockets = false
    /// Datagrams through a socket that was not open.
    var strays = 0

    func open(_ flow: FlowID, to remote: Endpoint) -> Bool {
        open[flow] = nil
        opened.append(remote)
        guard !refusesSockets else { return false }
        open[flow] = remote
        return true
    }

    func close(_ flow: FlowID) { open[flow] = nil }

    func send(_ flow: FlowID, maximum: Int, mayFragment: Bool, write: (inout MutableRawSpan) -> Int?) {
        guard let bytes = written(maximum, write) else { return }
        if open[flow] == nil { strays += 1 }
        sent.append((flow, bytes))
    }

    func sendShared(
        _ flow: FlowID?, listener: Int, to destination: Endpoint, from source: IPAddress, maximum: Int,
        mayFragment: Bool, write: (inout MutableRawSpan) -> Int?
    ) {
        guard let bytes = written(maximum, write) else { return }
        shared.append(Shared(flow: flow, listener: listener, destination: destination, source: source, bytes: bytes))
    }

    func resolve(_ member: Int) { resolutions += 1 }

    /// Everything that has left through flows' own sockets since the last call.
    func takeSent() -> [[UInt8]] {
        defer { sent = [] }
        return sent.map(\.bytes)
    }

    /// Everything that has left through the shared socket since the last call.
    func takeShared() -> [Shared] {
        defer { shared = [] }
        return shared
    }

    private func written(_ maximum: Int, _ write: (inout MutableRawSpan) -> Int?) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: maximum)
        return bytes.withMutableBytes { write(&$0) }.map { Array(bytes[..<$0]) }
    }
}

/// A local sender, or a peer, by its port.
func sender(_ port: UInt16) -> Endpoint { Endpoint(address: .loopbackIPv4, port: port) }

/// What an event says, in a word or two.
func summary(_ event: TunnelEvent) -> String {
    switch event {
    case .established: "established"
    case .handshakeFailed(_, let failure, _): "failed \(failure.reason)"
    case .refused(_, _, let denial): denial == .identity ? "refused" : "refused by \(denial.rawValue)"
    case .ended(_, _, let end, _): "ended \(end)"
    case .unanswered: "unanswered"
    case .unresolved(let name, _): "unresolved \(name)"
    case .oversize(_, let count, _): "oversize \(count)"
    case .pathMTUChanged(_, let path, _, _): "path MTU \(path.current)"
    case .expired(let key): "expired \(key.port)"
    case .limit(let limit, let evicted): "\(limit.rawValue) \(evicted.map { "\($0.port)" } ?? "-")"
    case .noSocket: "no socket"
    case .cannotShare: "cannot share"
    case .rekeyed: "rekeyed"
    case .dedicatedMode: "plain mode"
    case .serviceRefused(let service, let reason): "service \(service) refused: \(reason)"
    case .serviceAccepted(let service): "service \(service) accepted"
    case .serviceDenied(_, _, let service, let reason): "service \(service) denied: \(reason)"
    }
}
