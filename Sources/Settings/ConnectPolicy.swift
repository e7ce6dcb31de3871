// When the association that flows share is established.

/// When a client establishes the association that its flows share.
public enum ConnectPolicy: String, CaseIterable, Sendable {
    /// When the daemon starts, and again whenever it is lost.
    case start
    /// With the first datagram.
    case firstDatagram = "first-datagram"
}
