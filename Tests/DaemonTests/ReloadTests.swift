// What a reload does when it cannot be carried through: workers that refuse, ports that are taken at the last moment.

import Configuration
import Control
import Synchronization
import Testing
import TestSupport
import Wire

@testable import Daemon

@Suite struct `A reload that fails` {
    /// A daemon with two workers without sockets, and what a reload needs.
    private final class Subject {
        let workers: [AccountingWorker]
        let source: DaemonSource
        let log: DaemonLog
        let file: LogFile
        private let ports: [String: UInt16]

        /// `isDraining` says whether it drains.
        init(_ tunnels: [String], isDraining: Bool = false) throws {
            ports = try Dictionary(uniqueKeysWithValues: "abc".map { ("\($0)", try FreePorts.next()) })
            workers = [try AccountingWorker(), try AccountingWorker()]
            (log, file) = try LogFile.make(.text)
            let (configuration, plans) = try Configuration.planned(Self.text(tunnels, ports))
            log.configure(.info, tunnels: configuration.logLevels)
            var state = DaemonSource.State(configuration: configuration, plans: [:], nextGroup: plans.count)
            state.isDraining = isDraining
            state.plans = Dictionary(uniqueKeysWithValues: plans.enumerated().map { ($0, $1) })
            source = try DaemonSource(
                state, workers: Workers(workers.map(\.mailbox)), messages: Mailbox(), log: log, path: nil)
            for (group, plan) in plans.enumerated() { try source.workers.add(plan, as: group) }
        }

        deinit { for worker in workers { worker.stop() } }

        func address(of tunnel: String) -> Endpoint { Endpoint(address: .loopbackIPv4, port: ports[tunnel] ?? 0) }

        /// Reloads with other tunnels, each its name and what keys it has.
        func reload(_ tunnels: [String]) throws -> ReloadResult {
            let (configuration, plans) = try Configuration.planned(Self.text(tunnels, ports))
            var result = ReloadResult()
            Reload(source: source, log: log).apply(configuration, plans, &result)
            return result
        }

        /// The names of the tunnels that run, which are the same for the workers, the groups and the configuration.
        func running() throws -> [String] {
            // What was posted before this has been taken when it is done.
            source.workers.remove(-1)
            let state = source.state.withLock { $0 }
            let groups = state.plans.mapValues { $0.tunnels.map(\.name) }
            for worker in workers { #expect(worker.groups == groups) }
            #expect(state.tunnels.map(\.plan.name) == state.configuration.tunnels.map(\.name))
            return state.tunnels.map(\.plan.name)
        }

        private static func text(_ tunnels: [String], _ ports: [String: UInt16]) -> String {
            let sections = tunnels.map { tunnel in
                let name = String(tunnel.prefix(1))
                return """
                    [[tunnel]]
                    name = "\(name)"
                    sharing = "never"
                    listen = "udp://127.0.0.1:\(ports[name] ?? 0)"
                    forward = "dtls://192.0.2.1:6514"
                    \(tunnel.dropFirst())

                    """
            }
            return "[trust.default]\nca = \"/ca.crt\"\n" + sections.joined()
        }
    }

    private static let change = " mtu = { maximum = 1400 }"

    @Test func `what had ended begins again, and it is said that it had ended`() throws {
        let subject = try Subject(["a", "b"])
        #expect(subject.log.setLevel(.debug, tunnel: "b"))
        // The second of them says no, after both have ended what there was and begun the first change.
        let isRefusing = Mutex(true)
        subject.workers[1].refuse { $0 == "c" && isRefusing.withLock { $0 } }
        let wanted = ["a" + Self.change, "b max_flows = 7", "c"]
        let result = try subject.reload(wanted)
        #expect(result.errors.map(\.message) == ["tunnel 'c': too many open files"])
        #expect(result.applied == ["tunnel 'a': as it was before; its associations begin anew"])
        #expect(result.needsRestart.isEmpty)
        #expect(try subject.running() == ["a", "b"])
        let tunnels = subject.source.state.withLock { $0.tunnels }
        #expect(tunnels.map(\.plan.settings.mtu.maximum) == [1500, 1500])
        #expect(tunnels.map(\.plan.settings.limits.maximumFlows) == [16_384, 16_384])
        #expect(!subject.workers[0].log.contains("updated b") && !subject.workers[0].log.contains("removed b"))
        // A level that was set by hand is nothing that a failed reload takes back.
        #expect(subject.log.levelsOfTunnels == ["b": .debug])
        let said = subject.file.messages
        #expect(said.contains { $0.contains("tunnel 'a': as it was before") }, "\(said)")
        #expect(
            said.last?.contains("tunnel 'c': too many open files; what had ended has begun again") == true, "\(said)")
        #expect(!said.contains { $0.contains("nothing was changed") })

        isRefusing.withLock { $0 = false }
        let second = try subject.reload(wanted)
        #expect(second.errors.isEmpty)
        #expect(
            second.applied == [
                "tunnel 'a': mtu.maximum changed; its associations begin anew", "tunnel 'b': max_flows changed",
                "tunnel 'c': added",
            ])
        #expect(try subject.running() == ["a", "b", "c"])
    }

    @Test func `what had not to end notices nothing, and nothing was changed`() throws {
        let subject = try Subject(["a", "b"])
        subject.workers[1].refuse { $0 == "c" }
        let groups = subject.workers[0].groups
        let result = try subject.reload(["a", "b max_flows = 7", "c"])
        #expect(result.errors.count == 1 && result.applied.isEmpty)
        #expect(try subject.running() == ["a", "b"])
        #expect(subject.workers.allSatisfy { $0.groups == groups })
        #expect(subject.file.messages.last?.contains("nothing was changed") == true)
    }

    @Test func `what cannot begin again either is not in force any more, until the next reload`() throws {
        let subject = try Subject(["a", "b"])
        subject.workers[0].refuse { $0 == "a" }
        let result = try subject.reload(["a" + Self.change, "b" + Self.change])
        #expect(result.errors.count == 2, "\(result)")
        #expect(
            result.applied == [
                "tunnel 'a': ended, since it could not begin again",
                "tunnel 'b': as it was before; its associations begin anew",
            ])
        #expect(try subject.running() == ["b"])

        subject.workers[0].refuse { _ in false }
        #expect(try subject.reload(["a", "b"]).applied == ["tunnel 'a': added"])
        #expect(try subject.running() == ["a", "b"])
    }

    @Test func `a port that is taken is found before anything ends`() throws {
        let subject = try Subject(["a", "b"])
        let groups = subject.workers[0].groups
        let stranger = try UDPEndpoint(at: subject.address(of: "c"))
        let result = try subject.reload(["a" + Self.change, "c"])
        #expect(result.errors.count == 1 && result.applied.isEmpty)
        #expect(result.errors.first?.message.contains("tunnel 'c' cannot listen") == true, "\(result)")
        #expect(subject.workers.allSatisfy { $0.groups == groups })
        withExtendedLifetime(stranger) {}
    }

    @Test func `what begins again in a daemon that drains takes on nothing either`() throws {
        let subject = try Subject(["a"], isDraining: true)
        subject.workers[1].refuse { $0 == "b" }
        _ = try subject.reload(["a" + Self.change, "b"])
        #expect(try subject.running() == ["a"])
        #expect(subject.workers.allSatisfy { $0.log.last == "drains" })
    }

    @Test func `numbers of groups come again after all others, and none is given twice`() throws {
        let subject = try Subject(["a", "b"])
        var state = subject.source.state.withLock { $0 }
        state.nextGroup = 65_533
        #expect((0..<4).map { _ in state.takeNumber() } == [65_533, 65_534, 2, 3])
    }
}
