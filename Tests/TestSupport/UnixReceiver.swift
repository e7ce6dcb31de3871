// A Unix datagram socket that a test listens on, as the service manager and the journal do.

import Foundation

/// Takes datagrams without waiting.
public final class UnixReceiver: Sendable {
    /// Its address: a path, or a name in the abstract namespace after `@`.
    public let path: String
    private let descriptor: CInt

    /// Listens at `path`.
    public init(_ path: String) throws {
        self.path = path
        descriptor = socket(
            AF_UNIX, CInt(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var name = Array(path.utf8)
        if name.first == UInt8(ascii: "@") { name[0] = 0 }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name) }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + name.count)
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, length) }
        }
        guard bound == 0 else { throw CallFailure("bind \(path)") }
    }

    deinit {
        close(descriptor)
        if path.hasPrefix("/") { unlink(path) }
    }

    /// The next datagram; nil when there is none.
    public func takeBytes() -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: 262_144)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        return count > 0 ? Array(buffer[..<count]) : nil
    }

    /// The next datagram as text; nil when there is none.
    public func take() -> String? { takeBytes().map { String(decoding: $0, as: UTF8.self) } }

    /// The next datagram as a journal's entry; nil when there is none.
    public func takeEntry() throws -> [String: [String]]? { try takeBytes().map { try journalFields($0) } }
}

/// The fields of a journal's entry in its native form, each with its values.
public func journalFields(_ bytes: [UInt8]) throws -> [String: [String]] {
    var rest = bytes[...]
    var fields: [String: [String]] = [:]
    while !rest.isEmpty {
        guard let end = rest.firstIndex(where: { $0 == UInt8(ascii: "=") || $0 == UInt8(ascii: "\n") }) else {
            throw Unusable("journal entry without an end: \(rest)")
        }
        let name = String(decoding: rest[..<end], as: UTF8.self)
        let isCounted = rest[end] == UInt8(ascii: "\n")
        rest = rest[(end + 1)...]
        var value = rest.prefix { $0 != UInt8(ascii: "\n") }
        if isCounted {
            let length = rest.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
            value = rest.dropFirst(8).prefix(length)
        }
        fields[name, default: []].append(String(decoding: value, as: UTF8.self))
        rest = rest[value.endIndex...]
        guard rest.first == UInt8(ascii: "\n") else { throw Unusable("journal field \(name) without an end") }
        rest = rest.dropFirst()
    }
    return fields
}
