// How the workers of a client find out what their peer is without each of them asking.
//
// Every worker has a group for the same peer. One of them finds out; the others have no association until a flow of
// theirs needs one, and ask the one that finds out:
//   1. a peer with shared mode is then dialled for the flows of that worker;
//   2. if the peer has no shared mode, the association that was made to find out serves the first flow that needs one,
//      on whatever worker: it is handed over as it is. A peer may serve one client at a time, and end with its first.

import ContainersPreview
public import DTLS
import Wire

/// Which mode a peer has.
public enum PeerMode: Sendable {
    /// One association carries every flow.
    case shared
    /// Each flow has its own association.
    case dedicated
}

/// An association that no flow has, on its way from one worker to another.
public struct SpareAssociation<Engine: HandshakeEngine>: ~Copyable {
    var keys: KeyGenerations<Engine>
    let peer: Endpoint
    let establishedAt: Instant?
    let attempts: Int32
}

extension GroupEnd where Side == ClientSide, Output: ~Copyable {
    // MARK: On the worker that finds out

    /// What the peer is, once that is known.
    public var peerMode: PeerMode? {
        switch side.mode {
        case .unknown: nil
        case .shared: .shared
        case .dedicated: .dedicated
        }
    }

    /// Finds out what the peer is, unless that is known or under way.
    public mutating func findOut(now: Instant) {
        if side.mode == .unknown { wakeCommon(now: now) }
        settle(now: now)
    }

    /// The id of the link whose association no flow needs.
    public var spare: PlaceID? {
        guard side.common >= 0, links[side.common].use == .spare, links[side.common].keys.isEstablished else {
            return nil
        }
        return links.id(side.common)
    }

    /// Gives the association away that ``spare`` names; its socket goes with it.
    public mutating func takeSpare() -> SpareAssociation<Engine>? {
        guard spare != nil else { return nil }
        let link = side.common
        var keys = KeyGenerations<Engine>()
        swap(&keys, &links[link].keys)
        let given = SpareAssociation(
            keys: keys, peer: peer(of: link), establishedAt: links[link].establishedAt, attempts: links[link].attempts)
        remove(link: link)
        return given
    }

    // MARK: On the others

    /// Whether the worker that finds out is to be asked; true once.
    public mutating func takeQuestion() -> Bool {
        guard side.question == .wanted else { return false }
        side.question = .asked
        return true
    }

    /// Takes the answer. With an association comes `attach`, which gives its socket to the link of the id that it is
    /// called with.
    public mutating func learn(
        _ mode: PeerMode, _ spare: consuming SpareAssociation<Engine>?,
        attach: (inout Output, PlaceID) -> Bool, now: Instant
    ) {
        side.question = .none
        if side.mode == .unknown { side.mode = mode == .shared ? .shared : .dedicated }
        var waiting = flows.living.filter { flows[$0].link < 0 && !flows[$0].waiting.isEmpty }
        if let spare = spare.take() {
            let link = adopt(spare, attach: attach, now: now)
            if waiting.isEmpty {
                remove(link: link)
            } else {
                bind(waiting.removeFirst(), to: link)
                if let flow = links[link].flow { sendWaiting(of: flow, now: now) }
            }
        }
        for flow in waiting { wakeLink(of: flow, now: now) }
        settle(now: now)
    }

    private mutating func adopt(
        _ spare: consuming SpareAssociation<Engine>, attach: (inout Output, PlaceID) -> Bool, now: Instant
    ) -> Int32 {
        let link = addLink(in: .dedicated, use: .dedicated(flow: -1), now: now)
        links[link].peer = spare.peer
        links[link].establishedAt = spare.establishedAt
        links[link].attempts = spare.attempts
        links[link].state = .established
        links[link].keys = spare.keys
        if !attach(&output, links.id(link)) { links[link].keys.current?.value.close() }
        attend(link)
        return link
    }
}
