// Who has an association: each flow, or many flows together.

/// Whether flows share an association, which takes culvert at both ends.
public enum SharingPolicy: String, CaseIterable, Sendable {
    /// Where the peer can.
    case auto
    /// Always; a peer that cannot is refused.
    case always
    /// Never.
    case never
}
