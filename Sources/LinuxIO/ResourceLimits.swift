// What the system lets this process have: open files and CPUs.

internal import CLinux
internal import Glibc

/// The limits of this process.
public enum ResourceLimits {
    /// How many files may be open; nil where the system does not tell.
    public static var openFiles: Int? {
        var limit = rlimit()
        guard unsafe getrlimit(CInt(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return nil }
        return Int(exactly: limit.rlim_cur)
    }

    /// Raises the number of files that may be open to the most that is allowed.
    public static func raiseOpenFiles() throws(SystemError) {
        var limit = rlimit()
        guard unsafe getrlimit(CInt(RLIMIT_NOFILE.rawValue), &limit) == 0 else { throw .last("getrlimit") }
        guard limit.rlim_cur < limit.rlim_max else { return }
        limit.rlim_cur = limit.rlim_max
        guard unsafe setrlimit(CInt(RLIMIT_NOFILE.rawValue), &limit) == 0 else { throw .last("setrlimit") }
    }
}

/// The processors.
public enum CPUCount {
    /// How many CPUs this process may run on; at least 1.
    public static var available: Int { max(1, Int(culvert_available_cpus())) }
}
