// What a reload is to do: what runs is compared with what is wanted, group by group. Groups that differ only in what can
// change while they run go on and are told; others that differ end and begin anew; nobody else notices.

import Configuration

/// What is to be done to come from what runs to another configuration. It changes nothing by itself.
struct ReloadPlan {
    /// The numbers of the groups that end, in order.
    private(set) var ended: [Int] = []
    /// Groups that go on, with what is new about them; their tunnels stand in the order in which they run.
    private(set) var updated: [(group: Int, plan: GroupPlan)] = []
    /// Groups that begin.
    private(set) var begun: [GroupPlan] = []
    /// Sentences about what changes. Each tunnel is in one of them or in `unchanged`.
    private(set) var applied: [String] = []
    /// Tunnels that stay as they are.
    private(set) var unchanged: [String] = []
    /// Sentences about what takes a restart.
    private(set) var needsRestart: [String] = []

    /// Compares `running`, by the groups' numbers, which came from the configuration `before`, with `plans`, which were made
    /// from `after`.
    init(from running: [Int: GroupPlan], _ before: Configuration, to plans: [GroupPlan], _ after: Configuration) {
        let groups = running.sorted { $0.key < $1.key }
        let places = groups.flatMap { number, plan in plan.tunnels.map { ($0.name, number) } }
        var remaining = Dictionary(places) { first, _ in first }
        for plan in plans {
            // Only the group that its first tunnel is in can be the one that goes on.
            let continued = remaining[plan.first.name].flatMap { number in
                running[number]?.updated(to: plan).map { (group: number, plan: $0) }
            }
            if let continued { updated.append(continued) } else { begun.append(plan) }
            for tunnel in plan.tunnels {
                let old = remaining.removeValue(forKey: tunnel.name).flatMap { running[$0] }
                tell(tunnel, of: plan, after: old, goesOn: continued != nil)
            }
        }
        let lasting = Set(updated.map(\.group))
        ended = groups.map(\.key).filter { !lasting.contains($0) }
        applied += places.map(\.0).filter { remaining[$0] != nil }.map { "tunnel '\($0)': removed" }
        tellRest(before.effective, after.effective)
    }

    private mutating func tell(_ tunnel: TunnelPlan, of group: GroupPlan, after old: GroupPlan?, goesOn: Bool) {
        let subject = "tunnel '\(tunnel.name)'"
        guard let old, let before = old.tunnel(tunnel.name) else {
            applied.append("\(subject): added")
            return
        }
        let keys = before.differences(from: tunnel)
        let changed = keys.isEmpty ? "" : "\(keys.joined(separator: ", ")) changed"
        if goesOn {
            if keys.isEmpty { unchanged.append(tunnel.name) } else { applied.append("\(subject): \(changed)") }
        } else if old.role != group.role {
            applied.append(
                "\(subject): it was a \(old.role.rawValue)'s end and is a \(group.role.rawValue)'s now; its associations begin anew"
            )
        } else if !keys.allSatisfy(TunnelPlan.isLive) {
            applied.append("\(subject): \(changed); its associations begin anew")
        } else {
            let what = keys.isEmpty ? "its" : "\(changed); its"
            applied.append("\(subject): \(what) associations begin anew, because \(group.newness(since: old))")
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
            if key == "log_level" {
                applied.append("log_level changed")
            } else {
                needsRestart.append("\(key) changed; restart the daemon to apply it")
            }
        }
    }
}

extension GroupPlan {
    /// The group with the settings of `plan` as it can have them while it runs; nil where it has to begin anew. Tunnels keep
    /// the order in which they run, since their order matters in one way only: ``plainFirst``.
    fileprivate func updated(to plan: GroupPlan) -> GroupPlan? {
        let tunnels = tunnels.compactMap { old in
            plan.tunnel(old.name).flatMap { old.differences(from: $0).allSatisfy(TunnelPlan.isLive) ? $0 : nil }
        }
        guard role == plan.role, tunnels.count == self.tunnels.count, tunnels.count == plan.tunnels.count,
            plainFirst == plan.plainFirst
        else { return nil }
        return GroupPlan(tunnels: tunnels)
    }

    /// Why the group has to begin anew after `old`, for a tunnel that could have gone on.
    fileprivate func newness(since old: GroupPlan) -> String {
        let shared = role == .client ? "associations" : "address"
        if tunnels.count != old.tunnels.count || Set(tunnels.map(\.name)) != Set(old.tunnels.map(\.name)) {
            if tunnels.count == 1 { return "it shares its \(shared) with no other tunnel any more" }
            return "it shares its \(shared) with other tunnels \(old.tunnels.count == 1 ? "now" : "than before")"
        }
        if let first = plainFirst, let before = old.plainFirst, first != before {
            return "clients in plain mode that name no tunnel get '\(first)' now, not '\(before)'"
        }
        return "a tunnel that it shares its \(shared) with has changed"
    }

    /// The tunnel that clients in plain mode get who name none, where there may be such clients and it makes a difference.
    private var plainFirst: String? {
        role == .server && first.settings.sharing != .always && tunnels.count > 1 ? first.name : nil
    }

    fileprivate func tunnel(_ name: String) -> TunnelPlan? { tunnels.first { $0.name == name } }
}

extension TunnelPlan {
    /// The keys that differ.
    fileprivate func differences(from other: TunnelPlan) -> [String] {
        settings.table.differences(from: other.settings.table)
    }

    /// Whether a key of a tunnel applies to a group that runs.
    fileprivate static func isLive(_ key: String) -> Bool {
        [
            "allow_from", "allow_peers", "flow_timeout", "max_flows", "max_associations", "max_handshakes", "oversize",
            "log_level", "reconnect.minimum", "reconnect.maximum",
        ].contains(key)
    }
}
