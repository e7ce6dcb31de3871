// Names to addresses by the system's resolver. It blocks, for many seconds at worst: never call it on a worker.

internal import Glibc
public import Wire

/// Why a name has no address.
public struct ResolutionError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The name that was asked for.
    public let host: String
    /// The system's text, for example `Name or service not known`.
    public let reason: String

    /// Makes an error.
    public init(host: String, reason: String) {
        self.host = host
        self.reason = reason
    }

    /// `collector.example.net: Name or service not known`.
    public var description: String { "\(host): \(reason)" }
}

/// The system's resolver.
public enum NameResolver {
    /// Looks up `host`, a name or a numeric address (with `%interface` for a link-local one), in both families.
    /// - Returns: at least one endpoint, each once, in the order of preference (RFC 6724).
    public static func addresses(of host: String, port: UInt16) throws(ResolutionError) -> [Endpoint] {
        guard !host.isEmpty, !host.utf8.contains(0) else {
            throw ResolutionError(host: host, reason: "not a host name")
        }
        var hints = unsafe addrinfo()
        unsafe hints.ai_family = AF_UNSPEC
        unsafe hints.ai_socktype = CInt(SOCK_DGRAM.rawValue)
        unsafe hints.ai_protocol = CInt(IPPROTO_UDP)
        var list: UnsafeMutablePointer<addrinfo>?
        let result = unsafe getaddrinfo(host, nil, &hints, &list)
        guard result == 0 else { throw ResolutionError(host, result, errno) }
        defer { unsafe freeaddrinfo(list) }

        var endpoints: [Endpoint] = []
        var item = unsafe list
        while let info = unsafe item?.pointee {
            unsafe item = info.ai_next
            guard let pointer = unsafe info.ai_addr,
                var endpoint = unsafe SocketAddress(copying: pointer, length: info.ai_addrlen)?.endpoint
            else { continue }
            endpoint.port = port
            if !endpoints.contains(endpoint) { endpoints.append(endpoint) }
        }
        guard !endpoints.isEmpty else {
            throw ResolutionError(host: host, reason: "no IPv4 or IPv6 address")
        }
        return endpoints
    }
}

extension ResolutionError {
    fileprivate init(_ host: String, _ code: CInt, _ systemCode: CInt) {
        self.host = host
        reason = code == EAI_SYSTEM ? SystemError.text(systemCode) : unsafe String(cString: gai_strerror(code))
    }
}
