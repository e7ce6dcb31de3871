// Lines of text to a descriptor: the log, the key log, the output of a command. Each line is one write, so that lines
// of several threads do not mix.

internal import Glibc

/// Where lines go.
public final class LineFile: Sendable {
    /// The process's standard output.
    public static let standardOutput = LineFile(descriptor: 1, isOwned: false)
    /// The process's standard error.
    public static let standardError = LineFile(descriptor: 2, isOwned: false)

    private let descriptor: CInt
    private let isOwned: Bool

    /// Opens `path` for appending; a new file is for its owner's eyes only.
    public convenience init(appendingTo path: String) throws(SystemError) {
        let descriptor = unsafe open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .last("open", path) }
        self.init(descriptor: descriptor, isOwned: true)
    }

    private init(descriptor: CInt, isOwned: Bool) {
        self.descriptor = descriptor
        self.isOwned = isOwned
    }

    deinit {
        if isOwned { close(descriptor) }
    }

    /// What it leads to, as `DEVICE:INODE` in decimal numbers, the form of systemd's JOURNAL_STREAM; nil if the system
    /// does not say.
    public var identity: String? {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { return nil }
        return "\(status.st_dev):\(status.st_ino)"
    }

    /// Writes `line` and its end. What cannot be written is lost: a full disk under the log must not stop anybody.
    ///
    /// - Returns: whether all of it was written.
    @discardableResult
    public func write(_ line: String) -> Bool {
        write(bytes: Array("\(line)\n".utf8))
    }

    /// Writes bytes as they are; otherwise like `write`.
    @discardableResult
    public func write(bytes: [UInt8]) -> Bool {
        var bytes = bytes[...]
        while !bytes.isEmpty {
            let written = unsafe bytes.withUnsafeBytes { unsafe Glibc.write(descriptor, $0.baseAddress, $0.count) }
            guard written > 0 || errno == EINTR else { return false }
            bytes = bytes.dropFirst(max(written, 0))
        }
        return true
    }
}

/// The process's environment.
public enum Environment {
    /// The value of a variable; nil where it is not set or empty.
    public static func value(_ name: String) -> String? {
        guard let value = unsafe getenv(name), unsafe value.pointee != 0 else { return nil }
        return unsafe String(cString: value)
    }
}
