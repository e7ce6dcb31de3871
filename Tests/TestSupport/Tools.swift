// Where scripts/dependencies puts what comes by pip.

import Foundation

/// Python's packages, each in a place of its own.
public enum Tools {
    /// Where `program` of `package` is, if it is installed.
    public static func path(_ package: String, _ program: String) -> String {
        let environment = ProcessInfo.processInfo.environment
        let cache = environment["XDG_CACHE_HOME"] ?? (environment["HOME"] ?? "/root") + "/.cache"
        return (environment["CULVERT_TOOLS"] ?? cache + "/culvert") + "/\(package)/bin/\(program)"
    }
}
