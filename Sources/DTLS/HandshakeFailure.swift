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
        /// The system's clock was set while the handshake ran, and its timer with it.
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

extension HandshakeFailure {
    /// The peer has ended the handshake with an alert.
    public init(alert: Alert.Description) {
        self.init(
            .alert(alert), detail: "the peer ended the handshake with alert \(alert)",
            advice: Self.advice[alert.rawValue] ?? "its log says why")
    }

    private static let advice: [UInt8: String] = [
        40: "compare ciphers at both ends, and whether both use certificates or both a pre-shared key; "
            + "the peer may also want a certificate from this end (identity)",
        42: "the peer does not accept this end's certificate: see its log",
        43: "the peer does not accept this end's kind of certificate: see its log",
        44: "this end's certificate has been revoked: obtain a new one",
        45: "this end's certificate has expired, or the peer's clock is wrong",
        46: "the peer does not accept this end's certificate: see its log",
        48: "add the authority of this end's certificate to the peer's trust",
        49: "the peer does not let this identity in: see its allow_peers",
        51: "with a pre-shared key: compare identity and key at both ends",
        70: "the peer does not speak DTLS 1.2",
        71: "the peer demands stronger ciphers or keys",
        90: "the peer was stopped",
        112: "the peer does not know the name that it was asked for: see server_name",
        115: "the peer does not know this end's psk_identity",
        116: "the peer wants a certificate from this end: set identity",
        120: "the peer insists on an application protocol that this end does not offer: compare sharing at both ends",
    ]
}

extension HandshakeFailure: CustomStringConvertible {
    /// Both sentences in one line.
    public var description: String { advice.map { "\(detail); \($0)" } ?? detail }
}
