// What this process uses of the system.

internal import Glibc

/// This process.
public enum ProcessUsage {
    /// Its number.
    public static var identifier: Int { Int(getpid()) }

    /// Bytes of its memory that are in RAM, shared ones included; nil if the system does not tell.
    public static var residentBytes: UInt64? {
        let descriptor = unsafe open("/proc/self/statm", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 256)
        let count = unsafe bytes.withUnsafeMutableBytes { unsafe read(descriptor, $0.baseAddress, $0.count) }
        guard count > 0 else { return nil }
        let fields = String(decoding: bytes.prefix(count), as: UTF8.self).split(separator: " ")
        guard fields.count > 1, let pages = UInt64(fields[1]) else { return nil }
        return pages * UInt64(max(sysconf(CInt(_SC_PAGESIZE)), 1))
    }

    /// Open file descriptors; nil where the system does not tell.
    public static var openFiles: Int? {
        guard let directory = unsafe opendir("/proc/self/fd") else { return nil }
        defer { unsafe closedir(directory) }
        var count = 0
        while unsafe readdir(directory) != nil { count += 1 }
        // The directory itself, its parent, and the descriptor that reads it.
        return max(count - 3, 0)
    }
}
