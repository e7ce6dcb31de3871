// What is wrong, in the words of the log and of the status alike.

import DTLS
import Tunnel
import Wire

extension TunnelEvent {
    /// What has happened and what can be done about it, in one sentence; empty for what says nothing of a failure.
    var text: String {
        switch self {
        case .handshakeFailed(let peer, let failure, _): "handshake with \(peer) failed: \(failure.explanation)"
        case .unanswered(let peer): "\(peer) has not answered yet: \(HandshakeFailure.silenceAdvice)"
        case .refused(let peer, let identity, .identity):
            "refused \(peer): \(identity) is not in allow_peers; add it there if it should be let in"
        case .refused(let peer, let identity, .source):
            "refused \(peer) (\(identity)): \(peer.address) is not in allow_from; add it there if it should be let in"
        case .ended(let peer, let identity, let end, _):
            "association with \(peer)\(identity.map { " (\($0))" } ?? "") ended: \(end.text)"
        case .cannotShare(let peer):
            "refused \(peer): it has no shared mode, and sharing is \"always\"; run culvert with sharing there, or set sharing = \"auto\" here"
        case .unresolved(let name, _): "no address for \(name)"
        case .noSocket(let remote): "cannot open a socket to \(remote): out of file descriptors, or no route to it"
        default: ""
        }
    }
}

extension AssociationEnd {
    /// Why an association is over, and what can be done about it.
    var text: String {
        switch self {
        case .handshakeFailed(let failure): failure.explanation
        case .closedByPeer: "the peer closed it"
        case .alert(let alert):
            "the peer sent alert \(alert)" + (HandshakeFailure.advice(for: alert).map { "; \($0)" } ?? "")
        case .closed: "closed by this end"
        case .exhausted: "all sequence numbers are used"
        case .unanswered: "the peer is gone: it answers no heartbeats"
        case .noAddress: "this host's address, from which it was sent, is gone"
        case .replaced(let identity): "another peer has authenticated at its address: \(identity)"
        }
    }

    /// Whether the peer does not let this end in.
    var isRefusal: Bool { self == .alert(.accessDenied) }
}
