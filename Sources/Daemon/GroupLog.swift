// The logs of a group's tunnels on one worker. What concerns all of them is told once, with all their names.

import Tunnel

/// Tells what happens in a group.
final class GroupLog: Sendable {
    /// The log of the group as a whole.
    let whole: TunnelLog
    private let logs: [TunnelLog]
    private let plan: GroupPlan
    private let group: Int
    private let worker: Int
    private let log: DaemonLog

    /// The log of `plan`'s group, which has the number `group`, on the worker number `worker`.
    init(_ plan: GroupPlan, group: Int, worker: Int, _ log: DaemonLog) {
        self.plan = plan
        self.group = group
        self.worker = worker
        self.log = log
        whole = TunnelLog(plan, log)
        logs = plan.tunnels.map { TunnelLog($0, log) }
    }

    /// The log of the same group with changed settings.
    func renewed(for plan: GroupPlan) -> GroupLog { GroupLog(plan, group: group, worker: worker, log) }

    /// Tells everything that a core has to tell.
    func tell(_ notices: [TunnelNotice]) {
        for notice in notices {
            let association = notice.association.map {
                ReportPosition(group: group, worker: worker, serial: $0).text(plan)
            }
            of(notice.member).tell(notice.event, association: association)
        }
    }

    /// The log of the group's tunnel of this number, or of the whole.
    func of(_ member: Int?) -> TunnelLog { member.map { logs[$0] } ?? whole }
}
