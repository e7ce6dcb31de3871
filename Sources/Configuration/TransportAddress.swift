// The two ends of a tunnel as the configuration writes them: scheme, host and port. Parser and printer are side by
// side. The parser's errors are written for the person who made the mistake.

public import Wire

/// `udp://127.0.0.1:514` or `dtls://collector.example.net:6514`.
public struct TransportAddress: Hashable, Sendable {
    /// What is spoken there.
    public enum Scheme: String, Hashable, Sendable {
        /// Plaintext datagrams.
        case udp
        /// DTLS records.
        case dtls
    }

    /// Which host it is.
    public enum Host: Hashable, Sendable {
        /// A numeric address.
        case address(IPAddress)
        /// A host name in lower case, without a dot at its end, still to be resolved.
        case name(String)
    }

    /// Why a text is not an address.
    public struct ParseError: Error, Hashable {
        /// What is wrong and what to do.
        public let message: String
    }

    /// What is spoken there.
    public var scheme: Scheme
    /// Which host it is.
    public var host: Host
    /// The UDP port, 1 to 65535.
    public var port: UInt16

    /// Makes an address.
    public init(scheme: Scheme, host: Host, port: UInt16) {
        self.scheme = scheme
        self.host = host
        self.port = port
    }
}

extension TransportAddress: CustomStringConvertible {
    /// Reads `scheme://host:port`, with IPv6 addresses in brackets.
    public init(parsing text: String) throws(ParseError) {
        let (scheme, rest) = try Self.scheme(of: text)
        guard !rest.contains("/") else {
            throw ParseError(message: "nothing may follow the port in \(quoted(text))")
        }
        let host: Substring
        let port: Substring?
        if rest.first == "[" {
            guard let end = rest.firstIndex(of: "]") else {
                throw ParseError(message: "missing ']' in \(quoted(text))")
            }
            host = rest[...end]
            let after = rest[rest.index(after: end)...]
            guard after.isEmpty || after.first == ":" else {
                throw ParseError(message: "expected ':' and a port after ']' in \(quoted(text))")
            }
            port = after.isEmpty ? nil : after.dropFirst()
        } else if IPAddress(rest) != nil, rest.contains(":") {
            throw ParseError(message: "an IPv6 address needs brackets: \(scheme.rawValue)://[\(rest)]:PORT")
        } else if let colon = rest.lastIndex(of: ":") {
            host = rest[..<colon]
            port = rest[rest.index(after: colon)...]
        } else {
            host = rest
            port = nil
        }
        let parsedHost = try Host(parsing: String(host))
        guard let port, !port.isEmpty else {
            throw ParseError(message: "missing port in \(quoted(text)); write \(scheme.rawValue)://\(parsedHost):PORT")
        }
        guard port.utf8.allSatisfy({ (48...57).contains($0) }), let number = UInt16(port), number > 0 else {
            throw ParseError(message: "bad port \(quoted(port)); a port is a number from 1 to 65535")
        }
        self.init(scheme: scheme, host: parsedHost, port: number)
    }

    /// The form that `init(parsing:)` reads.
    public var description: String { "\(scheme.rawValue)://\(host):\(port)" }

    private static func scheme(of text: String) throws(ParseError) -> (Scheme, Substring) {
        guard let end = text.firstRange(of: "://") else {
            let help = "write udp://… for plaintext or dtls://… for the encrypted side"
            throw ParseError(message: "missing scheme in \(quoted(text)); \(help)")
        }
        let name = text[..<end.lowerBound]
        guard let scheme = Scheme(rawValue: name.lowercased()) else {
            let help = ["tcp", "tls", "http", "https"].contains(name.lowercased()) ? "; culvert carries UDP only" : ""
            throw ParseError(message: "unknown scheme \(quoted(name)); it is 'udp' or 'dtls'\(help)")
        }
        return (scheme, text[end.upperBound...])
    }
}

extension TransportAddress.Host: CustomStringConvertible {
    /// Reads a numeric address, with IPv6 in brackets or bare, or a host name.
    public init(parsing text: String) throws(TransportAddress.ParseError) {
        if text.isEmpty { throw .init(message: "missing host") }
        if text == "*" {
            throw .init(message: "'*' is not an address; write [::] for every address, or 0.0.0.0 for IPv4 alone")
        }
        if text.contains("%") {
            throw .init(message: "an address with an interface is not supported: \(quoted(text))")
        }
        if text.first == "[", text.last == "]" {
            let inner = text.dropFirst().dropLast()
            guard inner.contains(":"), let address = IPAddress(inner) else {
                throw .init(message: "not an IPv6 address: \(quoted(inner))")
            }
            self = .address(address)
            return
        }
        if let address = IPAddress(text) {
            self = .address(address)
            return
        }
        guard !text.contains(":") else { throw .init(message: "not an address or host name: \(quoted(text))") }
        self = .name(try Self.name(text))
    }

    /// The name, or the address with IPv6 in brackets.
    public var description: String {
        switch self {
        case .address(let address): address.isIPv4 ? "\(address)" : "[\(address)]"
        case .name(let name): name
        }
    }

    /// A host name (RFC 1123 §2.1, with underscores as they are seen in practice) in lower case.
    private static func name(_ text: String) throws(TransportAddress.ParseError) -> String {
        let name = (text.hasSuffix(".") ? String(text.dropLast()) : text).lowercased()
        let labels = name.split(separator: ".", omittingEmptySubsequences: false)
        let isValid = labels.allSatisfy { label in
            (1...63).contains(label.utf8.count) && label.first != "-" && label.last != "-"
                && label.utf8.allSatisfy { (97...122).contains($0) || (48...57).contains($0) || $0 == 45 || $0 == 95 }
        }
        guard isValid, name.utf8.count <= 253 else {
            throw .init(message: "not an address or host name: \(quoted(text))")
        }
        // A name whose last label is a number is taken for an IPv4 address by resolvers, each in its own way.
        if let last = labels.last, last.utf8.allSatisfy({ (48...57).contains($0) }) {
            throw .init(
                message: "not an IPv4 address: \(quoted(text)); write four numbers from 0 to 255 without leading zeros")
        }
        return name
    }
}
