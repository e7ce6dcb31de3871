// What a worker's poller reports: which socket of which tunnel, packed into 64 bits. Packing and unpacking stand side
// by side.

import Tunnel

/// One descriptor of a worker.
enum PollToken: Equatable {
    /// A tunnel's shared socket.
    case shared(tunnel: UInt16)
    /// A flow's own socket; of the flow's generation 16 bits are kept, enough to tell a late report from a timely one.
    case flow(index: Int32, generation: UInt16, tunnel: UInt16)
    /// The worker's mailbox.
    case mailbox

    /// The token of a flow's own socket.
    static func flow(_ flow: FlowID, tunnel: UInt16) -> PollToken {
        .flow(index: flow.index, generation: UInt16(truncatingIfNeeded: flow.generation), tunnel: tunnel)
    }

    /// Unpacks a token.
    init(rawValue: UInt64) {
        let tunnel = UInt16(truncatingIfNeeded: rawValue >> 48)
        let index = UInt32(truncatingIfNeeded: rawValue)
        if rawValue == .max {
            self = .mailbox
        } else if index == .max {
            self = .shared(tunnel: tunnel)
        } else {
            self = .flow(
                index: Int32(bitPattern: index), generation: UInt16(truncatingIfNeeded: rawValue >> 32), tunnel: tunnel)
        }
    }

    /// Packs it.
    var rawValue: UInt64 {
        switch self {
        case .shared(let tunnel): UInt64(tunnel) << 48 | UInt64(UInt32.max)
        case .flow(let index, let generation, let tunnel):
            UInt64(tunnel) << 48 | UInt64(generation) << 32 | UInt64(UInt32(bitPattern: index))
        case .mailbox: .max
        }
    }
}
