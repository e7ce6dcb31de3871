// The sockets of one tunnel in a simulation: the same seam that stands before the kernel in the daemon.

import DTLS
import Tunnel
import Wire

/// A machine with an address, a shared socket and one socket for each flow.
final class SimulatedHost: DatagramOutput {
    /// Where the tunnel listens.
    let shared: Endpoint
    /// The port that the next flow's socket gets; set back, it lets a restarted program have its old port again.
    var nextPort: UInt16 = 40_000
    /// Whether the system refuses new sockets.
    var refusesSockets = false
    /// Takes what comes to a flow's socket.
    var receive: (FlowID, Packet) -> Void = { _, _ in }
    /// Takes whose datagram the interface has refused as too large.
    var refuse: (DatagramOrigin) -> Void = { _ in }
    /// Called when the tunnel wants its forward name resolved.
    var onResolve: () -> Void = {}

    private unowned let simulation: Simulation
    private var sockets: [FlowID: (local: Endpoint, remote: Endpoint)] = [:]

    init(shared: Endpoint, in simulation: Simulation) {
        self.shared = shared
        self.simulation = simulation
    }

    /// The local address of a flow's socket.
    func socket(_ flow: FlowID) -> Endpoint? { sockets[flow]?.local }

    /// The local addresses of all flows' sockets.
    var localEndpoints: [Endpoint] { sockets.values.map(\.local) }

    /// Closes every flow's socket, as the end of a process does.
    func closeAll() {
        for flow in sockets.keys { close(flow) }
    }

    func open(_ flow: FlowID, to remote: Endpoint) -> Bool {
        close(flow)
        guard !refusesSockets else { return false }
        let local = Endpoint(address: shared.address, port: nextPort)
        nextPort += 1
        sockets[flow] = (local, remote)
        simulation.network.bind(local) { [unowned self] packet in
            // A connected socket takes nothing from anybody else.
            if packet.source == remote { receive(flow, packet) }
        }
        return true
    }

    func close(_ flow: FlowID) {
        if let socket = sockets.removeValue(forKey: flow) { simulation.network.unbind(socket.local) }
    }

    func send(_ flow: FlowID, maximum: Int, mayFragment: Bool, write: (inout MutableRawSpan) -> Int?) {
        guard let socket = sockets[flow] else { return }
        send(
            .own(flow), from: socket.local, to: socket.remote, maximum: maximum, mayFragment: mayFragment, write: write)
    }

    func sendShared(
        _ flow: FlowID?, listener: Int, to destination: Endpoint, from source: IPAddress, maximum: Int,
        mayFragment: Bool, write: (inout MutableRawSpan) -> Int?
    ) {
        let local = Endpoint(address: source, port: shared.port)
        send(.shared(flow), from: local, to: destination, maximum: maximum, mayFragment: mayFragment, write: write)
    }

    func resolve(_ member: Int) { onResolve() }

    private func send(
        _ origin: DatagramOrigin, from source: Endpoint, to destination: Endpoint, maximum: Int, mayFragment: Bool,
        write: (inout MutableRawSpan) -> Int?
    ) {
        var buffer = [UInt8](repeating: 0, count: maximum)
        guard let length = buffer.withMutableBytes(write) else { return }
        let bytes = Array(buffer.prefix(length))
        if !mayFragment, length + destination.headerSize > 1500 { return refuse(origin) }
        let packet = Packet(source: source, destination: destination, bytes: bytes, mayFragment: mayFragment)
        simulation.network.send(packet, now: simulation.now)
    }
}
