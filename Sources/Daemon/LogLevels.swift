// From which level on lines are written: for the daemon, and for single tunnels where they have a level of their own.
// All threads ask, and any may change it; asking costs an atomic load or two.

import Logging
import Synchronization

/// A level that can be changed while others ask for it.
final class LogThreshold: Sendable {
    private let rank: Atomic<UInt8>
    private let parent: LogThreshold?

    /// Starts at `level`.
    init(_ level: LogLevel) {
        rank = Atomic(level.rank)
        parent = nil
    }

    /// Starts at its parent's level, and follows it whenever it has none of its own.
    init(of parent: LogThreshold) {
        rank = Atomic(Self.parents)
        self.parent = parent
    }

    /// The level that holds.
    var level: LogLevel { own ?? parent?.level ?? .info }

    /// The level of its own, if it has one.
    var own: LogLevel? { LogLevel(rank: rank.load(ordering: .relaxed)) }

    /// Changes it; nil for the parent's level.
    func set(_ level: LogLevel?) { rank.store(level?.rank ?? Self.parents, ordering: .relaxed) }

    private static var parents: UInt8 { .max }
}

/// The levels of the daemon and its tunnels.
final class LogLevels: Sendable {
    let daemon: LogThreshold
    private let tunnels = Mutex<[String: LogThreshold]>([:])

    init(_ level: LogLevel) { daemon = LogThreshold(level) }

    /// The threshold of a tunnel; the daemon's until another is set.
    func threshold(of tunnel: String) -> LogThreshold {
        tunnels.withLock { tunnels in
            if let known = tunnels[tunnel] { return known }
            let made = LogThreshold(of: daemon)
            tunnels[tunnel] = made
            return made
        }
    }

    /// Changes a tunnel's level, nil for the daemon's; false if there is no such tunnel.
    func set(_ level: LogLevel?, tunnel: String) -> Bool {
        guard let threshold = tunnels.withLock({ $0[tunnel] }) else { return false }
        threshold.set(level)
        return true
    }

    /// Sets all levels as in a configuration. Tunnels that are not in it are forgotten.
    func configure(_ level: LogLevel, tunnels configured: [String: LogLevel?]) {
        daemon.set(level)
        tunnels.withLock { tunnels in
            tunnels = tunnels.filter { configured.keys.contains($0.key) }
            for (name, level) in configured {
                let threshold = tunnels[name] ?? LogThreshold(of: daemon)
                threshold.set(level)
                tunnels[name] = threshold
            }
        }
    }

    /// The tunnels that have a level of their own.
    var ofTunnels: [String: LogLevel] { tunnels.withLock { $0.compactMapValues(\.own) } }
}

extension LogLevel {
    fileprivate var rank: UInt8 {
        switch self {
        case .trace: 0
        case .debug: 1
        case .info: 2
        case .notice: 3
        case .warning: 4
        case .error: 5
        case .critical: 6
        }
    }

    fileprivate init?(rank: UInt8) {
        switch rank {
        case 0: self = .trace
        case 1: self = .debug
        case 2: self = .info
        case 3: self = .notice
        case 4: self = .warning
        case 5: self = .error
        case 6: self = .critical
        default: return nil
        }
    }
}
