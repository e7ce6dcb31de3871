// What a reload is to do: what runs is compared with what is wanted, group by group. Groups that differ only in what
// can change while they run go on with the new settings; others that differ end and begin anew; the rest notice
// nothing.

import Configuration
import Settings

/// What has to be done to get from what runs to another configuration. It changes nothing by itself.
struct ReloadPlan {
    /// The numbers of the groups that end, in order.
    private(set) var ended: [Int] = []
    /// Groups that go on, with their new settings; their tunnels are in the order in which they run.
    private(set) var updated: [(group: Int, plan: GroupPlan)] = []
    /// Groups that begin.
    private(set) var begun: [GroupPlan] = []
    /// Sentences about what changes. Each tunnel is in one of them or in `unchanged`.
    private(set) var applied: [String] = []
    /// Tunnels that stay as they are.
    private(set) var unchanged: [String] = []
    /// Sentences about what needs a restart.
    private(set) var needsRestart: [String] = []

    /// Compares `running`, by the groups' numbers, which came from the configuration `before`, with `plans`, which were made
    /// from `after`.
    init(from running: [Int: GroupPlan], _ before: Configuration, to plans: [GroupPlan], _ after: Configuration) {
        let groups = running.sorted { $0.key < $1.key }
        let origins = Dictionary(
            groups.flatMap { number, plan in plan.tunnels.map { ($0.name, (group: number, tunnel: $0)) } }
        ) { first, _ in first }
        for plan in plans {
            let changes = plan.tunnels.map { TunnelChange(of: $0, from: origins[$0.name]) }
            // The group that the same tunnels formed before, if they did.
            let origin = Set(changes.map(\.group)).count == 1 ? changes[0].group : nil
            let old = origin.flatMap { running[$0] }.flatMap { $0.tunnels.count == plan.tunnels.count ? $0 : nil }
            let goesOn = old?.plainFirst == plan.plainFirst && old != nil && changes.allSatisfy(\.isLive)
            if goesOn, let origin, let old {
                updated.append((origin, plan.inOrder(of: old)))
            } else {
                begun.append(plan)
            }
            for change in changes {
                tell(change, goesOn ? nil : plan.newness(since: old, for: change.group.flatMap { running[$0] }))
            }
        }
        let lasting = Set(updated.map(\.group))
        ended = groups.map(\.key).filter { !lasting.contains($0) }
        let names = Set(plans.lazy.flatMap(\.tunnels).map(\.name))
        let gone = groups.flatMap(\.value.tunnels).map(\.name).filter { !names.contains($0) }
        applied += gone.map { "tunnel '\($0)': removed" }
        tellRest(before.effective, after.effective)
    }

    /// Adds the sentence about a tunnel; `newness` is why its group begins anew whatever the tunnel does, nil if the
    /// group goes on.
    private mutating func tell(_ change: TunnelChange, _ newness: String?) {
        let subject = "tunnel '\(change.tunnel.name)'"
        let keys = change.keys.isEmpty ? "" : "\(change.keys.joined(separator: ", ")) changed"
        guard let before = change.before else {
            applied.append("\(subject): added")
            return
        }
        let (was, role) = (before.settings.role, change.tunnel.settings.role)
        if was != role {
            applied.append(
                "\(subject): it was a \(was.rawValue)'s end and is a \(role.rawValue)'s now; its associations begin anew"
            )
        } else if !change.isLive {
            applied.append("\(subject): \(keys); its associations begin anew")
        } else if let newness {
            let what = keys.isEmpty ? "its" : "\(keys); its"
            applied.append("\(subject): \(what) associations begin anew, because \(newness)")
        } else if keys.isEmpty {
            unchanged.append(change.tunnel.name)
        } else {
            applied.append("\(subject): \(keys)")
        }
    }

    private mutating func tellRest(_ before: EffectiveConfiguration, _ after: EffectiveConfiguration) {
        for (kind, old, new) in [
            ("identity", before.identities, after.identities), ("trust", before.trusts, after.trusts),
        ] {
            for (name, table) in new {
                guard let before = old.first(where: { $0.name == name }), before.table != table else { continue }
                applied.append("[\(kind).\(name)] changed: it holds for handshakes from now on")
            }
        }
        for key in before.daemon.differences(from: after.daemon) {
            if DaemonSettings.liveKeys.contains(key) {
                applied.append("\(key) changed")
            } else {
                needsRestart.append("\(key) changed; restart the daemon to apply it")
            }
        }
    }
}

/// A tunnel, and what it was before.
private struct TunnelChange {
    let tunnel: TunnelPlan
    /// What it was before; nil for a new one.
    let before: TunnelPlan?
    /// The group that it was in.
    let group: Int?
    /// The keys that differ.
    let keys: [String]

    init(of tunnel: TunnelPlan, from origin: (group: Int, tunnel: TunnelPlan)?) {
        self.tunnel = tunnel
        before = origin?.tunnel
        group = origin?.group
        keys = origin?.tunnel.settings.table.differences(from: tunnel.settings.table) ?? []
    }

    /// Whether the tunnel can take all changes while it runs.
    var isLive: Bool { keys.allSatisfy(TunnelSettings.liveKeys.contains) }
}

extension GroupPlan {
    /// The group with its tunnels in the order of `running`, which has the same ones: members of a running group keep
    /// their numbers.
    fileprivate func inOrder(of running: GroupPlan) -> GroupPlan {
        let places = Dictionary(running.tunnels.enumerated().map { ($1.name, $0) }) { first, _ in first }
        return GroupPlan(tunnels: tunnels.sorted { places[$0.name] ?? 0 < places[$1.name] ?? 0 })
    }

    /// The tunnel that clients in dedicated mode get if they name none, where there may be such clients and it makes a
    /// difference. It is the only way in which the order of tunnels matters.
    fileprivate var plainFirst: String? {
        role == .server && first.settings.sharing != .always && tunnels.count > 1 ? first.name : nil
    }

    /// Why the group has to begin anew, for a tunnel that could have gone on. `old` is the group that the same tunnels
    /// formed before, if they did; `origin` is the group that the tunnel was in.
    fileprivate func newness(since old: GroupPlan?, for origin: GroupPlan?) -> String {
        let shared = role == .client ? "associations" : "address"
        guard let old else {
            if tunnels.count == 1 { return "it shares its \(shared) with no other tunnel any more" }
            return "it shares its \(shared) with other tunnels \(origin?.tunnels.count == 1 ? "now" : "than before")"
        }
        if let first = plainFirst, let before = old.plainFirst, first != before {
            return "clients in plain mode that name no tunnel get '\(first)' now, not '\(before)'"
        }
        return "a tunnel that it shares its \(shared) with has changed"
    }
}
