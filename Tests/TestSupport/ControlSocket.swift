// The control socket as a script sees it: HTTP over a Unix socket, read without the project's own client, so that tests
// hold the daemon to the interface that others use.

import Foundation

/// One association, by the names that the control API gives its fields.
// swift-format-ignore: AllPublicDeclarationsHaveDocumentation
public struct AssociationReport: Decodable, Sendable {
    public struct Count: Decodable, Sendable {
        public var `in`: UInt64
        public var out: UInt64
    }

    public struct Heartbeat: Decodable, Sendable {
        public struct RoundTrip: Decodable, Sendable {
            public var last: Double
            public var min: Double
            public var mean: Double
        }

        public var negotiated: Bool
        public var localMode: String
        public var peerMode: String?
        public var rttMs: RoundTrip?
        public var sent: UInt64
        public var answered: UInt64
        public var lost: UInt64
        public var lastAnswer: String?
    }

    public struct PathMTU: Decodable, Sendable {
        public var out: Int
        public var state: String
        public var probes: UInt64
        public var maxDatagram: Int
    }

    public var id: String
    public var tunnel: String
    public var role: String
    public var mode: String
    public var state: String
    public var peerAddress: String
    public var sender: String?
    public var peerIdentity: String?
    public var cipher: String?
    public var handshakeMs: Double?
    public var resumed: Bool
    public var datagrams: Count
    public var bytes: Count
    public var offered: UInt64
    public var records: UInt64
    public var controlRecords: UInt64
    public var dropped: [String: UInt64]
    public var replayed: UInt64
    public var authFailures: UInt64
    public var flows: Int
    public var heartbeat: Heartbeat?
    public var pathMtu: PathMTU?
}

/// One tunnel, by the names that the control API gives its fields.
// swift-format-ignore: AllPublicDeclarationsHaveDocumentation
public struct TunnelReport: Decodable, Sendable {
    public struct Refusal: Decodable, Sendable {
        public var reason: String
        public var message: String
    }

    public var name: String
    public var mode: String?
    public var state: String
    public var flows: Int
    public var serviceRefused: Refusal?
    public var associations: [String: Int]
    public var datagrams: AssociationReport.Count
    public var received: AssociationReport.Count
    public var records: UInt64
    public var controlRecords: UInt64
    public var dropped: [String: UInt64]
    public var handshakes: UInt64
    public var failedHandshakes: UInt64
    public var evictions: UInt64
}

/// A part of a list.
private struct ListPage<Element: Decodable>: Decodable {
    var items: [Element]
    var next: String?
}

/// A daemon's control socket.
public struct ControlSocket: Sendable {
    /// Its path.
    public let path: String

    /// A client for the socket at `path`.
    public init(path: String) { self.path = path }

    /// GET `target`: the status and the body; nil when nobody answers.
    public func get(_ target: String) -> (status: Int, body: Data)? {
        let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var limit = timeval(tv_sec: 5, tv_usec: 0)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(descriptor, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
        }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8).prefix($0.count - 1)) }
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard connected == 0 else { return nil }
        let request = Array("GET \(target) HTTP/1.1\r\nHost: culvert\r\nConnection: close\r\n\r\n".utf8)
        guard send(descriptor, request, request.count, CInt(MSG_NOSIGNAL)) == request.count else { return nil }
        var answer = Data()
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            guard count > 0 else { break }
            answer += buffer[..<count]
        }
        // The head ends at the first empty line; bodies come with a length, not in chunks.
        guard let head = answer.firstRange(of: Data("\r\n\r\n".utf8)),
            let word = String(decoding: answer[..<head.lowerBound], as: UTF8.self).split(separator: " ").dropFirst()
                .first,
            let status = Int(word)
        else { return nil }
        return (status, Data(answer[head.upperBound...]))
    }

    /// Whether the daemon says that it is ready.
    public var isReady: Bool { self.get("/readyz")?.status == 200 }

    /// GET /v1/associations.
    public func associations() throws -> [AssociationReport] { try list("/v1/associations") }

    /// GET /v1/tunnels.
    public func tunnels() throws -> [TunnelReport] { try list("/v1/tunnels") }

    private func list<Element: Decodable>(_ path: String) throws -> [Element] {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        var elements: [Element] = []
        var after = ""
        while true {
            let target = path + (after.isEmpty ? "" : "?after=\(after)")
            guard let (status, body) = get(target), status == 200 else {
                throw CallFailure("GET \(target) at \(self.path)")
            }
            let page = try decoder.decode(ListPage<Element>.self, from: body)
            elements += page.items
            guard let next = page.next else { return elements }
            after = next
        }
    }
}
