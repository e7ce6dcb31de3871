// What both ends do alike with the frames of shared mode. Each function is given the record that holds the frame, and
// the place of the link that it came through, which has a channel.

import ContainersPreview
import DTLS
import Wire

extension GroupEnd where Output: ~Copyable {
    /// The flow of this number; where there is none, the peer is told so and the record counts as dropped.
    mutating func flow(
        ofNumber number: UInt64, at link: Int32, now: Instant
    ) -> Int32? {
        if let flow = links[link].channel?.value.place(of: number) ?? nil { return flow }
        links[link].keys.drop(.unknownFlow)
        sendClose(number, .unknownFlow, isAnswer: true, at: link, now: now)
        return nil
    }

    /// Takes a whole datagram of a flow.
    mutating func takeDatagram(
        _ payload: Range<Int>, of flow: Int32, in record: borrowing RawSpan, at link: Int32, now: Instant
    ) {
        links[link].keys.countDelivery(record.byteCount)
        deliver(record.extracting(payload), to: flow, now: now)
    }

    /// Takes a part of a flow's datagram.
    mutating func takeFragment(
        _ fragment: SharedFrame.Fragment, of flow: Int32, in record: borrowing RawSpan, at link: Int32, now: Instant
    ) {
        links[link].keys.countDelivery(record.byteCount)
        let number = flows[flow].number
        guard let (datagram, isFirst) = links[link].channel?.value.take(fragment, of: number, in: record, now: now)
        else { return }
        if !isFirst { members[Int(flows[flow].member)].counters.control &+= 1 }
        if let datagram { deliver(datagram.bytes, to: flow, now: now) }
        countIncomplete(of: link)
        // Its deadline now includes the fragments'.
        attend(link)
    }

    /// Counts a frame that carries no datagram, for a flow's tunnel or for the group's first.
    mutating func countControl(_ record: borrowing RawSpan, at link: Int32, flow: Int32? = nil) {
        links[link].keys.countDelivery(record.byteCount)
        members[flow.map { Int(flows[$0].member) } ?? 0].counters.control &+= 1
    }

    /// Tells the peer that a flow is over, or never was. `isAnswer` says that the peer has caused it: such frames are
    /// limited, so that the peer cannot make this end send without bound.
    mutating func sendClose(
        _ number: UInt64, _ reason: CloseReason, isAnswer: Bool, at link: Int32, now: Instant
    ) {
        if isAnswer, links[link].channel?.value.mayAnswer(now) != true { return }
        sendControl(FrameHeader.close(flow: number, reason), at: link)
        attendIfNeeded(link)
    }

    /// Sends a frame that carries no datagram. If the association is over, nothing is lost with it.
    mutating func sendControl(
        _ frame: FrameHeader?, at link: Int32
    ) {
        guard let frame, links[link].keys.isEstablished else { return }
        _ = seal(prefix: frame.bytes, payload: RawSpan(), mayFragment: false, at: link)
    }

    /// Forgets a flow's number.
    mutating func forget(_ number: UInt64, at link: Int32) {
        links[link].channel?.value.forget(number)
        countIncomplete(of: link)
    }

    /// Gives up the datagrams of which only a part has arrived, when the association ends.
    mutating func discardPieces(of link: Int32) {
        links[link].channel?.value.discardAll()
        countIncomplete(of: link)
    }

    /// Counts the datagrams that will never be whole.
    mutating func countIncomplete(of link: Int32) {
        guard let incomplete = links[link].channel?.value.takeIncomplete(), !incomplete.isEmpty else { return }
        for number in incomplete {
            if let flow = links[link].channel?.value.place(of: number) ?? nil {
                countDrop(.reassembly, flow: flow)
            } else {
                members[0].counters.drops.add(.reassembly)
            }
        }
    }
}
