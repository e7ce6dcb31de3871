// Something that has happened, in the same words and fields for the log and for those who follow the events.

import Control
import FoundationEssentials
import Logging

/// What an event is.
typealias EventKind = ControlEvent.Kind

/// An event of the daemon or of a tunnel.
struct DaemonEvent: Sendable {
    /// What has happened.
    var kind: EventKind
    /// How grave it is.
    var level: LogLevel
    /// The tunnels that it concerns: none for what concerns the daemon, several where they share an association.
    var tunnels: [String]
    /// One sentence.
    var message: String
    /// What stands in the sentence, for machines; docs/LOGGING.md lists the names.
    var fields: [String: String]
}

extension ControlEvent {
    /// The event as the control API tells it; fields that have a member there are not repeated.
    init(_ event: DaemonEvent, id: UInt64, time: Date) {
        self.init(id: id, time: time, type: event.kind, level: event.level.rawValue, message: event.message)
        tunnels = event.tunnels
        tunnel = event.tunnels.first
        fields = event.fields
        peerAddress = fields.removeValue(forKey: "peer")
        peerIdentity = fields.removeValue(forKey: "identity")
        association = fields.removeValue(forKey: "association")
        reason = fields.removeValue(forKey: "reason")
    }
}
