// One mode's measurement: batches of datagrams through both cores, step by step, so that each step has its own counts.

import CCounting
@preconcurrency import Glibc
import Settings
import Tunnel

/// The measurement of one mode.
struct DataPathMeasurement {
    /// What is done for each batch.
    private enum Step: UInt32, CaseIterable {
        /// From a local sender to a sealed record.
        case clientSeals
        /// From that to the target's datagram.
        case serverOpens
        /// From the target's answer to a sealed record.
        case serverSeals
        /// From that to the sender's datagram.
        case clientOpens
        /// What both cores do once in a batch, whatever has come; counted for each core.
        case wakeUp

        var name: String {
            switch self {
            case .clientSeals: "client seals"
            case .serverOpens: "server opens"
            case .serverSeals: "server seals"
            case .clientOpens: "client opens"
            case .wakeUp: "wake-up"
            }
        }
    }

    private let mode: String
    private let command: DataPathCount

    init(_ command: DataPathCount, _ mode: String) {
        self.command = command
        self.mode = mode
    }

    /// Carries the datagrams and returns what each step has cost, by its name.
    func run(_ sharing: SharingPolicy) throws -> [String: StepCounts] {
        var pair = try CorePair(sharing: sharing, senders: command.senders, byteCount: command.bytes)
        try pair.establish()
        // The first batches find tables and caches at their final size.
        for _ in 0..<64 { carryBatch(&pair) }
        culvert_counting_reset()
        let before = pair.returned
        let batches = max(command.datagrams / 2 / command.batch, 1)
        for _ in 0..<batches { carryBatch(&pair) }
        let expected = batches * command.batch
        guard pair.spoilt == 0, pair.returned - before == expected else {
            throw CountError(
                "\(mode): \(pair.returned - before) of \(expected) datagrams came back, \(pair.spoilt) were spoilt")
        }
        var results: [String: StepCounts] = [:]
        for step in Step.allCases { results[step.name] = counts(of: step, batches: batches) }
        if command.sites { printSites(batches: batches) }
        return results
    }

    private func carryBatch(_ pair: inout CorePair) {
        culvert_counting_begin(Step.clientSeals.rawValue, command.sites)
        pair.sendBatch(command.batch)
        culvert_counting_begin(Step.serverOpens.rawValue, command.sites)
        pair.deliverToServer()
        culvert_counting_begin(Step.serverSeals.rawValue, command.sites)
        pair.answer()
        culvert_counting_begin(Step.clientOpens.rawValue, command.sites)
        pair.deliverToClient()
        culvert_counting_end()
        pair.collect()
        culvert_counting_begin(Step.wakeUp.rawValue, command.sites)
        pair.wakeUp()
        culvert_counting_end()
    }

    private func counts(of step: Step, batches: Int) -> StepCounts {
        func value(_ kind: culvert_count) -> Double {
            rounded(Double(culvert_counting_value(step.rawValue, kind)) / count(of: step, batches: batches))
        }
        return StepCounts(
            allocations: value(CULVERT_COUNT_ALLOCATIONS), objects: value(CULVERT_COUNT_OBJECTS),
            retains: value(CULVERT_COUNT_RETAINS), releases: value(CULVERT_COUNT_RELEASES),
            accesses: value(CULVERT_COUNT_ACCESSES))
    }

    /// How often a step was taken: for each datagram, or for each core that was woken.
    private func count(of step: Step, batches: Int) -> Double {
        Double(step == .wakeUp ? 2 * batches : command.batch * batches)
    }

    private func printSites(batches: Int) {
        let kinds = [
            CULVERT_COUNT_ALLOCATIONS.rawValue: "allocation", CULVERT_COUNT_OBJECTS.rawValue: "object",
            CULVERT_COUNT_RETAINS.rawValue: "retain", CULVERT_COUNT_RELEASES.rawValue: "release",
            CULVERT_COUNT_ACCESSES.rawValue: "access",
        ]
        var site = culvert_count_site()
        var index: UInt32 = 0
        while culvert_counting_site(index, &site) {
            index += 1
            guard let step = Step(rawValue: site.step) else { continue }
            let each = rounded(Double(site.count) / count(of: step, batches: batches))
            guard each >= 0.01, let kind = kinds[site.kind.rawValue] else { continue }
            // One before the return address is inside the call, whose line is wanted.
            let address = String(site.address == 0 ? 0 : site.address - 1, radix: 16)
            fputs("\(mode)\t\(step.name)\t\(kind)\t\(each)\t0x\(address)\n", stderr)
        }
    }
}
