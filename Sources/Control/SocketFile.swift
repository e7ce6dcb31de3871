// The file behind a Unix socket: may it be bound, and is it still ours when we leave? A socket file outlives the
// process that made it, so a crashed daemon's file has to be replaced; but one that somebody answers on must never be
// removed, and neither must a file that is not a socket at all.

internal import FoundationEssentials

struct SocketFile {
    let path: String

    /// sockaddr_un holds 108 bytes including the terminating zero, on Linux, and `draft` needs one more than `path`.
    static let longestPath = 106

    /// Where the socket is bound before it gets its mode and moves to `path`. So nobody finds it half done at `path`,
    /// and NIO, which removes the file that it bound when it closes, cannot remove what a successor has put there.
    var draft: SocketFile { SocketFile(path: path + "~") }

    /// Makes `path` free to be used: checks the directory, refuses what is alive or no socket, removes what is stale.
    /// `attempt` tries to connect.
    func prepare(attempt: (String) -> ConnectionAttempt) throws(ControlServerError) {
        guard path.utf8.count <= Self.longestPath else { throw .pathTooLong(path: path) }
        var isDirectory = false
        guard FileManager.default.fileExists(atPath: directory, isDirectory: &isDirectory), isDirectory else {
            throw .missingDirectory(path: path, directory: directory)
        }
        guard let attributes = try? FileManager.default.attributesOfItem(atPath: path) else { return }
        guard attributes[.type] as? FileAttributeType == .typeSocket else { throw .notASocket(path: path) }
        switch attempt(path) {
        case .answered: throw .inUse(path: path)
        case .failed(let reason): throw .refused(path: path, reason: reason)
        case .nobody: break
        }
        do { try FileManager.default.removeItem(atPath: path) } catch {
            throw .refused(
                path: path, reason: "the socket that an earlier daemon left cannot be removed: \(reason(error))")
        }
    }

    /// What came of connecting to the socket.
    enum ConnectionAttempt: Equatable {
        /// Somebody accepted, or their queue is full.
        case answered
        /// Nobody listens.
        case nobody
        /// Unknown, for the reason given.
        case failed(String)
    }

    /// Gives the bound draft its mode, so that owner and group may open it and others may not, and its name.
    func publishDraft() throws(ControlServerError) {
        do {
            try FileManager.default.setAttributes([.posixPermissions: 0o660], ofItemAtPath: draft.path)
            try FileManager.default.moveItem(atPath: draft.path, toPath: path)
        } catch {
            throw .refused(path: path, reason: "the socket cannot be given its mode and name: \(reason(error))")
        }
    }

    /// What tells this file from another that was bound at the same path later; an inode number alone may come back.
    struct Identity: Equatable {
        let inode: UInt64
        let modified: Date
    }

    /// The identity of the file that is there now.
    var identity: Identity? {
        guard let attributes = try? FileManager.default.attributesOfItem(atPath: path),
            let inode = attributes[.systemFileNumber] as? UInt64, let modified = attributes[.modificationDate] as? Date
        else { return nil }
        return Identity(inode: inode, modified: modified)
    }

    /// Removes the file if it is still the one with `identity`.
    func remove(ifStill identity: Identity?) {
        guard let identity, identity == self.identity else { return }
        try? FileManager.default.removeItem(atPath: path)
    }

    private var directory: String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    private func reason(_ error: any Error) -> String {
        switch (error as? CocoaError)?.code {
        case .fileWriteNoPermission, .fileReadNoPermission: "permission denied"
        case .fileWriteVolumeReadOnly: "the file system is read-only"
        default: "\(error)"
        }
    }
}
