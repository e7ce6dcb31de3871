// What stands in the 64 bits that a poller reports and a send batch gives back: which group, and which of its sockets, or whose
// datagram. Packing and unpacking stand side by side.

import Tunnel

/// A socket of a group.
enum GroupSocket: Equatable {
    /// One that the group listens on.
    case listener(Int)
    /// The own socket of a client's link or a server's flow.
    case own(PlaceID)
}

/// One descriptor of a worker.
enum PollToken: Equatable {
    /// A group's socket.
    case socket(GroupSocket, group: UInt16)
    /// The worker's mailbox.
    case mailbox

    /// Unpacks a token.
    init(rawValue: UInt64) {
        let group = UInt16(truncatingIfNeeded: rawValue >> 48)
        switch rawValue >> UInt64(PlaceID.bitWidth) & 3 {
        case 0: self = .socket(.own(PlaceID(rawValue: rawValue)), group: group)
        case 1: self = .socket(.listener(Int(rawValue & 0xffff)), group: group)
        default: self = .mailbox
        }
    }

    /// Packs it.
    var rawValue: UInt64 {
        switch self {
        case .socket(.own(let id), let group): UInt64(group) << 48 | id.rawValue
        case .socket(.listener(let number), let group):
            UInt64(group) << 48 | 1 << UInt64(PlaceID.bitWidth) | UInt64(number & 0xffff)
        case .mailbox: .max
        }
    }
}

/// Whose a datagram was that the system did not send.
struct SendToken: Equatable {
    let origin: DatagramOrigin
    let group: UInt16

    init(_ origin: DatagramOrigin, group: UInt16) {
        self.origin = origin
        self.group = group
    }

    /// Unpacks a token.
    init(rawValue: UInt64) {
        group = UInt16(truncatingIfNeeded: rawValue >> 48)
        let id = PlaceID(rawValue: rawValue)
        switch rawValue >> UInt64(PlaceID.bitWidth) & 3 {
        case 0: origin = .own(id)
        case 1: origin = .shared(id)
        default: origin = .shared(nil)
        }
    }

    /// Packs it.
    var rawValue: UInt64 {
        let (kind, id): (UInt64, UInt64) =
            switch origin {
            case .own(let id): (0, id.rawValue)
            case .shared(let id?): (1, id.rawValue)
            case .shared(nil): (2, 0)
            }
        return UInt64(group) << 48 | kind << UInt64(PlaceID.bitWidth) | id
    }
}
