// Why a flow of a shared association was closed, as CLOSE says it (docs/PROTOCOL.md).

/// The reason in a CLOSE frame. Numbers that are not known here are kept as they are.
public struct CloseReason: RawRepresentable, Hashable, Sendable {
    /// The number on the wire.
    public let rawValue: UInt64
    /// Any number up to ``VariableLengthInteger/maximum``.
    @inlinable
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// The flow was idle for a long time, or its sender is done.
    public static let done = CloseReason(rawValue: 0)
    /// A frame named a flow that its receiver does not have.
    public static let unknownFlow = CloseReason(rawValue: 1)
    /// There is no service of this name.
    public static let unknownService = CloseReason(rawValue: 2)
    /// The peer, or its address, may not use this service.
    public static let forbidden = CloseReason(rawValue: 3)
    /// A limit on flows was reached.
    public static let limit = CloseReason(rawValue: 4)
    /// The target cannot be reached: it has no address, or there is no socket for it.
    public static let unreachable = CloseReason(rawValue: 5)
    /// The sender is shutting down.
    public static let shuttingDown = CloseReason(rawValue: 6)
}

extension CloseReason: CustomStringConvertible {
    /// The reason in words, such as `unknown service`.
    public var description: String {
        switch self {
        case .done: "idle or done"
        case .unknownFlow: "unknown flow"
        case .unknownService: "unknown service"
        case .forbidden: "forbidden"
        case .limit: "limit reached"
        case .unreachable: "target unreachable"
        case .shuttingDown: "shutting down"
        default: "reason \(rawValue)"
        }
    }
}
