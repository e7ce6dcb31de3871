// Whom a certificate is made for: its common name and alternative names, checked before anything is
// signed. Names go into the certificate as bytes, never through OpenSSL's configuration syntax, in which
// a comma could smuggle in a second name.

public import Wire

/// The names of a certificate that is going to be made.
public struct CertificateSubject: Hashable, Sendable {
    /// The common name: 1 to 64 bytes of UTF-8 (RFC 5280 A.1, ub-common-name) without control characters.
    public let commonName: String
    /// DNS names in lower case, a wildcard only as the whole first label.
    public let dnsNames: [String]
    /// IP addresses.
    public let ipAddresses: [IPAddress]

    /// Why names were refused.
    public struct Fault: Error, Hashable, Sendable, CustomStringConvertible {
        /// One sentence.
        public let description: String
    }

    /// Checks the names.
    ///
    /// The common name is made an alternative name as well when it is a host name or an IP address, since that is where
    /// verification looks (RFC 9525 §6.3).
    public init(commonName: String, dnsNames: [String] = [], ipAddresses: [String] = []) throws(Fault) {
        guard (1...64).contains(commonName.utf8.count) else {
            throw Fault(
                description: "a common name has 1 to 64 bytes, and '\(commonName)' has \(commonName.utf8.count)")
        }
        guard commonName.unicodeScalars.allSatisfy({ $0.properties.generalCategory != .control }) else {
            throw Fault(description: "a common name has no control characters")
        }
        var dns: [String] = []
        var ip: [IPAddress] = []
        if let address = IPAddress(commonName) {
            ip.append(address)
        } else if Self.isHostName(commonName) {
            dns.append(commonName.lowercased())
        }
        for name in dnsNames {
            guard Self.isHostName(name) else {
                throw Fault(
                    description: "'\(name)' is not a host name in ASCII (an international one is written xn--…)")
            }
            dns.append(name.lowercased())
        }
        for text in ipAddresses {
            guard let address = IPAddress(text) else { throw Fault(description: "'\(text)' is not an IP address") }
            ip.append(address)
        }
        self.commonName = commonName
        var seenNames: Set<String> = []
        self.dnsNames = dns.filter { seenNames.insert($0).inserted }
        var seenAddresses: Set<IPAddress> = []
        self.ipAddresses = ip.filter { seenAddresses.insert($0).inserted }
    }

    /// Whether `text` is a host name (RFC 1123 §2.1, underscores let pass), or `*.` and one.
    static func isHostName(_ text: String) -> Bool {
        guard (1...253).contains(text.utf8.count) else { return false }
        var labels = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        if labels.count > 2, labels[0].elementsEqual("*".utf8) { labels.removeFirst() }
        // A last label of digits would be taken for an IPv4 address.
        guard let last = labels.last, !last.allSatisfy({ (48...57).contains($0) }) else { return false }
        return labels.allSatisfy { (label) in
            (1...63).contains(label.count) && label.first != UInt8(ascii: "-") && label.last != UInt8(ascii: "-")
                && label.allSatisfy { (byte) in
                    (48...57).contains(byte) || (97...122).contains(byte | 0x20) && byte < 128
                        || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_")
                }
        }
    }
}
