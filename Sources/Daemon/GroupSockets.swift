// The sockets of one group on one worker: those that its tunnels listen on, and one for whatever goes further.

import Glibc
import LinuxIO
import Tunnel
import Wire

/// Sends a group's datagrams through its worker's batch.
final class GroupSockets: DatagramOutput {
    /// Datagrams in a row that the system did not send, and whose they were.
    struct Failure {
        let flow: FlowID?
        let failure: SendFailure
        let count: Int
    }

    /// The sockets that the group listens on: a client's one for each tunnel, a server's one for all.
    private(set) var listeners: [UDPSocket]

    private let number: UInt16
    private let poller: Poller
    private let batch: SendBatch
    private let fragmentation: UDPSocket.Fragmentation
    private let startResolving: (Int) -> Void
    /// By a flow's place; the generation is of the flow that opened the socket.
    private var flowSockets: ContiguousArray<(socket: UDPSocket, generation: UInt32)?> = []
    private var failures: [Failure] = []

    /// `number` is the group's on its worker, `fragmentation` what holds for sockets that are no listeners.
    init(
        number: UInt16, listeners: [UDPSocket], poller: Poller, batch: SendBatch,
        fragmentation: UDPSocket.Fragmentation, startResolving: @escaping (_ member: Int) -> Void
    ) throws(SystemError) {
        self.number = number
        self.listeners = listeners
        self.poller = poller
        self.batch = batch
        self.fragmentation = fragmentation
        self.startResolving = startResolving
        for (listener, socket) in listeners.enumerated() {
            let token = PollToken.listener(group: number, listener: UInt16(truncatingIfNeeded: listener))
            try poller.add(socket.descriptor, token: token.rawValue)
        }
    }

    /// Sends what has been written, and closes every socket.
    func closeAll() {
        collect()
        flowSockets = []
        listeners = []
    }

    /// The flow's own socket, if it is still that flow's.
    func socket(of index: Int32, generation: UInt16) -> (flow: FlowID, socket: UDPSocket)? {
        guard index >= 0, Int(index) < flowSockets.count, let entry = flowSockets[Int(index)],
            UInt16(truncatingIfNeeded: entry.generation) == generation
        else { return nil }
        return (FlowID(index: index, generation: entry.generation), entry.socket)
    }

    /// Sends what has been written, and answers what the system did not take.
    func flush() -> [Failure] {
        collect()
        defer { failures = [] }
        return failures
    }

    // MARK: DatagramOutput

    func open(_ flow: FlowID, to remote: Endpoint) -> Bool {
        close(flow)
        do {
            var options = UDPSocket.Options.perFlow
            options.receiveBufferBytes = Self.flowBufferBytes
            options.sendBufferBytes = Self.flowBufferBytes
            options.pathErrors = fragmentation != .allowed
            let socket = try UDPSocket.connected(to: remote, options: options)
            try socket.setFragmentation(fragmentation)
            try poller.add(socket.descriptor, token: PollToken.flow(flow, group: number).rawValue)
            while flowSockets.count <= Int(flow.index) { flowSockets.append(nil) }
            flowSockets[Int(flow.index)] = (socket, flow.generation)
            return true
        } catch {
            return false
        }
    }

    func close(_ flow: FlowID) {
        guard Int(flow.index) < flowSockets.count, let entry = flowSockets[Int(flow.index)],
            entry.generation == flow.generation
        else { return }
        // The batch keeps it until what was written for it has gone out.
        flowSockets[Int(flow.index)] = nil
    }

    func send(_ flow: FlowID, maximum: Int, mayFragment: Bool, write: (inout MutableRawSpan) -> Int?) {
        guard Int(flow.index) < flowSockets.count, let entry = flowSockets[Int(flow.index)],
            entry.generation == flow.generation
        else {
            failures.append(Failure(flow: flow, failure: .unreachable, count: 1))
            return
        }
        batch.append(
            on: entry.socket, token: Self.token(of: flow), mayFragment: mayFragment, maximum: maximum,
            write: write)
    }

    func sendShared(
        _ flow: FlowID?, listener: Int, to destination: Endpoint, from source: IPAddress, maximum: Int,
        mayFragment: Bool, write: (inout MutableRawSpan) -> Int?
    ) {
        batch.append(
            on: listeners[listener], to: destination, from: source.isUnspecified ? nil : source,
            token: Self.token(of: flow), mayFragment: mayFragment, maximum: maximum,
            write: write)
    }

    func resolve(_ member: Int) { startResolving(member) }

    // MARK: Failures

    private func collect() {
        batch.flush { token, count, code in
            failures.append(Failure(flow: Self.flow(of: token), failure: SendFailure(code), count: count))
        }
    }

    private static func token(of flow: FlowID?) -> UInt64 {
        guard let flow else { return .max }
        return UInt64(flow.generation) << 32 | UInt64(UInt32(bitPattern: flow.index))
    }

    /// Nil for a datagram of no flow; a flow's place is never negative.
    private static func flow(of token: UInt64) -> FlowID? {
        let index = Int32(truncatingIfNeeded: token)
        return index < 0 ? nil : FlowID(index: index, generation: UInt32(truncatingIfNeeded: token >> 32))
    }

    /// Room for a burst of some thousand datagrams; only what is waiting is ever allocated.
    private static let flowBufferBytes = 4 << 20
}

extension SendFailure {
    /// Sorts an errno of a send.
    init(_ code: CInt) {
        switch code {
        case EMSGSIZE: self = .tooLarge
        case EAGAIN, ENOBUFS, ENOMEM: self = .noRoom
        default: self = .unreachable
        }
    }
}
