// Who waits for the answer to a heartbeat request that was asked for by hand.

/// Those who have asked for a ping, by the flow that has the association.
struct PingWaiters {
    private var waiting: [FlowID: [(PingAnswer) -> Void]] = [:]

    /// Has one more wait for the association at `flow`.
    mutating func add(_ flow: FlowID, _ give: @escaping (PingAnswer) -> Void) {
        waiting[flow, default: []].append(give)
    }

    /// Whether somebody waits for the association at `flow`.
    func wait(for flow: FlowID) -> Bool { waiting[flow] != nil }

    /// Answers everybody who waits for the association at `flow`.
    mutating func answer(_ flow: FlowID, _ answer: PingAnswer) {
        guard !waiting.isEmpty, let all = waiting.removeValue(forKey: flow) else { return }
        for give in all { give(answer) }
    }
}
