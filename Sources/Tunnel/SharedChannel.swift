// One association in shared mode (docs/PROTOCOL.md): which flow has which number on the wire, and how a datagram becomes
// records and records become datagrams again. It decides nothing about who may have what; the group that owns it does.

import DTLS
import Settings
import Wire

/// The flows of one association in shared mode. Its owner sends what it writes, by the `emit` closures: at most so many
/// bytes, written by the closure that they are given.
final class SharedChannel<Engine: HandshakeEngine> {
    typealias Write = (inout MutableRawSpan) -> Int?
    typealias Emit = (_ maximum: Int, _ write: Write) -> Void

    /// The association that carries the flows.
    let association: Association<Engine>

    private var places: [UInt64: Int32] = [:]
    private var reassembler = Reassembler()
    private var nextFlow: UInt64 = 1
    private var nextDatagram: UInt64 = 0
    private var closes = CloseBudget()

    init(_ association: Association<Engine>) {
        self.association = association
    }

    /// How many flows there are.
    var flowCount: Int { places.count }

    /// The places of all flows, in no order.
    var livingPlaces: [Int32] { Array(places.values) }

    /// Where in its owner's table a flow stands.
    func place(of flow: UInt64) -> Int32? { places[flow] }

    /// A client's new flow: the number that it gets, which none has had before.
    func open(at place: Int32) -> UInt64 {
        defer { nextFlow += 1 }
        places[nextFlow] = place
        return nextFlow
    }

    /// Takes a flow of the peer's.
    func admit(_ flow: UInt64, at place: Int32) { places[flow] = place }

    /// Forgets a flow; its number is not used again.
    func forget(_ flow: UInt64) {
        places[flow] = nil
        reassembler.forget(flow: flow)
    }

    // MARK: To the peer

    /// Sends a datagram of `flow`, in as many records as the path takes, each asking for `service` unless that is nil.
    func send(
        _ datagram: borrowing RawSpan, of flow: UInt64, opening service: [UInt8]?, _ policy: OversizePolicy, emit: Emit
    ) -> DatagramFate {
        let limit = min(association.maximumDatagram, RecordHeader.maximumPlaintextLength)
        let header =
            service.map { SharedFrame.openHeaderSize(flow: flow, service: $0) }
            ?? SharedFrame.datagramHeaderSize(flow: flow)
        let byteCount = header + datagram.byteCount
        if byteCount <= limit {
            emit(byteCount + association.overhead) { buffer in
                association.seal(byteCount: byteCount, into: &buffer) { text in
                    let start =
                        if let service {
                            SharedFrame.writeOpenHeader(flow: flow, service: service, into: &text)
                        } else {
                            SharedFrame.writeDatagramHeader(flow: flow, into: &text)
                        }
                    text.write(datagram, at: start)
                }
            }
            return .whole
        }
        // Nothing is dropped for an assumption: before the first search has ended there is no limit.
        if policy == .drop, association.isPathKnown { return .dropped(limit: max(limit - header, 0)) }
        fragment(datagram, of: flow, opening: service, limit: limit, emit: emit)
        return .fragmented(limit: max(limit - header, 0))
    }

    private func fragment(
        _ datagram: borrowing RawSpan, of flow: UInt64, opening service: [UInt8]?, limit: Int, emit: Emit
    ) {
        let number = nextDatagram
        nextDatagram += 1
        var offset = 0
        repeat {
            let header =
                if let service {
                    SharedFrame.openFragmentHeaderSize(flow: flow, service: service, datagram: number, offset: offset)
                } else {
                    SharedFrame.fragmentHeaderSize(flow: flow, datagram: number, offset: offset)
                }
            let room = max(limit - header, SharedFrame.minimumFragmentSize)
            let count = min(datagram.byteCount - offset, room)
            let start = offset
            let isLast = start + count == datagram.byteCount
            emit(header + count + association.overhead) { buffer in
                association.seal(byteCount: header + count, into: &buffer) { text in
                    let end =
                        if let service {
                            SharedFrame.writeOpenFragmentHeader(
                                flow: flow, service: service, datagram: number, offset: start, isLast: isLast,
                                into: &text)
                        } else {
                            SharedFrame.writeFragmentHeader(
                                flow: flow, datagram: number, offset: start, isLast: isLast, into: &text)
                        }
                    text.write(datagram.extracting(start..<start + count), at: end)
                }
            }
            offset += count
        } while offset < datagram.byteCount
    }

    /// Tells the client that its flow is open.
    func sendOpened(_ flow: UInt64, emit: Emit) {
        let byteCount = SharedFrame.openedSize(flow: flow)
        emit(byteCount + association.overhead) { buffer in
            association.seal(byteCount: byteCount, into: &buffer) { _ = SharedFrame.writeOpened(flow: flow, into: &$0) }
        }
    }

    /// Tells the peer that a flow is over, or never was. `isAnswer` says that the peer has caused it, who must not make this end
    /// send without end.
    func sendClose(_ flow: UInt64, _ reason: CloseReason, isAnswer: Bool, now: Instant, emit: Emit) {
        if isAnswer, !closes.take(now) { return }
        let byteCount = SharedFrame.closeSize(flow: flow, reason: reason)
        emit(byteCount + association.overhead) { buffer in
            association.seal(byteCount: byteCount, into: &buffer) {
                _ = SharedFrame.writeClose(flow: flow, reason: reason, into: &$0)
            }
        }
    }

    // MARK: From the peer

    /// Takes a piece of a datagram; answers the datagram once it is whole, and whether the piece is the first of its
    /// datagram, which is counted once.
    func take(
        _ fragment: SharedFrame.Fragment, of flow: UInt64, in record: borrowing RawSpan, now: Instant
    ) -> (whole: [UInt8]?, isFirst: Bool) {
        reassembler.handleTimeout(now: now)
        let isFirst = reassembler.isNew(fragment.datagram)
        let outcome = reassembler.take(
            flow: flow, fragment: fragment, payload: record.extracting(fragment.payload), now: now)
        if case .complete(let datagram) = outcome { return (datagram, isFirst) }
        return (nil, isFirst)
    }

    /// Gives up every piece, at the association's end.
    func discardAll() { reassembler.discardAll() }

    /// When ``handleTimeout(now:)`` has to be called next.
    var deadline: Instant? { reassembler.deadline }

    /// Gives up pieces that have waited for too long.
    func handleTimeout(now: Instant) { reassembler.handleTimeout(now: now) }

    /// The flows, once for each datagram, whose datagrams did not become whole since the last call.
    func takeIncomplete() -> [UInt64] { reassembler.takeDiscarded() }
}

extension Association {
    /// Whether it has been agreed to carry many flows.
    var isShared: Bool { description?.applicationProtocol == SharedFrame.applicationProtocol }
}

/// How many frames this end may be made to send by frames that fit nothing: 100 at once, 100 more each second.
private struct CloseBudget {
    private var tokens = 100
    private var refilledAt: Instant?

    mutating func take(_ now: Instant) -> Bool {
        if let refilledAt, now - refilledAt < .seconds(1) {
            guard tokens > 0 else { return false }
        } else {
            tokens = 100
            refilledAt = now
        }
        tokens -= 1
        return true
    }
}
