// How a configuration is put in force in a running daemon: all of it or, if some part cannot be, none of it. What can
// be known to fail is found before anything ends. What still fails after groups have ended to make room is undone:
// these groups begin again as they were, and the result says whose associations that has cost.

import Configuration
import Control
import Logging
import Synchronization
import Wire

/// Changes what runs. Used on the supervisor's thread.
struct Reload {
    let source: DaemonSource
    let log: DaemonLog

    /// Puts `configuration`, for which `plans` were made, in force, and tells of it in `result` and the log.
    func apply(_ configuration: Configuration, _ plans: [GroupPlan], _ result: inout ReloadResult) {
        let before = source.state.withLock { $0 }
        let plan = ReloadPlan(from: before.plans, before.configuration, to: plans, configuration)
        let ending = plan.ended.compactMap { before.plans[$0] }
        result.errors += obstacles(to: plan.begun, besides: ending)
        guard result.errors.isEmpty else { return fail(result) }

        let (level, levels) = (log.level, log.levelsOfTunnels)
        log.configure(LogLevel(configuration.daemon.logLevel), tunnels: configuration.logLevels)
        var after = before
        after.configuration = configuration
        // What needs a restart is not in force until then, and is named each time.
        after.configuration.daemon = before.configuration.daemon
        after.configuration.daemon.logLevel = configuration.daemon.logLevel
        for group in plan.ended { end(group, &after) }
        do throws(WorkerFailure) {
            try begin(plan.begun, &after)
        } catch {
            after.configuration = before.configuration
            let names = before.configuration.tunnels.map(\.name)
            log.configure(level, tunnels: Dictionary(names.map { ($0, levels[$0]) }) { first, _ in first })
            result.errors.append(ConfigurationDiagnostic(severity: "error", message: error.description))
            beginAgain(ending, &after, &result)
            source.state.withLock { $0 = after }
            return fail(result)
        }
        for (group, updated) in plan.updated {
            source.workers.update(updated, group: group)
            after.plans[group] = updated
        }
        source.state.withLock { $0 = after }
        result.applied = plan.applied
        result.unchanged = plan.unchanged
        result.needsRestart = plan.needsRestart
        succeed(result)
    }

    /// Why groups cannot begin, as far as that can be known while the groups that are `ending` still run.
    private func obstacles(to groups: [GroupPlan], besides ending: [GroupPlan]) -> [ConfigurationDiagnostic] {
        let leaving = Dictionary(grouping: ending.flatMap(\.listeners).map(\.settings.listen.value), by: \.port)
        return groups.flatMap(\.listeners).compactMap { tunnel in
            let address = tunnel.settings.listen.value
            if leaving[address.port]?.contains(where: { $0.overlaps(address) }) == true { return nil }
            do throws(WorkerFailure) { try tunnel.checkFree() } catch {
                return ConfigurationDiagnostic(severity: "error", message: error.description)
            }
            return nil
        }
    }

    private func end(_ group: Int, _ state: inout DaemonSource.State) {
        source.workers.remove(group)
        state.plans[group] = nil
    }

    /// Begins groups; if one of them cannot begin, none does.
    private func begin(_ plans: [GroupPlan], _ state: inout DaemonSource.State) throws(WorkerFailure) {
        var begun: [Int] = []
        do throws(WorkerFailure) {
            for plan in plans { try plan.checkFree() }
            for plan in plans {
                let number = state.takeNumber()
                try source.workers.add(plan, as: number)
                state.plans[number] = plan
                begun.append(number)
            }
        } catch {
            for group in begun { end(group, &state) }
            throw error
        }
        if state.isDraining { source.workers.drain() }
    }

    /// Begins again what has ended in vain. A tunnel that cannot begin is no longer in force.
    private func beginAgain(
        _ plans: [GroupPlan], _ state: inout DaemonSource.State, _ result: inout ReloadResult
    ) {
        for plan in plans {
            let names = plan.tunnels.map(\.name)
            do throws(WorkerFailure) {
                try begin([plan], &state)
                result.applied += names.map { "tunnel '\($0)': as it was before; its associations begin anew" }
            } catch {
                result.errors.append(ConfigurationDiagnostic(severity: "error", message: error.description))
                result.applied += names.map { "tunnel '\($0)': ended, since it could not begin again" }
                state.configuration.tunnels.removeAll { names.contains($0.name) }
            }
        }
    }

    // MARK: Telling

    private func succeed(_ result: ReloadResult) {
        for sentence in result.applied { log.write(.notice, "reload: \(sentence)") }
        for sentence in result.needsRestart { log.write(.warning, "reload: \(sentence)") }
        let changes =
            switch result.applied.count {
            case 0: "no setting was changed; keys and certificates were read again"
            case 1: "one change"
            case let count: "\(count) changes"
            }
        log.tell(.reloaded, .notice, nil, "reloaded: \(changes)")
    }

    private func fail(_ result: ReloadResult) {
        for error in result.errors.dropFirst() { log.write(.error, error.message) }
        for sentence in result.applied { log.write(.warning, "reload: \(sentence)") }
        let outcome = result.applied.isEmpty ? "nothing was changed" : "what had ended has begun again where it could"
        log.tell(.reloadFailed, .error, nil, "\(result.errors.first?.message ?? "reload"); \(outcome)")
    }
}

extension Configuration {
    /// The levels of tunnels; nil for those that have none of their own.
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
