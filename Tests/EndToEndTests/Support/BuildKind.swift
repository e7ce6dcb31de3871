// What kind of build the daemons are, for tests that measure: unoptimized and sanitized programs are slower and larger.

import Foundation

/// The build under test.
enum BuildKind {
    /// Whether a sanitizer is in it; memory then says nothing about the program.
    static let isSanitized = dlsym(nil, "__asan_init") != nil || dlsym(nil, "__tsan_init") != nil

    /// Whether it is optimized.
    static let isOptimized: Bool = {
        #if DEBUG
            ProcessInfo.processInfo.environment["CULVERT"] != nil
        #else
            true
        #endif
    }()

    /// How long a daemon may take to end: a second, and what debugging and sanitizers add.
    static let promisedEnd: Duration = isSanitized ? .seconds(10) : isOptimized ? .seconds(1) : .seconds(4)
}
