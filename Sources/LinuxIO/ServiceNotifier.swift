// Tells the service manager how the daemon is: the sd_notify(3) protocol, datagrams of KEY=VALUE lines on the Unix
// socket that NOTIFY_SOCKET names. It must never fail the daemon: without a service manager it does nothing.

internal import Glibc

/// The way to the service manager, if there is one.
public struct ServiceNotifier: Sendable {
    private let path: String?

    /// Takes the path of the manager's socket, by default from the environment; a leading `@` stands for the
    /// abstract namespace. Nil, or a kind of address other than those two, makes a notifier that does nothing.
    public init(path: String? = ServiceNotifier.environmentPath) {
        self.path = path.flatMap { path in
            let isAddress = path.hasPrefix("/") || path.hasPrefix("@")
            return isAddress && path.utf8.count > 1 && path.utf8.count < Self.pathCapacity ? path : nil
        }
    }

    /// What NOTIFY_SOCKET says.
    public static var environmentPath: String? { unsafe getenv("NOTIFY_SOCKET").map { unsafe String(cString: $0) } }

    /// Start-up is done.
    public func ready(status: String) { send("READY=1\nSTATUS=\(Self.line(status))") }

    /// The daemon has begun to stop.
    public func stopping() { send("STOPPING=1") }

    /// The line that `systemctl status` shows.
    public func status(_ text: String) { send("STATUS=\(Self.line(text))") }

    private static let pathCapacity = MemoryLayout.size(ofValue: sockaddr_un().sun_path)

    /// A status with a line break would be read as another assignment.
    private static func line(_ text: String) -> String {
        String(decoding: text.utf8.map { $0 < 32 ? 32 : $0 }, as: UTF8.self)
    }

    private func send(_ state: String) {
        guard let path,
            let socket = try? OwnedDescriptor(
                socket(AF_UNIX, CInt(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0),
                "socket")
        else { return }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var name = Array(path.utf8)
        if name[0] == UInt8(ascii: "@") { name[0] = 0 }
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: name) }
        let offset = MemoryLayout<sockaddr_un>.offset(of: \.sun_path) ?? 2
        // An abstract name is as long as the address says, its zeros included.
        let length = socklen_t(offset + name.count)
        var state = state
        state.withUTF8 { bytes in
            unsafe withUnsafePointer(to: &address) { pointer in
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    _ = unsafe sendto(
                        socket.rawValue, bytes.baseAddress, bytes.count, CInt(MSG_NOSIGNAL), $0, length)
                }
            }
        }
    }
}
