// Why a tunnel does not work: the last thing that was told of it, until it works again. At a server's end, why the last peer
// that called was not served.

public import DTLS
import Wire

/// What is wrong with a tunnel, and since when.
public struct TunnelProblem: Sendable {
    /// The last that has been told of it.
    public var event: TunnelEvent
    /// When the first of such events was told since the tunnel has last worked.
    public var since: Instant
}

extension TunnelEvent {
    /// Whether it says that something does not work; false if it says that it does, nil if it is about something else.
    fileprivate func isProblem(isClient: Bool) -> Bool? {
        switch self {
        case .handshakeFailed, .unanswered, .refused, .cannotShare, .unresolved, .noSocket: true
        case .ended(_, _, .alert, _), .ended(_, _, .unanswered, _): isClient ? true : nil
        case .established: false
        default: nil
        }
    }
}

extension GroupEnd where Output: ~Copyable {
    /// Looks through what has been told since it was last called.
    mutating func noteProblems(now: Instant) {
        guard noted < notices.count else { return }
        for notice in notices[noted...] {
            guard let isProblem = notice.event.isProblem(isClient: Side.isClient) else { continue }
            for member in members.indices where notice.member == nil || notice.member == member {
                // A handshake beside an association that works, or of another sender, stops nothing.
                if isProblem, works(member) { continue }
                let since = members[member].problem?.since ?? now
                members[member].problem = isProblem ? TunnelProblem(event: notice.event, since: since) : nil
            }
        }
        noted = notices.count
    }

    /// Whether the tunnel of this number has an association.
    private func works(_ member: Int) -> Bool {
        links.living.contains {
            links[$0].state == .established && (links[$0].isCommon || Int(links[$0].member) == member)
        }
    }
}
