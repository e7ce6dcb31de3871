// The 64 bits that a poller reports and a send batch gives back: 16 for the group, 2 for the kind, and the rest for the
// listener's number or the id of a link or flow. Packing and unpacking are side by side.

import Tunnel

/// A socket of a group.
enum GroupSocket: Equatable {
    /// A listener, by its number.
    case listener(Int)
    /// The own socket of a client's link or a server's flow.
    case own(PlaceID)
}

/// One of a worker's descriptors.
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

/// Whose datagram it was that the system did not send.
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
