// Credential files in and out of the file system, with their permissions looked at on the open
// descriptor, never on a name that could be swapped. A secret is never, not for an instant, readable by
// others: it is created exclusively, with its final mode, and appears under its name when it is whole.

internal import Glibc

/// Reading and writing of keys, certificates, revocation lists and pre-shared key files.
public enum CredentialFiles {
    /// What a file is for, which decides who may read it.
    public enum Purpose: Sendable {
        /// Certificates or revocation lists: anybody may read them.
        case published
        /// Private or pre-shared keys: the owner may read them, and the group when it is let.
        case secret
    }

    /// Larger files are refused; the largest real ones are revocation lists.
    static let maximumSize = 16 << 20

    /// Reads a regular file.
    ///
    /// A secret that everybody can read or change is returned with an error; one that its group can change, with
    /// a warning. Group-readable secrets are accepted: services are given keys as `root:culvert 0640`.
    public static func read(_ path: String, as purpose: Purpose) -> Loaded<SecretBytes> {
        // O_NONBLOCK, because opening a FIFO would wait for a writer.
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        guard descriptor >= 0 else { return Loaded(nil, [cannotOpen(path, errno)]) }
        defer { close(descriptor) }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { return Loaded(nil, [cannotOpen(path, errno)]) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            return Loaded(nil, [.init(.unreadable, path: path, "is not a regular file", advice: "name a file")])
        }
        guard status.st_size <= maximumSize else {
            return Loaded(
                nil, [.init(.malformed, path: path, "is larger than 16 MiB", advice: "check that it is the right file")]
            )
        }
        let size = Int(status.st_size)
        var failure: Int32 = 0
        let contents = unsafe SecretBytes(capacity: size) { (target) in
            var used = 0
            while used < size {
                let got = unsafe Glibc.read(descriptor, target.baseAddress?.advanced(by: used), size - used)
                if got < 0, errno == EINTR { continue }
                if got < 0 { failure = errno }
                guard got > 0 else { break }
                used += got
            }
            return used
        }
        guard failure == 0 else { return Loaded(nil, [cannotOpen(path, failure)]) }
        return Loaded(contents, purpose == .secret ? exposure(path, mode: status.st_mode) : [])
    }

    /// How a file is written.
    public struct Writing: Sendable {
        /// The file's mode, whatever the umask says.
        public var mode: UInt32
        /// The file's group; nil for the process's own.
        public var group: UInt32?
        /// Whether a file of that name is replaced; otherwise it is an error.
        public var replacing: Bool

        /// Owner only, or owner and `group`; replacing nothing unless told.
        public static func secret(group: UInt32? = nil, replacing: Bool = false) -> Writing {
            Writing(mode: group == nil ? 0o600 : 0o640, group: group, replacing: replacing)
        }

        /// Readable by everybody.
        public static func published(replacing: Bool = false) -> Writing {
            Writing(mode: 0o644, group: nil, replacing: replacing)
        }
    }

    /// A file that is going to be written.
    public struct Output: Sendable {
        let contents: SecretBytes
        let path: String
        let writing: Writing

        /// `contents` is to stand in `path`.
        public init(_ contents: SecretBytes, path: String, _ writing: Writing) {
            self.contents = contents
            self.path = path
            self.writing = writing
        }
    }

    /// Writes files that appear under their names whole or not at all, and all of them or none.
    ///
    /// Everything that commonly fails (permissions, space, a name that is taken) fails before the first appears.
    public static func write(_ outputs: [Output]) throws(CredentialProblem) {
        var ready: [(temporary: String, output: Output)] = []
        defer { for (temporary, _) in ready { unsafe unlink(temporary) } }
        for output in outputs {
            if !output.writing.replacing, exists(output.path) { throw cannotWrite(output.path, EEXIST) }
            ready.append((try prepare(output), output))
        }
        var placed: [String] = []
        for (temporary, output) in ready {
            // link() refuses an existing name in the same step in which it makes a new one.
            let done =
                unsafe output.writing.replacing
                ? rename(temporary, output.path) : link(temporary, output.path)
            guard done == 0 else {
                let failure = errno
                for path in placed { unsafe unlink(path) }
                throw cannotWrite(output.path, failure)
            }
            if !output.writing.replacing { placed.append(output.path) }
        }
    }

    /// Writes everything of a file but its name; the result is the name it has until then.
    private static func prepare(_ output: Output) throws(CredentialProblem) -> String {
        let temporary = "\(output.path).\(UInt64.random(in: .min ... .max)).new"
        let descriptor = unsafe open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw cannotWrite(output.path, errno) }
        defer { close(descriptor) }
        var done = writeAll(output.contents, to: descriptor)
        // The group first: changing it takes mode bits away.
        if done, let group = output.writing.group { done = fchown(descriptor, uid_t.max, group) == 0 }
        guard done, fchmod(descriptor, output.writing.mode) == 0, fsync(descriptor) == 0 else {
            let failure = errno
            unsafe unlink(temporary)
            throw cannotWrite(output.path, failure)
        }
        return temporary
    }

    /// Adds a line to the end of a secret file in one write, creating it when it is missing.
    public static func append(line: SecretBytes, to path: String, group: UInt32? = nil) throws(CredentialProblem) {
        let before = read(path, as: .secret)
        guard let existing = before.value else {
            guard before.problems.allSatisfy({ $0.kind == .missing }) else {
                throw before.problems.first ?? cannotWrite(path, EIO)
            }
            return try write([Output(line, path: path, .secret(group: group))])
        }
        if let exposed = before.problems.first(where: { $0.severity == .error }) { throw exposed }
        let needsNewline = existing.count > 0 && existing.bytes[existing.count - 1] != 10
        let addition = unsafe SecretBytes(capacity: line.count + 1) { (target) in
            let shift = needsNewline ? 1 : 0
            if needsNewline { unsafe target[0] = 10 }
            for index in line.bytes.indices { unsafe target[index + shift] = line.bytes[index] }
            return line.count + shift
        }
        let descriptor = unsafe open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { throw cannotWrite(path, errno) }
        defer { close(descriptor) }
        guard writeAll(addition, to: descriptor), fsync(descriptor) == 0 else { throw cannotWrite(path, errno) }
    }

    /// Whether something has that name, be it a dangling link.
    public static func exists(_ path: String) -> Bool {
        var status = stat()
        return unsafe lstat(path, &status) == 0
    }

    /// Whether `path` is a directory.
    public static func isDirectory(_ path: String) -> Bool {
        var status = stat()
        return unsafe stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// The names in a directory, sorted, without those that begin with a dot; nil when it cannot be read.
    static func names(in directory: String) -> [String]? {
        guard let stream = unsafe opendir(directory) else { return nil }
        defer { unsafe closedir(stream) }
        var names: [String] = []
        while let entry = unsafe readdir(stream) {
            let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) {
                unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if !name.hasPrefix(".") { names.append(name) }
        }
        return names.sorted()
    }

    /// The number of a group by name; nil when there is none.
    public static func groupNumber(of name: String) -> UInt32? {
        var record = unsafe group()
        var result: UnsafeMutablePointer<group>?
        var text = [CChar](repeating: 0, count: 16_384)
        guard unsafe getgrnam_r(name, &record, &text, text.count, &result) == 0, unsafe result != nil else {
            return nil
        }
        return unsafe record.gr_gid
    }

    /// An absolute form of `path`, for texts that are pasted elsewhere.
    public static func absolute(_ path: String) -> String {
        guard !path.hasPrefix("/"), let here = unsafe getcwd(nil, 0) else { return path }
        defer { unsafe free(here) }
        return unsafe "\(String(cString: here))/\(path.hasPrefix("./") ? String(path.dropFirst(2)) : path)"
    }

    /// What is wrong with the mode of a secret file.
    private static func exposure(_ path: String, mode: mode_t) -> [CredentialProblem] {
        let advice = "run: chmod o-rwx,g-w \(path)"
        if mode & S_IROTH != 0 {
            return [.init(.exposed, path: path, "is secret and can be read by everyone", advice: advice)]
        }
        if mode & S_IWOTH != 0 {
            return [.init(.exposed, path: path, "is secret and can be changed by everyone", advice: advice)]
        }
        if mode & S_IWGRP != 0 {
            return [.init(.exposed, .warning, path: path, "is secret and can be changed by its group", advice: advice)]
        }
        return []
    }

    private static func cannotOpen(_ path: String, _ code: Int32) -> CredentialProblem {
        switch code {
        case ENOENT, ENOTDIR:
            .init(.missing, path: path, "there is no such file", advice: "correct the path, or make the file")
        case EACCES, EPERM:
            .init(
                .unreadable, path: path, "may not be read by user \(geteuid())",
                advice: "give the file to the daemon's group: chgrp culvert, chmod 640")
        default:
            .init(.unreadable, path: path, "cannot be read: \(text(of: code))", advice: "see what the path names")
        }
    }

    private static func cannotWrite(_ path: String, _ code: Int32) -> CredentialProblem {
        switch code {
        case EEXIST:
            .init(.exists, path: path, "exists already", advice: "choose another name, or say --force to replace it")
        case ENOENT, ENOTDIR:
            .init(.unwritable, path: path, "has no such directory to be in", advice: "make the directory first")
        default:
            .init(
                .unwritable, path: path, "cannot be written: \(text(of: code))",
                advice: "check the directory's permissions and the free space")
        }
    }

    private static func writeAll(_ contents: SecretBytes, to descriptor: Int32) -> Bool {
        let bytes = contents.bytes
        return unsafe bytes.withUnsafeBytes { (buffer) in
            var rest = unsafe buffer[...]
            while unsafe !rest.isEmpty {
                let written = unsafe Glibc.write(
                    descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
                if written < 0, errno == EINTR { continue }
                guard written > 0 else { return false }
                unsafe rest = unsafe rest.dropFirst(written)
            }
            return true
        }
    }

    private static func text(of code: Int32) -> String {
        unsafe String(cString: strerror(code))
    }
}
