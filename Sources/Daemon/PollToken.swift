// What a worker's poller reports: which socket of which group, packed into 64 bits. Packing and unpacking stand side
// by side.

import Tunnel

/// One descriptor of a worker.
enum PollToken: Equatable {
    /// A socket that a group listens on.
    case listener(group: UInt16, listener: UInt16)
    /// A flow's own socket; of the flow's generation 16 bits are kept, enough to tell a late report from a timely one.
    case flow(index: Int32, generation: UInt16, group: UInt16)
    /// The worker's mailbox.
    case mailbox

    /// The token of a flow's own socket.
    static func flow(_ flow: FlowID, group: UInt16) -> PollToken {
        .flow(index: flow.index, generation: UInt16(truncatingIfNeeded: flow.generation), group: group)
    }

    /// Unpacks a token.
    init(rawValue: UInt64) {
        let group = UInt16(truncatingIfNeeded: rawValue >> 48)
        let middle = UInt16(truncatingIfNeeded: rawValue >> 32)
        let index = UInt32(truncatingIfNeeded: rawValue)
        if rawValue == .max {
            self = .mailbox
        } else if index == .max {
            self = .listener(group: group, listener: middle)
        } else {
            self = .flow(index: Int32(bitPattern: index), generation: middle, group: group)
        }
    }

    /// Packs it.
    var rawValue: UInt64 {
        switch self {
        case .listener(let group, let listener):
            UInt64(group) << 48 | UInt64(listener) << 32 | UInt64(UInt32.max)
        case .flow(let index, let generation, let group):
            UInt64(group) << 48 | UInt64(generation) << 32 | UInt64(UInt32(bitPattern: index))
        case .mailbox: .max
        }
    }
}
