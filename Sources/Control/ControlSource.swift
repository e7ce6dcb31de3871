// The seam between the control API and the daemon behind it: everything that the API shows or does is asked for here.
// The server asks on the control plane's one thread, and a source must not block it: it asks whoever knows, returns,
// and gives the value later, once, from any thread. A value that takes longer than `ControlLimits.response` is not
// waited for.

/// Whether the daemon takes what comes.
public enum Readiness: Sendable, Equatable {
    /// It does: every tunnel has its socket. Whether peers answer is the tunnels' state.
    case ready
    /// Not yet, or no longer: one sentence for each reason, such as `the daemon is draining`.
    case waiting([String])
}

/// What the daemon knows and does.
public protocol ControlSource: Sendable {
    /// Whether the daemon takes what comes.
    func readiness(_ give: @escaping @Sendable (Readiness) -> Void)
    /// The daemon as a whole.
    func status(_ give: @escaping @Sendable (DaemonStatus) -> Void)
    /// All tunnels in the config's order.
    func tunnels(_ give: @escaping @Sendable ([TunnelStatus]) -> Void)
    /// A part of the list of associations; `PageQuery.page` cuts it out.
    func associations(_ query: PageQuery, _ give: @escaping @Sendable (Page<AssociationStatus>) -> Void)
    /// One association; nil if there is none of that id.
    func association(_ id: String, _ give: @escaping @Sendable (AssociationStatus?) -> Void)
    /// A part of the list of flows.
    func flows(_ query: PageQuery, _ give: @escaping @Sendable (Page<FlowStatus>) -> Void)
    /// The configuration that is in force, defaults included, secrets never, as the bytes of a JSON object.
    func configuration(_ give: @escaping @Sendable ([UInt8]) -> Void)
    /// Metrics in Prometheus' text format; those of single associations only if asked for.
    func metrics(associations: Bool, _ give: @escaping @Sendable (String) -> Void)
    /// Tells every event from now on to `listener`, from any thread, until the subscription is cancelled; before those, the
    /// events with a greater id than `after` that are still remembered, if `after` is given. `listener` returns at once.
    func subscribe(after: UInt64?, _ listener: @escaping @Sendable (ControlEvent) -> Void) -> ControlSubscription

    /// Ends an association in an orderly way.
    func close(association id: String, _ give: @escaping @Sendable (ControlOutcome<AssociationAction>) -> Void)
    /// Sends a heartbeat request and waits for its answer, for less than `ControlLimits.response`.
    func ping(association id: String, _ give: @escaping @Sendable (ControlOutcome<PingResult>) -> Void)
    /// Begins a handshake that replaces an association's keys.
    func rekey(association id: String, _ give: @escaping @Sendable (ControlOutcome<AssociationAction>) -> Void)
    /// Reads the configuration again.
    func reload(_ give: @escaping @Sendable (ControlOutcome<ReloadResult>) -> Void)
    /// Accepts nothing new from now on.
    func drain(_ give: @escaping @Sendable (ControlOutcome<DrainResult>) -> Void)
    /// Sets from which severity on a line is logged; the level has been checked. An unknown tunnel is not found.
    func setLogLevel(_ setting: LogLevelSetting, _ give: @escaping @Sendable (ControlOutcome<LogLevelSetting>) -> Void)
}

/// A subscription to events.
public struct ControlSubscription: Sendable {
    private let ending: @Sendable () -> Void

    /// A subscription that `cancel` ends; it may be called from any thread.
    public init(cancel: @escaping @Sendable () -> Void) { ending = cancel }

    /// Ends it. A call of the listener that has already begun may still go on.
    public func cancel() { ending() }
}
