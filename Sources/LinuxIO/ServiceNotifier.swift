// Tells the service manager how the daemon is: the sd_notify(3) protocol, datagrams of KEY=VALUE lines on the Unix
// socket that NOTIFY_SOCKET names. It must never fail the daemon: without a service manager it does nothing.

internal import Glibc

/// Sends to the service manager, if there is one.
public struct ServiceNotifier: Sendable {
    private let address: UnixAddress?

    /// Takes the path of the manager's socket, by default from the environment; a leading `@` stands for the
    /// abstract namespace. Nil, or a kind of address other than those two, makes a notifier that does nothing.
    public init(path: String? = ServiceNotifier.environmentPath) {
        address = path.flatMap { UnixAddress($0) }
    }

    /// What NOTIFY_SOCKET says.
    public static var environmentPath: String? { unsafe getenv("NOTIFY_SOCKET").map { unsafe String(cString: $0) } }

    /// Start-up is done. `status` is the line that `systemctl status` shows.
    public func ready(status: String) { send("READY=1\nSTATUS=\(Self.line(status))") }

    /// The daemon has begun to stop.
    public func stopping() { send("STOPPING=1") }

    /// A status with a line break would be read as another assignment.
    private static func line(_ text: String) -> String {
        String(decoding: text.utf8.map { $0 < 32 ? 32 : $0 }, as: UTF8.self)
    }

    private func send(_ state: String) {
        guard let address, let socket = try? UnixAddress.makeSocket() else { return }
        _ = address.send(Array(state.utf8), from: socket)
    }
}
