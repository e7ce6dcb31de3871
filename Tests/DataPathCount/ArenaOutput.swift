// Where a core's datagrams go: an arena that was allocated once, written to as the daemon's send batch is, and read from by the
// other end. Takes no memory and counts no reference for a datagram, so that what is counted is the core's.

import DTLS
import Tunnel
import Wire

/// The sockets of one core, in memory.
final class ArenaOutput: DatagramOutput {
    /// Where a datagram was sent.
    struct Route {
        /// The flow's own socket, or with a destination the shared one.
        var flow: PlaceID?
        var destination: Endpoint?
    }

    private struct Parcel {
        var route: Route
        var start: Int
        var byteCount: Int
    }

    /// One half is written to while the other one is read from.
    private struct Half {
        let arena: UnsafeMutableRawPointer
        let parcels: UnsafeMutablePointer<Parcel>
        var used = 0
        var count = 0

        init() {
            arena = .allocate(byteCount: ArenaOutput.arenaBytes, alignment: 64)
            parcels = .allocate(capacity: ArenaOutput.maximumParcels)
        }
    }

    fileprivate static let arenaBytes = 1 << 20
    fileprivate static let maximumParcels = 4096

    private var written = Half()
    private var taken = Half()
    private let flows: UnsafeMutablePointer<PlaceID?>
    private static let maximumFlows = 4096
    /// Datagrams that there was no room for, or no socket.
    private(set) var lost = 0

    init() {
        flows = .allocate(capacity: Self.maximumFlows)
        flows.initialize(repeating: nil, count: Self.maximumFlows)
    }

    deinit {
        for half in [written, taken] {
            half.arena.deallocate()
            half.parcels.deallocate()
        }
        flows.deallocate()
    }

    /// The flow whose own socket stands at this place.
    func flow(at index: Int) -> PlaceID? { index >= 0 && index < Self.maximumFlows ? flows[index] : nil }

    /// Takes everything that was sent since the last call, in order. What is sent meanwhile is for the next call.
    @inline(__always)
    func take(_ body: (inout MutableRawSpan, Route) -> Void) {
        swap(&written, &taken)
        let half = taken
        for index in 0..<half.count {
            let parcel = half.parcels[index]
            var datagram = MutableRawSpan(_unsafeStart: half.arena + parcel.start, byteCount: parcel.byteCount)
            body(&datagram, parcel.route)
        }
        taken.used = 0
        taken.count = 0
    }

    // MARK: DatagramOutput

    func open(_ flow: PlaceID, to remote: Endpoint) -> Bool {
        guard Int(flow.index) < Self.maximumFlows else { return false }
        flows[Int(flow.index)] = flow
        return true
    }

    func close(_ flow: PlaceID) {
        if self.flow(at: Int(flow.index)) == flow { flows[Int(flow.index)] = nil }
    }

    func send(_ flow: PlaceID, maximum: Int, mayFragment: Bool, write: (inout MutableRawSpan) -> Int?) {
        guard self.flow(at: Int(flow.index)) == flow else { return lost += 1 }
        append(Route(flow: flow), maximum, write)
    }

    func sendShared(
        _ flow: PlaceID?, listener: Int, to destination: Endpoint, from source: IPAddress, maximum: Int,
        mayFragment: Bool, write: (inout MutableRawSpan) -> Int?
    ) {
        append(Route(flow: flow, destination: destination), maximum, write)
    }

    func resolve(_ member: Int) {}

    @inline(__always)
    private func append(_ route: Route, _ maximum: Int, _ write: (inout MutableRawSpan) -> Int?) {
        let (start, index) = (written.used, written.count)
        guard start + maximum <= Self.arenaBytes, index < Self.maximumParcels else { return lost += 1 }
        var space = MutableRawSpan(_unsafeStart: written.arena + start, byteCount: maximum)
        guard let byteCount = write(&space) else { return }
        (written.parcels + index).initialize(to: Parcel(route: route, start: start, byteCount: byteCount))
        written.used = start + byteCount
        written.count = index + 1
    }
}
