// A range of addresses as administrators write it.

/// An IP prefix such as `192.0.2.0/24`; a bare address is a prefix of full length.
public struct IPPrefix: Hashable, Sendable {
    /// The first address of the range; bits beyond `length` are zero.
    public let address: IPAddress
    /// Significant bits of the 128-bit form: an IPv4 `/24` is 120 here.
    public let length: Int

    /// Whether `other` lies in this range.
    public func contains(_ other: IPAddress) -> Bool {
        let mask = Self.mask(length)
        return other.high & mask.high == address.high && other.low & mask.low == address.low
    }

    private static func mask(_ length: Int) -> (high: UInt64, low: UInt64) {
        // Smart shifts: a shift by 64 or more yields zero.
        (length >= 64 ? .max : ~(UInt64.max >> length), length <= 64 ? 0 : ~(UInt64.max >> (length - 64)))
    }
}

extension IPPrefix: CustomStringConvertible {
    /// Reads `192.0.2.0/24`, `2001:db8::/32` or a bare address. Bits set beyond the length are refused: they are more
    /// often a mistake than intended.
    public init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = IPAddress(parts[0]) else { return nil }
        let bits = address.isIPv4 && !parts[0].utf8.contains(UInt8(ascii: ":")) ? 32 : 128
        var length = bits
        if parts.count == 2 {
            guard (1...3).contains(parts[1].utf8.count), parts[1].utf8.allSatisfy({ (48...57).contains($0) }),
                let value = Int(parts[1]), value <= bits
            else { return nil }
            length = value
        }
        length += 128 - bits
        let mask = Self.mask(length)
        guard address.high & ~mask.high == 0, address.low & ~mask.low == 0 else { return nil }
        self.address = address
        self.length = length
    }

    /// The text form, with the length of its family.
    public var description: String {
        address.isIPv4 && length >= 96 ? "\(address)/\(length - 96)" : "\(address)/\(length)"
    }
}
