// Why the control socket could not be opened, and why it could not be asked. Both are for the person who has to do
// something about it, so every description names the path and the remedy.

/// Why `ControlServer.start` failed.
public enum ControlServerError: Error, Equatable, CustomStringConvertible {
    /// A Unix socket's path may have at most 107 bytes, and one is needed while it is made.
    case pathTooLong(path: String)
    /// The directory that should hold the socket does not exist.
    case missingDirectory(path: String, directory: String)
    /// Something that is not a socket is in the way; it is left alone.
    case notASocket(path: String)
    /// Another daemon answers on the socket.
    case inUse(path: String)
    /// The system refused, for the reason given.
    case refused(path: String, reason: String)
    /// The address or port cannot be had over TCP, for the reason given.
    case cannotListen(host: String, port: Int, reason: String)

    /// One sentence: what is wrong and what to do.
    public var description: String {
        switch self {
        case .pathTooLong(let path):
            "control socket \(path): the path is longer than a Unix socket's may be (106 bytes); choose a shorter one"
        case .missingDirectory(let path, let directory):
            "control socket \(path): the directory \(directory) does not exist; create it or change control_socket"
        case .notASocket(let path):
            "control socket \(path): a file that is not a socket is in the way; remove it or change control_socket"
        case .inUse(let path):
            "control socket \(path): another daemon is answering on it; stop that one or change control_socket"
        case .refused(let path, let reason):
            "control socket \(path): \(reason)"
        case .cannotListen(let host, let port, let reason):
            "metrics_listen: cannot listen on \(host.contains(":") ? "[\(host)]" : host):\(port): \(reason)"
        }
    }
}

/// Why `ControlClient` did not get what it asked for.
public enum ControlClientError: Error, Equatable, CustomStringConvertible {
    /// Nobody listens on the socket.
    case unreachable(path: String, reason: String)
    /// The socket may not be opened by this user.
    case notPermitted(path: String)
    /// The daemon took longer than the client was willing to wait.
    case timedOut(path: String)
    /// What came back was not an HTTP response, was too large or not of the expected form.
    case badResponse(path: String, reason: String)
    /// The daemon refused, or failed.
    case refused(Problem)

    /// Whether there is no daemon to talk to, rather than one that refuses.
    public var isUnreachable: Bool {
        switch self {
        case .unreachable, .notPermitted, .timedOut: true
        case .badResponse, .refused: false
        }
    }

    /// One sentence: what is wrong and what to do.
    public var description: String {
        switch self {
        case .unreachable(let path, let reason):
            "the daemon cannot be reached at \(path): \(reason); is it running, and does its control_socket name this path?"
        case .notPermitted(let path):
            "the control socket \(path) may not be opened by this user; try sudo, or join the group that owns it"
        case .timedOut(let path):
            "the daemon at \(path) did not answer in time"
        case .badResponse(let path, let reason):
            "the daemon at \(path) gave an answer that makes no sense: \(reason)"
        case .refused(let problem):
            "the daemon refused (\(problem.title)): \(problem.detail)"
        }
    }
}
