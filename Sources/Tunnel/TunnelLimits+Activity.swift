// How exactly it is known when a flow was last active, and from when on it counts as idle.

import Settings

extension TunnelLimits {
    /// How finely a flow's activity is noted.
    var granularity: Duration { min(.seconds(1), flowTimeout / 16) }

    /// How long a flow must have been idle before it may have to give way to a new one: a stranger that keeps coming
    /// must not push out what is in use.
    static var idleBeforeEviction: Duration { .seconds(10) }
}
