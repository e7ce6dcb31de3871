// What a worker tells the control plane: as much as was asked for, made on the worker's thread and read on another.

import DTLS
import Tunnel
import Wire

/// What is wanted of the workers.
enum ReportRequest: Sendable {
    /// What every tunnel has carried, and how many associations it has in each state.
    case tunnels
    /// A page of associations.
    case associations(ReportPage)
    /// A page of flows.
    case flows(ReportPage)
}

/// Where an association or flow stands among all of the daemon's: lists are in this order.
struct ReportPosition: Comparable, Sendable {
    var group: Int
    var worker: Int
    var serial: UInt64

    static func < (left: ReportPosition, right: ReportPosition) -> Bool {
        (left.group, left.worker, left.serial) < (right.group, right.worker, right.serial)
    }
}

/// Which part of a list is wanted.
struct ReportPage: Sendable {
    /// The position after which it begins.
    var after: ReportPosition?
    /// The most elements that it has; each worker gives up to this many.
    var limit = Int.max
    /// The one tunnel that is wanted; nil for all.
    var tunnel: (group: Int, member: Int)?
}

extension ReportPage {
    /// Which part of a group on a worker is on the page; nil if none is.
    func part(of group: Int, worker: Int) -> SnapshotPage? {
        if let tunnel, tunnel.group != group { return nil }
        var part = SnapshotPage(limit: limit, member: tunnel?.member)
        if let after {
            if (after.group, after.worker) == (group, worker) { part.after = after.serial }
            // What comes before is counted, but not shown.
            if (after.group, after.worker) > (group, worker) { part.after = .max }
        }
        return part
    }
}

/// One group on one worker.
struct GroupReport: Sendable {
    let group: Int
    let worker: Int
    let takenAt: Instant
    var members: [MemberTally] = []
    var associations: [AssociationSnapshot] = []
    var flows: [FlowSnapshot] = []
    /// In a report of flows: for each tunnel, whether the peer refuses its service.
    var isRefused: [Bool] = []
    /// How many associations or flows there are in all, on this page or not.
    var total = 0
}
