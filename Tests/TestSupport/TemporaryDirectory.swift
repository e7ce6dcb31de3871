// A directory for one test, or for all tests of the process.

import Foundation
import Synchronization

/// A directory that goes away with the object, or at the latest with the process.
public final class TemporaryDirectory: Sendable {
    /// Where it is; short enough for a socket in it.
    public let path: String

    private static let living = Mutex<Set<String>>([])
    /// What lives in a static is never let go; it is removed at the exit of the process.
    private static let removesAtExit: Void = {
        atexit {
            for path in TemporaryDirectory.living.withLock({ $0 }) { try? FileManager.default.removeItem(atPath: path) }
        }
    }()

    /// Makes an empty directory.
    public init() throws {
        path = FileManager.default.temporaryDirectory.path + "/culvert-test-" + UUID().uuidString.prefix(13)
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        let path = path
        Self.living.withLock { _ = $0.insert(path) }
        Self.removesAtExit
    }

    deinit {
        let path = path
        try? FileManager.default.removeItem(atPath: path)
        Self.living.withLock { _ = $0.remove(path) }
    }

    /// The path of `name` in it.
    public func callAsFunction(_ name: String) -> String { "\(path)/\(name)" }

    /// Writes a file; readable by its owner alone unless `mode` says otherwise.
    ///
    /// - Returns: its path.
    @discardableResult
    public func write(_ text: String, _ name: String, mode: Int = 0o600) throws -> String {
        try text.write(toFile: self(name), atomically: false, encoding: .utf8)
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: self(name))
        return self(name)
    }

    /// Reads a file.
    public func text(_ name: String) throws -> String { try String(contentsOfFile: self(name), encoding: .utf8) }
}
