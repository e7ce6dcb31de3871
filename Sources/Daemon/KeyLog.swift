// The key log for Wireshark, in NSS's format. Only the environment can switch it on, never the config, and it says so
// loudly: whoever reads the file can read everything.

import LinuxIO
import Logging

/// A file that session secrets are appended to.
struct KeyLog: Sendable {
    private let file: LineFile

    /// Opens what `SSLKEYLOGFILE` names; nil if it is not set.
    static func fromEnvironment(_ log: DaemonLog) throws(SystemError) -> KeyLog? {
        guard let path = Environment.value("SSLKEYLOGFILE") else { return nil }
        let file = try LineFile(appendingTo: path)
        log.write(.warning, "SSLKEYLOGFILE is set: the keys of every association are written to \(path)")
        return KeyLog(file: file)
    }

    /// Appends one line.
    func write(_ line: String) { file.write(line) }
}
