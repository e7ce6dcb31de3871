// What can be done to one association on command.

import DTLS
import Tunnel

/// What is to be done.
enum AssociationAct: Sendable {
    case close
    case ping
    case rekey
}

/// What came of it.
enum ActOutcome: Sendable {
    case done
    /// The round trip of a ping, and what is known of the path.
    case answered(Duration, AssociationSnapshot)
    /// The heartbeat of a ping was lost.
    case unanswered
    case notFound
    case refused(String)
}
