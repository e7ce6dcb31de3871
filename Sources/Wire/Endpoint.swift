// Where a datagram comes from or goes to.

/// An IP address and a UDP port.
public struct Endpoint: Hashable, Sendable {
    /// The address; IPv4 in its IPv4-mapped form.
    public var address: IPAddress
    /// The UDP port, in host order.
    public var port: UInt16
    /// The interface that a link-local IPv6 address belongs to; 0 where there is none.
    public var scope: UInt32

    /// Makes an endpoint.
    public init(address: IPAddress, port: UInt16, scope: UInt32 = 0) {
        self.address = address
        self.port = port
        self.scope = scope
    }

    /// Bytes of the IP and UDP headers of a packet to this endpoint, without options.
    public var headerSize: Int { address.isIPv4 ? 28 : 48 }

    /// The longest UDP payload in bytes that fits an IP packet of `linkMTU` bytes to this endpoint.
    public func datagramSize(linkMTU: Int) -> Int {
        linkMTU - headerSize
    }
}

extension Endpoint: CustomStringConvertible {
    /// Reads `192.0.2.1:514` or `[2001:db8::1]:514`, with a numeric address.
    public init?(_ text: some StringProtocol) {
        guard let colon = text.lastIndex(of: ":") else { return nil }
        let digits = text[text.index(after: colon)...]
        // Digits alone: the number's own reader would take a sign.
        guard (1...5).contains(digits.utf8.count), digits.utf8.allSatisfy({ (48...57).contains($0) }),
            let port = UInt16(digits)
        else { return nil }
        let host = text[..<colon]
        if host.first == "[", host.last == "]" {
            guard host.utf8.contains(UInt8(ascii: ":")), let address = IPAddress(host.dropFirst().dropLast()) else {
                return nil
            }
            self.init(address: address, port: port)
        } else {
            guard !host.utf8.contains(UInt8(ascii: ":")), let address = IPAddress(host) else { return nil }
            self.init(address: address, port: port)
        }
    }

    /// `192.0.2.1:514`, `[2001:db8::1]:514`, or `[fe80::1%2]:514`.
    public var description: String {
        if address.isIPv4 { return "\(address):\(port)" }
        return scope == 0 ? "[\(address)]:\(port)" : "[\(address)%\(scope)]:\(port)"
    }
}
