// Shared mode over one association (docs/PROTOCOL.md): which flow has which number on the wire, and how records become
// datagrams again. It does not decide who may have what; the group does.

import DTLS
import Wire

/// The flows of one association in shared mode.
struct Channel: ~Copyable {
    private var places: [UInt64: Int32] = [:]
    private var last: (number: UInt64, place: Int32) = (0, -1)
    private var reassembler = Reassembler()
    private var nextFlow: UInt64 = 1
    private var nextDatagram: UInt64 = 0
    private var closes = CloseBudget()

    /// How many flows there are.
    var flowCount: Int { places.count }

    /// The places of all flows, in no order.
    var livingPlaces: [Int32] { Array(places.values) }

    /// The place of a flow in the group's table.
    mutating func place(of number: UInt64) -> Int32? {
        // Datagrams come in runs.
        if last.number == number, last.place >= 0 { return last.place }
        guard let place = places[number] else { return nil }
        last = (number, place)
        return place
    }

    /// Gives a client's new flow a number that none has had before.
    mutating func open(at place: Int32) -> UInt64 {
        defer { nextFlow += 1 }
        places[nextFlow] = place
        return nextFlow
    }

    /// Takes a flow that the peer opens. Its number is above 0.
    mutating func admit(_ number: UInt64, at place: Int32) { places[number] = place }

    /// Forgets a flow; its number is not used again.
    mutating func forget(_ number: UInt64) {
        places[number] = nil
        if last.number == number { last = (0, -1) }
        reassembler.forget(flow: number)
    }

    /// The number of the next datagram that goes in fragments.
    mutating func numberDatagram() -> UInt64 {
        defer { nextDatagram += 1 }
        return nextDatagram
    }

    /// Whether the peer may make this end send one more frame.
    mutating func mayAnswer(_ now: Instant) -> Bool { closes.take(now) }

    // MARK: Fragments

    /// Takes a fragment; returns the datagram once it is whole, and whether the fragment was the first of its datagram,
    /// which is counted once.
    mutating func take(
        _ fragment: SharedFrame.Fragment, of number: UInt64, in record: borrowing RawSpan, now: Instant
    ) -> (whole: [UInt8]?, isFirst: Bool) {
        reassembler.handleTimeout(now: now)
        let isFirst = reassembler.isNew(fragment.datagram)
        let outcome = reassembler.take(
            flow: number, fragment: fragment, payload: record.extracting(fragment.payload), now: now)
        if case .complete(let datagram) = outcome { return (datagram, isFirst) }
        return (nil, isFirst)
    }

    /// Gives up every fragment, when the association ends.
    mutating func discardAll() { reassembler.discardAll() }

    /// When ``handleTimeout(now:)`` has to be called next.
    var deadline: Instant? { reassembler.deadline }

    /// Gives up fragments that have waited too long.
    mutating func handleTimeout(now: Instant) { reassembler.handleTimeout(now: now) }

    /// The flows of the datagrams that were given up since the last call, one entry per datagram.
    mutating func takeIncomplete() -> [UInt64] { reassembler.takeDiscarded() }
}

/// How many frames the peer can make this end send by frames that fit nothing: at most 100 in each second.
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
