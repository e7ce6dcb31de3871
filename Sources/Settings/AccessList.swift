// Who may have an association: by source address before anything is spent on it, by proven identity afterwards.

public import Wire

/// Who may have an association. Empty lists allow everybody.
public struct AccessList: Equatable, Sendable {
    /// Source addresses, one of which has to contain the peer's.
    public var sources: [IPPrefix]
    /// Rules, one of which the peer's identity has to fit.
    public var peers: [PeerRule]

    /// Makes a list.
    public init(sources: [IPPrefix] = [], peers: [PeerRule] = []) {
        self.sources = sources
        self.peers = peers
    }
}
