// An IP address as a plain value: 16 bytes, compared, hashed and printed without a system call. IPv4 is kept in its
// IPv4-mapped form (RFC 4291 §2.5.5.2), so that a peer that reaches a dual-stack socket has only one spelling. The
// parser and the writer of the text form stand side by side.

/// An IPv4 or IPv6 address.
public struct IPAddress: Hashable, Sendable {
    /// The first 8 bytes of the 16-byte form, as a big-endian number.
    public let high: UInt64
    /// The last 8 bytes of the 16-byte form, as a big-endian number.
    public let low: UInt64

    /// Makes an address from the two halves of its 16-byte form.
    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// Makes an IPv4 address from its 32 bits, most significant byte first.
    public init(ipv4 bits: UInt32) {
        self.init(high: 0, low: 0xffff_0000_0000 | UInt64(bits))
    }

    /// `0.0.0.0`.
    public static let anyIPv4 = IPAddress(ipv4: 0)
    /// `::`.
    public static let anyIPv6 = IPAddress(high: 0, low: 0)
    /// `127.0.0.1`.
    public static let loopbackIPv4 = IPAddress(ipv4: 0x7f00_0001)
    /// `::1`.
    public static let loopbackIPv6 = IPAddress(high: 0, low: 1)

    /// Whether this is an IPv4 address, IPv4-mapped ones included.
    public var isIPv4: Bool { high == 0 && low >> 32 == 0xffff }

    /// The 32 bits of an IPv4 address; meaningless for another.
    public var ipv4Bits: UInt32 { UInt32(truncatingIfNeeded: low) }

    /// Whether this is the unspecified address of its family.
    public var isUnspecified: Bool { self == .anyIPv6 || self == .anyIPv4 }

    /// Whether datagrams to this address stay on this host.
    public var isLoopback: Bool { isIPv4 ? ipv4Bits >> 24 == 127 : self == .loopbackIPv6 }

    /// Whether the address is link-local, so that it means something only together with a scope.
    public var isLinkLocal: Bool { isIPv4 ? ipv4Bits >> 16 == 0xa9fe : high >> 54 == 0x3fa }
}

// MARK: - Text

extension IPAddress: CustomStringConvertible {
    /// Reads dotted-quad IPv4 or RFC 4291 §2.2 IPv6, without brackets, scope or prefix length.
    public init?(_ text: some StringProtocol) {
        if text.utf8.contains(UInt8(ascii: ":")) {
            guard let groups = Self.ipv6Groups(text) else { return nil }
            self.init(
                high: groups[0..<4].reduce(0) { $0 << 16 | UInt64($1) },
                low: groups[4..<8].reduce(0) { $0 << 16 | UInt64($1) })
        } else {
            guard let bits = Self.ipv4Bits(text) else { return nil }
            self.init(ipv4: bits)
        }
    }

    /// The canonical text form (RFC 5952 for IPv6, dotted quad for IPv4).
    public var description: String {
        if isIPv4 {
            let bits = ipv4Bits
            return "\(bits >> 24).\(bits >> 16 & 255).\(bits >> 8 & 255).\(bits & 255)"
        }
        let groups = (0..<8).map { UInt16(truncatingIfNeeded: ($0 < 4 ? high : low) >> (48 - 16 * UInt64($0 % 4))) }
        // RFC 5952 §4.2: the longest run of two or more zero groups, the first of equals, becomes "::".
        var best = 0..<0
        var start = 0
        while start < 8 {
            guard groups[start] == 0 else { start += 1; continue }
            let end = groups[start...].firstIndex { $0 != 0 } ?? 8
            if end - start > max(best.count, 1) { best = start..<end }
            start = end
        }
        func text(_ range: Range<Int>) -> String {
            range.map { String(groups[$0], radix: 16) }.joined(separator: ":")
        }
        return best.isEmpty ? text(0..<8) : text(0..<best.lowerBound) + "::" + text(best.upperBound..<8)
    }

    private static func ipv4Bits(_ text: some StringProtocol) -> UInt32? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var bits: UInt32 = 0
        for part in parts {
            // A leading zero would be octal to some readers and decimal to others, so it is refused.
            guard (1...3).contains(part.utf8.count), part == "0" || part.first != "0",
                part.utf8.allSatisfy({ (48...57).contains($0) }), let value = UInt8(part)
            else { return nil }
            bits = bits << 8 | UInt32(value)
        }
        return bits
    }

    private static func ipv6Groups(_ text: some StringProtocol) -> [UInt16]? {
        func groups(_ part: some StringProtocol) -> [UInt16]? {
            if part.isEmpty { return [] }
            var result: [UInt16] = []
            let fields = part.split(separator: ":", omittingEmptySubsequences: false)
            for (index, field) in fields.enumerated() {
                if index == fields.count - 1, field.utf8.contains(UInt8(ascii: ".")) {
                    guard let bits = ipv4Bits(field) else { return nil }
                    result += [UInt16(bits >> 16), UInt16(truncatingIfNeeded: bits)]
                    continue
                }
                guard (1...4).contains(field.utf8.count), field.first != "+", field.first != "-",
                    let value = UInt16(field, radix: 16)
                else { return nil }
                result.append(value)
            }
            return result
        }
        guard text.utf8.count <= 45 else { return nil }
        let bytes = Array(text.utf8)
        guard let gap = bytes.indices.dropLast().first(where: { bytes[$0] == 58 && bytes[$0 + 1] == 58 }) else {
            guard let all = groups(text), all.count == 8 else { return nil }
            return all
        }
        guard let head = groups(String(decoding: bytes[..<gap], as: UTF8.self)),
            let tail = groups(String(decoding: bytes[(gap + 2)...], as: UTF8.self)),
            head.count + tail.count < 8, !(gap > 0 && bytes[..<gap].contains(46))
        else { return nil }
        return head + Array(repeating: 0, count: 8 - head.count - tail.count) + tail
    }
}
