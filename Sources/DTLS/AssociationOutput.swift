// What an association gives to its owner, who polls it.

extension Association {
    /// What has changed and is told once.
    public enum Event: Sendable {
        /// The handshake is done; data flows once the owner has called ``Association/accept()``.
        case established(AssociationDescription)
        /// The path MTU has changed, or is known for the first time: `from` is nil then.
        case pathMTUChanged(PathMTU, from: Int?)
        /// The peer has answered a heartbeat after this time.
        case roundTrip(Duration)
        /// The outcome of ``Association/ping(now:)``: the time that the answer took, or nil if the heartbeat was lost.
        case pinged(Duration?)
        /// A handshake's flight has gone unanswered for seconds; it is repeated. Told once.
        case unanswered
        /// The keys have protected as many records as they should; repeated now and then.
        case worn
        /// The association is over.
        case ended(AssociationEnd)
    }

    /// A datagram to send that holds no data.
    public struct Transmit: Equatable, Sendable {
        /// The whole datagram.
        public var datagram: [UInt8]
        /// Whether IP may fragment it; a probe of the path MTU must not be fragmented.
        public var mayFragment: Bool
    }
}
