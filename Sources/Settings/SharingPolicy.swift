// Whether each flow has an association, or many flows share one.

/// Whether flows share an association, which takes culvert at both ends.
public enum SharingPolicy: String, CaseIterable, Sendable {
    /// If the peer can.
    case auto
    /// Always; a peer that cannot is refused.
    case always
    /// Never.
    case never
}
