// Fuzzes reassembly with fragments in any order and of any kind, some lost time and some closed flows: the bounds hold, every
// datagram ends once, and a whole one has exactly the bytes that its fragments brought.

import DTLS
import Tunnel
import Wire

/// One input, seven bytes a step; 0 says that it was looked at.
@c(LLVMFuzzerTestOneInput)
public func fuzzReassembler(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let steps = UnsafeBufferPointer(start: start, count: count)
    var reassembler = Reassembler()
    var now = Instant(nanoseconds: 0)
    var parts: [UInt64: [(offset: Int, bytes: [UInt8])]] = [:]
    var begun: Set<UInt64> = []
    var ends = 0
    for step in stride(from: 0, through: count - 7, by: 7) {
        let flow = UInt64(steps[step] & 3) + 1
        let id = UInt64(steps[step + 1])
        let offset = Int(steps[step + 3]) << 8 | Int(steps[step + 4])
        let size = Int(steps[step + 5]) << 8 | Int(steps[step + 6])
        if steps[step] & 0x80 != 0 { now = now + .milliseconds(size) }
        switch steps[step] >> 4 & 7 {
        case 0: reassembler.handleTimeout(now: now)
        case 1: reassembler.forget(flow: flow)
        default:
            let bytes = [UInt8](repeating: steps[step + 2], count: size)
            let isLast = steps[step] & 4 != 0
            let fragment = SharedFrame.Fragment(datagram: id, offset: offset, isLast: isLast, payload: 0..<0)
            let outcome = reassembler.take(flow: flow, fragment: fragment, payload: bytes.bytes, now: now)
            if outcome != .discarded(.late) { begun.insert(id) }
            switch outcome {
            case .incomplete: parts[id, default: []].append((offset, bytes))
            case .complete(let whole):
                let all = (parts.removeValue(forKey: id) ?? []) + [(offset, bytes)]
                precondition(whole == all.sorted { $0.offset < $1.offset }.flatMap(\.bytes))
                precondition(whole.count == all.map { $0.offset + $0.bytes.count }.max())
                ends += 1
            case .discarded: break
            }
        }
        ends += reassembler.takeDiscarded().count
        precondition(ends + reassembler.count == begun.count)
        precondition(reassembler.byteCount <= Reassembler.maximumBytes)
        precondition(reassembler.count <= Reassembler.maximumDatagrams)
        precondition((reassembler.deadline == nil) == (reassembler.count == 0))
        precondition((reassembler.byteCount == 0) == (reassembler.count == 0))
    }
    return 0
}
