// Which group a file belongs to, for telling a user which one to join.

internal import CLinux
internal import Glibc

/// The groups of files.
public enum FileGroup {
    /// The name of the group that the file at `path` belongs to, or its number where it has none; nil where the file cannot be
    /// seen.
    public static func name(of path: String) -> String? {
        var status = stat()
        guard unsafe stat(path, &status) == 0 else { return nil }
        var text = [CChar](repeating: 0, count: 256)
        let result = unsafe text.withUnsafeMutableBufferPointer { buffer in
            unsafe culvert_group_name(status.st_gid, buffer.baseAddress, buffer.count)
        }
        guard result == 0 else { return "\(status.st_gid)" }
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
