// The logs of a group's tunnels on one worker. What concerns all of them is told once, in the names of all.

import Tunnel

/// Tells what happens in a group.
final class GroupLog: Sendable {
    /// The log of the group as a whole.
    let whole: TunnelLog
    private let logs: [TunnelLog]

    init(_ plan: GroupPlan, _ log: DaemonLog) {
        whole = TunnelLog(plan, log)
        logs = plan.tunnels.map { TunnelLog($0, log) }
    }

    /// Tells of everything that a core has to tell.
    func tell(_ notices: [TunnelNotice]) {
        for notice in notices { of(notice.member).tell(notice.event) }
    }

    /// The log of the group's tunnel of this number, or of the whole.
    func of(_ member: Int?) -> TunnelLog { member.map { logs[$0] } ?? whole }
}
