// What a reload does: the configuration and every file that it names are read anew and compared with what is in force, group by
// group. Where something is wrong, nothing changes at all. Groups that have changed in what can change while they run are
// told; others that have changed are ended and begun anew; nobody else notices.

import Configuration
import Control
import LinuxIO
import Logging

/// What is to be done to come from one configuration to another.
struct ReloadPlan {
    /// Groups that end.
    var ended: [Int] = []
    /// Groups that go on, with what is new about them.
    var updated: [(group: Int, plan: GroupPlan)] = []
    /// Groups that begin.
    var begun: [GroupPlan] = []
    /// Sentences about what changes.
    var applied: [String] = []
    /// Tunnels that stay as they are.
    var unchanged: [String] = []
    /// Sentences about what takes a restart.
    var needsRestart: [String] = []

    /// Compares what is in force with `plans`, which were made from `configuration`.
    init(from state: DaemonSource.State, to configuration: Configuration, _ plans: [GroupPlan]) {
        var remaining = state.plans
        for plan in plans {
            let old = remaining.first { $0.value.tunnels.map(\.name) == plan.tunnels.map(\.name) }
            guard let (group, before) = old, before.role == plan.role else {
                begun.append(plan)
                continue
            }
            remaining[group] = nil
            let changes = zip(before.tunnels, plan.tunnels).map { before, after in
                (name: after.name, keys: before.settings.table.differences(from: after.settings.table))
            }
            tell(changes)
            if changes.allSatisfy({ $0.keys.allSatisfy(Self.isLive) }) {
                updated.append((group, plan))
            } else {
                ended.append(group)
                begun.append(plan)
            }
        }
        ended += remaining.keys
        tellTunnels(state, plans)
        tellDaemon(state.configuration, configuration)
    }

    private mutating func tell(_ changes: [(name: String, keys: [String])]) {
        // A group that begins anew takes along those of its tunnels that have not changed.
        let isEnded = changes.contains { !$0.keys.allSatisfy(Self.isLive) }
        for (name, keys) in changes {
            if keys.isEmpty, isEnded {
                applied.append("tunnel '\(name)': begun anew, because it shares associations with one that has changed")
            } else if keys.isEmpty {
                unchanged.append(name)
            } else {
                let how = isEnded ? "; its associations begin anew" : ""
                applied.append("tunnel '\(name)': \(keys.joined(separator: ", ")) changed\(how)")
            }
        }
    }

    private mutating func tellTunnels(_ state: DaemonSource.State, _ plans: [GroupPlan]) {
        let old = Set(state.configuration.tunnels.map(\.name))
        let new = Set(plans.flatMap { $0.tunnels.map(\.name) })
        applied += new.subtracting(old).sorted().map { "tunnel '\($0)': added" }
        applied += old.subtracting(new).sorted().map { "tunnel '\($0)': removed" }
        // What has come to share with others, or no longer does.
        let told = Set(unchanged + applied.compactMap { $0.split(separator: "'").dropFirst().first.map(String.init) })
        applied += new.intersection(old).subtracting(told).sorted().map {
            "tunnel '\($0)': begun anew, because other tunnels share its associations than before"
        }
    }

    private mutating func tellDaemon(_ old: Configuration, _ new: Configuration) {
        let (before, after) = (old.effective, new.effective)
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

    /// Whether a key of a tunnel applies to a group that runs.
    private static func isLive(_ key: String) -> Bool {
        [
            "allow_from", "allow_peers", "flow_timeout", "max_flows", "max_associations", "max_handshakes", "oversize",
            "log_level", "reconnect.minimum", "reconnect.maximum",
        ].contains(key)
    }
}

extension Configuration {
    /// The levels of tunnels, nil for those without one of their own.
    var logLevels: [String: LogLevel?] {
        Dictionary(tunnels.map { ($0.name, $0.logLevel.map { LogLevel($0) }) }) { first, _ in first }
    }
}

extension ConfigurationDiagnostic {
    init(_ diagnostic: Diagnostic) {
        self.init(
            severity: diagnostic.severity == .error ? "error" : "warning", message: diagnostic.message,
            location: "\(diagnostic.location)")
    }
}
