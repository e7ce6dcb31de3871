// Why a handshake came to nothing, in words that an administrator can act on.

public import Wire

/// A handshake's end without keys.
public struct HandshakeFailure: Error, Hashable, Sendable {
    /// The kind of failure, for counters and decisions.
    public enum Reason: Hashable, Sendable {
        /// The peer's certificate did not pass.
        case certificate
        /// The peer named a pre-shared key identity that is not known here, or proved another key.
        case preSharedKey
        /// The peer ended the handshake with this alert.
        case alert(Alert.Description)
        /// The two ends have no version, cipher suite, curve or extension in common.
        case mismatch
        /// The peer broke the protocol.
        case protocolViolation
        /// The peer did not answer.
        case timeout
        /// The wall clock was set while the handshake ran, and its timer with it.
        case clockStep
        /// This end could not go on, for lack of memory or by its own configuration.
        case local
    }

    /// The kind of failure.
    public var reason: Reason
    /// What happened, such as `certificate verify failed: certificate has expired (CN=edge-7)`.
    public var detail: String
    /// What an administrator can do about it; nil where there is nothing to say.
    public var advice: String?

    /// Puts a failure together.
    public init(_ reason: Reason, detail: String, advice: String? = nil) {
        self.reason = reason
        self.detail = detail
        self.advice = advice
    }
}

extension HandshakeFailure: CustomStringConvertible {
    /// Both sentences in one line.
    public var description: String { advice.map { "\(detail); \($0)" } ?? detail }
}
