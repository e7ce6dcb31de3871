// A daemon without tunnels: it says what it was given and remembers what it was told.

import Foundation
import Synchronization

@testable import Control

/// Answers at once, from the thread that asks, unless it is told to hold answers back. A busy one is a `BusyDaemon`, whose
/// counters grow each time that tunnels are asked for.
final class FakeSource: ControlSource {
    private struct State {
        var associations: [AssociationStatus]
        var questions = 0
        var actions: [String] = []
        var held: [@Sendable () -> Void] = []
        var listeners: [Int: @Sendable (ControlEvent) -> Void] = [:]
        var lastListener = 0
        var events: [ControlEvent] = []
        var looks: UInt64 = 0
    }

    private let readinessNow: Readiness
    private let holdsAnswers: Bool
    private let tunnels: [TunnelStatus]
    private let isBusy: Bool
    private let begun = Date()
    private let state: Mutex<State>

    init(
        readiness: Readiness = .ready, associations: [AssociationStatus] = sampleAssociations,
        tunnels: [TunnelStatus] = [sampleTunnel], holdsAnswers: Bool = false, isBusy: Bool = false
    ) {
        readinessNow = readiness
        self.holdsAnswers = holdsAnswers
        self.tunnels = tunnels
        self.isBusy = isBusy
        state = Mutex(State(associations: associations))
    }

    /// What it was told to do, in order.
    var actions: [String] { state.withLock { $0.actions } }
    /// How often it was asked for associations.
    var questions: Int { state.withLock { $0.questions } }
    /// How often a busy one was asked for tunnels.
    var looks: UInt64 { state.withLock { $0.looks } }
    /// How many follow its events.
    var listeners: Int { state.withLock { $0.listeners.count } }

    /// Gives the answers that it has held back so far; how many.
    func release() -> Int {
        let held = state.withLock { state in
            defer { state.held = [] }
            return state.held
        }
        for answer in held { answer() }
        return held.count
    }

    /// Tells an event to everybody who listens.
    func tell(_ message: String = "something", type: ControlEvent.Kind = .log, tunnel: String? = nil) {
        let (event, listeners) = state.withLock { state in
            var event = ControlEvent(
                id: UInt64(state.events.count + 1), time: Date(timeIntervalSince1970: 1_700_000_000), type: type,
                level: "info", message: message)
            event.tunnel = tunnel
            event.tunnels = tunnel.map { [$0] } ?? []
            state.events.append(event)
            return (event, Array(state.listeners.values))
        }
        for listener in listeners { listener(event) }
    }

    private func note(_ action: String) { state.withLock { $0.actions.append(action) } }

    private func one(_ id: String) -> AssociationStatus? {
        state.withLock { $0.associations.first { $0.id == id } }
    }

    func readiness(_ give: @escaping @Sendable (Readiness) -> Void) { give(readinessNow) }

    func status(_ give: @escaping @Sendable (DaemonStatus) -> Void) {
        guard !isBusy else { return give(BusyDaemon.status(at: begun)) }
        var status = DaemonStatus(
            version: "1.2.3", processID: 4242, startedAt: Date(timeIntervalSince1970: 1_700_000_000),
            uptimeSeconds: 60.5,
            workers: 2, openSSL: "OpenSSL 3.0.22", logLevel: "info")
        status.associations = state.withLock { $0.associations.count }
        var tunnel = DaemonStatus.Summary(
            name: "syslog", role: .client, listen: "udp://127.0.0.1:5514",
            forward: "dtls://collector.example.net:6514", state: .up)
        tunnel.protocols = ["DTLS 1.2"]
        tunnel.ciphers = ["ECDHE-ECDSA-AES128-GCM-SHA256"]
        tunnel.peers = 1
        tunnel.peerIdentities = ["DNS:collector.example.net"]
        tunnel.mode = .plain
        status.tunnels = [tunnel]
        give(status)
    }

    func tunnels(_ give: @escaping @Sendable ([TunnelStatus]) -> Void) {
        guard isBusy else { return give(tunnels) }
        let looks = state.withLock { state in
            state.looks += 1
            return state.looks
        }
        give(BusyDaemon.tunnels(at: begun, steps: looks))
    }

    func associations(_ query: PageQuery, _ give: @escaping @Sendable (Page<AssociationStatus>) -> Void) {
        let list = state.withLock { state in
            state.questions += 1
            return isBusy ? BusyDaemon.associations(at: begun, steps: state.looks) : state.associations
        }
        let candidates = list.indices.filter { query.tunnel == nil || query.tunnel == list[$0].tunnel }
        let answer: @Sendable () -> Void = {
            give(query.page(of: candidates, id: { list[$0].id }, make: { list[$0] }))
        }
        if holdsAnswers { state.withLock { $0.held.append(answer) } } else { answer() }
    }

    func association(_ id: String, _ give: @escaping @Sendable (AssociationStatus?) -> Void) { give(one(id)) }

    func flows(_ query: PageQuery, _ give: @escaping @Sendable (Page<FlowStatus>) -> Void) {
        let flow = FlowStatus(
            id: "f-1", tunnel: "syslog", service: "syslog", role: .client, mode: .plain, state: .open,
            since: Date(timeIntervalSince1970: 1_700_000_000))
        let list = query.tunnel == nil || query.tunnel == "syslog" ? [flow] : []
        give(query.page(of: list, id: { $0.id }, make: { $0 }))
    }

    func configuration(_ give: @escaping @Sendable ([UInt8]) -> Void) { give(Array("{\"daemon\":{}}\n".utf8)) }

    func metrics(associations: Bool, _ give: @escaping @Sendable (String) -> Void) {
        give("culvert_up 1\n" + (associations ? "culvert_association_up 1\n" : ""))
    }

    func subscribe(
        after: UInt64?, _ listener: @escaping @Sendable (ControlEvent) -> Void
    ) -> ControlSubscription {
        let (number, remembered) = state.withLock { state in
            state.lastListener += 1
            state.listeners[state.lastListener] = listener
            return (state.lastListener, after.map { after in state.events.filter { $0.id > after } } ?? [])
        }
        for event in remembered { listener(event) }
        return ControlSubscription { [weak self] in self?.state.withLock { $0.listeners[number] = nil } }
    }

    func close(association id: String, _ give: @escaping @Sendable (ControlOutcome<AssociationAction>) -> Void) {
        note("close \(id)")
        give(one(id) == nil ? .notFound : .done(AssociationAction(id: id)))
    }

    func ping(association id: String, _ give: @escaping @Sendable (ControlOutcome<PingResult>) -> Void) {
        note("ping \(id)")
        guard let one = one(id) else { return give(.notFound) }
        guard one.state == .established else { return give(.noAnswer("The peer did not answer within 2 s.")) }
        give(.done(PingResult(id: id, peerAddress: one.peerAddress, roundTripMilliseconds: 1.5)))
    }

    func rekey(association id: String, _ give: @escaping @Sendable (ControlOutcome<AssociationAction>) -> Void) {
        note("rekey \(id)")
        guard let one = one(id) else { return give(.notFound) }
        give(one.state == .established ? .done(AssociationAction(id: id)) : .refused("It is not established."))
    }

    func reload(_ give: @escaping @Sendable (ControlOutcome<ReloadResult>) -> Void) {
        note("reload")
        var result = ReloadResult()
        if readinessNow == .ready {
            result.applied = ["tunnel 'syslog': allow_from changed"]
        } else {
            result.errors = [.init(severity: "error", message: "unknown key 'lisen'", location: "culvert.toml:12:3")]
        }
        give(.done(result))
    }

    func drain(_ give: @escaping @Sendable (ControlOutcome<DrainResult>) -> Void) {
        note("drain")
        give(.done(DrainResult(draining: true, flows: 1)))
    }

    func setLogLevel(
        _ setting: LogLevelSetting, _ give: @escaping @Sendable (ControlOutcome<LogLevelSetting>) -> Void
    ) {
        note("log-level \(setting.level) \(setting.tunnel ?? "-")")
        give(setting.tunnel.map { $0 == "syslog" } ?? true ? .done(setting) : .notFound)
    }
}

/// Associations with ids of their own, in an order that is not theirs.
func manyAssociations(_ count: Int) -> [AssociationStatus] {
    (0..<count).reversed().map { number in
        var one = sampleAssociations[0]
        one.id = "syslog-0-\(number)"
        return one
    }
}
