// The key log for Wireshark, in NSS's format. Only the environment can switch it on, never the config, and it says so
// loudly: whoever reads the file can read everything.

import Glibc
import Synchronization

/// A file that session secrets are appended to.
final class KeyLog: Sendable {
    private let descriptor: CInt
    private let lock = Mutex(())

    /// Opens what `SSLKEYLOGFILE` names; nil where it is not set.
    static func fromEnvironment(_ log: DaemonLog) throws(Supervisor.Failure) -> KeyLog? {
        guard let path = unsafe getenv("SSLKEYLOGFILE").map({ unsafe String(cString: $0) }), !path.isEmpty else {
            return nil
        }
        let descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw Supervisor.Failure(description: "SSLKEYLOGFILE: cannot open \(path)")
        }
        log.write(.warning, "SSLKEYLOGFILE is set: the keys of every association are written to \(path)")
        return KeyLog(descriptor: descriptor)
    }

    /// Appends one line.
    func write(_ line: String) {
        let bytes = Array("\(line)\n".utf8)
        lock.withLock { _ in
            _ = unsafe bytes.withUnsafeBytes { unsafe Glibc.write(descriptor, $0.baseAddress, $0.count) }
        }
    }

    private init(descriptor: CInt) { self.descriptor = descriptor }

    deinit { close(descriptor) }
}
