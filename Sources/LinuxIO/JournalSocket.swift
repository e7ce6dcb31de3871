// The journal's native protocol (systemd's "Native Journal Protocol"): a log entry with fields is one datagram to
// journald's socket. Whoever logs is never held up: the socket does not wait.

internal import Glibc

/// A log entry's fields, as the journal takes them.
public struct JournalEntry: Sendable {
    /// The entry in the protocol's form.
    public private(set) var bytes: [UInt8] = []

    /// An entry without fields.
    public init() {}

    /// Adds a field; one name may be added with several values. `name` gets the journal's form, upper-case letters,
    /// digits and `_`, 64 at most; without a letter in it nothing is added. At most 16 KiB of `value` are kept, so that
    /// an entry always fits a datagram.
    public mutating func add(_ name: String, _ value: String) {
        let name = name.utf8.map(Self.nameByte).drop { !(UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) }
        guard !name.isEmpty else { return }
        bytes += name.prefix(64)
        let value = Self.bounded(value)
        if value.contains(UInt8(ascii: "\n")) {
            // A value of several lines has its length in front, in eight bytes, lowest first.
            bytes.append(UInt8(ascii: "\n"))
            for shift in 0..<8 { bytes.append(UInt8(truncatingIfNeeded: value.count >> (8 * shift))) }
        } else {
            bytes.append(UInt8(ascii: "="))
        }
        bytes += value
        bytes.append(UInt8(ascii: "\n"))
    }

    private static let maximumValueLength = 16_384

    private static func nameByte(_ byte: UInt8) -> UInt8 {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"): byte - 32
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): byte
        default: UInt8(ascii: "_")
        }
    }

    /// Cuts between characters of UTF-8, never within one.
    private static func bounded(_ value: String) -> [UInt8] {
        let bytes = Array(value.utf8)
        guard bytes.count > maximumValueLength else { return bytes }
        var end = maximumValueLength
        while end > 0, bytes[end] & 0xC0 == 0x80 { end -= 1 }
        return Array(bytes[..<end])
    }
}

/// The way to the journal.
public final class JournalSocket: Sendable {
    /// What became of an entry.
    public enum Outcome: Sendable {
        /// The journal has it.
        case sent
        /// The journal does not keep up, and the entry is lost.
        case busy
        /// There is no journal, or it does not take the entry.
        case refused
    }

    /// Where journald listens.
    public static let path = "/run/systemd/journal/socket"

    private let address: UnixAddress
    private let socket: OwnedDescriptor

    /// Prepares to send to the socket at `path`, which may come, go and come back; nil if that cannot be a socket's
    /// path, or the system gives no socket to send from.
    public init?(path: String = JournalSocket.path) {
        guard let address = UnixAddress(path), let socket = try? UnixAddress.makeSocket() else { return nil }
        self.address = address
        self.socket = socket
    }

    /// Sends an entry. To be called from any thread.
    public func send(_ entry: JournalEntry) -> Outcome {
        switch address.send(entry.bytes, from: socket) {
        case 0: .sent
        case EAGAIN, ENOBUFS: .busy
        default: .refused
        }
    }
}
