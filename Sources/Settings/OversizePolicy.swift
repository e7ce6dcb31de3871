// What is too large for the path.

/// What happens to a datagram that does not fit one packet of the path.
public enum OversizePolicy: String, CaseIterable, Sendable {
    /// IP fragments it.
    case fragment
    /// It is dropped and counted.
    case drop
}
