// Remembers where UDP_SEGMENT does not work: an interface without checksum offload (EIO), a path whose MTU is
// smaller than the segments (EINVAL, EMSGSIZE). It remembers per destination and size, so that one flow of large
// datagrams, which can only go as IP fragments, costs the others nothing; and not for ever, since routes change.

internal import Glibc
internal import Wire

/// A small table of refusals. If it forgets one, a message is refused, and its datagrams sent one by one, once more.
@safe struct SegmentationRefusals: ~Copyable {
    private struct Refusal {
        var descriptor: CInt = -1
        var address = IPAddress.anyIPv6
        var smallestSegment = 0
        var expires: UInt64 = 0
    }

    private static let capacity = 64
    private static let lifetime: UInt64 = 4096
    private let refusals: UnsafeMutablePointer<Refusal>
    private var lastExpires: UInt64 = 0

    init() {
        unsafe refusals = .allocate(capacity: Self.capacity)
        unsafe refusals.initialize(repeating: Refusal(), count: Self.capacity)
    }

    deinit { unsafe refusals.deallocate() }

    /// Whether messages of segments of `size` bytes are known not to work; `flush` is the number of this flush.
    func covers(_ descriptor: CInt, _ address: IPAddress, size: Int, flush: UInt64) -> Bool {
        guard flush < lastExpires else { return false }
        let refusal = unsafe refusals[Self.index(descriptor, address)]
        return refusal.descriptor == descriptor && refusal.address == address && flush < refusal.expires
            && size >= refusal.smallestSegment
    }

    /// Notes that a message of segments of `size` bytes was refused with `code`, but its datagrams were not.
    mutating func insert(_ descriptor: CInt, _ address: IPAddress, size: Int, code: CInt, flush: UInt64) {
        lastExpires = flush &+ Self.lifetime
        unsafe refusals[Self.index(descriptor, address)] = Refusal(
            descriptor: descriptor, address: address, smallestSegment: code == EIO ? 0 : size, expires: lastExpires)
    }

    private static func index(_ descriptor: CInt, _ address: IPAddress) -> Int {
        let mixed = (address.high ^ address.low &+ UInt64(truncatingIfNeeded: descriptor)) &* 0x9e37_79b9_7f4a_7c15
        return Int(truncatingIfNeeded: mixed >> 58)
    }
}
