// Room for thousands of sockets.

import Foundation

/// This process's open files.
enum OpenFiles {
    /// The limit on them, raised as far as it may be.
    static let limit: Int = {
        var limit = rlimit()
        let files = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        guard getrlimit(files, &limit) == 0 else { return 0 }
        limit.rlim_cur = limit.rlim_max
        setrlimit(files, &limit)
        return Int(clamping: limit.rlim_cur)
    }()
}
