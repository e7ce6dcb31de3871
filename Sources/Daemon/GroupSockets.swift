// The sockets of one group on one worker: its listeners, and the own sockets of its links (client) or flows (server).

import Containers
import Glibc
import LinuxIO
import Tunnel
import Wire

/// A socket in its place. It cannot be copied, so that its reference is not counted for each datagram.
struct SocketPlace: ~Copyable {
    let socket: UDPSocket
    /// The generation in the id of the link or flow that opened it.
    let generation: UInt32
    /// Whether it still belongs to that one; otherwise a listener fills the place.
    let isOpen: Bool
}

/// Sends a group's datagrams through its worker's batch.
struct GroupSockets: DatagramOutput, ~Copyable {
    /// The sockets that the group listens on: a client's one for each tunnel, a server's one for all.
    private var listeners = InPlaceArray<SocketPlace>()

    private let number: UInt16
    private let poller: Poller
    private let batch: SendBatch
    private let fragmentation: UDPSocket.Fragmentation
    private let startResolving: (Int) -> Void
    /// By the place of the link or flow.
    private var ownSockets = InPlaceArray<SocketPlace>()
    /// The owners of datagrams whose socket was already closed, since they were last asked for.
    private var strays: [PlaceID] = []

    /// `number` is the group's, `fragmentation` is for own sockets.
    init(
        number: UInt16, listeners: [UDPSocket], poller: Poller, batch: SendBatch,
        fragmentation: UDPSocket.Fragmentation, startResolving: @escaping (_ member: Int) -> Void
    ) {
        self.number = number
        self.poller = poller
        self.batch = batch
        self.fragmentation = fragmentation
        self.startResolving = startResolving
        for socket in listeners { self.listeners.append(SocketPlace(socket: socket, generation: 0, isOpen: true)) }
    }

    /// Has the listeners read from now on.
    func beginListening() throws(SystemError) {
        for listener in 0..<listeners.count {
            let token = PollToken.socket(.listener(listener), group: number)
            try poller.add(listeners[listener].socket.descriptor, token: token.rawValue)
        }
    }

    /// Lets all sockets go.
    mutating func closeAll() {
        ownSockets = InPlaceArray()
        listeners = InPlaceArray()
    }

    /// One of the group's sockets, if it is still there.
    func socket(_ socket: GroupSocket) -> UDPSocket? {
        switch socket {
        case .listener(let number): number < listeners.count ? listeners[number].socket : nil
        case .own(let id): has(id) ? ownSockets[Int(id.index)].socket : nil
        }
    }

    /// The owners of datagrams whose socket was already closed, since the last call.
    mutating func takeStrays() -> [PlaceID] {
        guard !strays.isEmpty else { return [] }
        defer { strays = [] }
        return strays
    }

    /// What fills a place that nobody has.
    private var vacant: SocketPlace { SocketPlace(socket: listeners[0].socket, generation: 0, isOpen: false) }

    private func has(_ owner: PlaceID) -> Bool {
        let index = Int(owner.index)
        return index >= 0 && index < ownSockets.count && ownSockets[index].isOpen
            && ownSockets[index].generation == owner.generation
    }

    /// Lets go of an own socket without closing it.
    mutating func release(_ owner: PlaceID) -> UDPSocket? {
        guard has(owner) else { return nil }
        let socket = ownSockets[Int(owner.index)].socket
        try? poller.remove(socket.descriptor)
        ownSockets[Int(owner.index)] = vacant
        return socket
    }

    /// Takes a socket that another worker has let go; false if it cannot be polled.
    mutating func adopt(_ socket: UDPSocket, by owner: PlaceID) -> Bool {
        do {
            try place(socket, of: owner)
            return true
        } catch {
            return false
        }
    }

    private mutating func place(_ socket: UDPSocket, of owner: PlaceID) throws(SystemError) {
        try poller.add(socket.descriptor, token: PollToken.socket(.own(owner), group: number).rawValue)
        while ownSockets.count <= Int(owner.index) { ownSockets.append(vacant) }
        ownSockets[Int(owner.index)] = SocketPlace(socket: socket, generation: owner.generation, isOpen: true)
    }

    // MARK: DatagramOutput

    mutating func open(_ owner: PlaceID, to remote: Endpoint) -> Bool {
        close(owner)
        do {
            var options = UDPSocket.Options.perFlow
            options.receiveBufferBytes = Self.ownBufferBytes
            options.sendBufferBytes = Self.ownBufferBytes
            options.pathErrors = fragmentation != .allowed
            let socket = try UDPSocket.connected(to: remote, options: options)
            try socket.setFragmentation(fragmentation)
            try place(socket, of: owner)
            return true
        } catch {
            return false
        }
    }

    mutating func close(_ owner: PlaceID) {
        // The batch keeps the socket until what was written for it has been sent.
        if has(owner) { ownSockets[Int(owner.index)] = vacant }
    }

    mutating func send(
        _ owner: PlaceID, maximum: Int, mayFragment: Bool, write: (inout MutableRawSpan) -> Int?
    ) {
        guard has(owner) else {
            strays.append(owner)
            return
        }
        batch.append(
            on: ownSockets[Int(owner.index)].socket, token: SendToken(.own(owner), group: number).rawValue,
            mayFragment: mayFragment, maximum: maximum, write: write)
    }

    mutating func sendShared(
        _ origin: PlaceID?, listener: Int, to destination: Endpoint, from source: IPAddress, maximum: Int,
        mayFragment: Bool, write: (inout MutableRawSpan) -> Int?
    ) {
        batch.append(
            on: listeners[listener].socket, to: destination, from: source.isUnspecified ? nil : source,
            token: SendToken(.shared(origin), group: number).rawValue, mayFragment: mayFragment, maximum: maximum,
            write: write)
    }

    mutating func resolve(_ member: Int) { startResolving(member) }

    /// Room for a burst of some thousands of datagrams; the kernel allocates only what waits.
    private static var ownBufferBytes: Int { 4 << 20 }
}

extension SendFailure {
    /// Sorts an errno of a send.
    init(_ code: CInt) {
        switch code {
        case EMSGSIZE: self = .tooLarge
        case EAGAIN, ENOBUFS, ENOMEM: self = .noRoom
        // To be confirmed: a route that is missing for a while looks the same.
        case EINVAL, EADDRNOTAVAIL, ENETUNREACH: self = .noAddress
        default: self = .unreachable
        }
    }
}
