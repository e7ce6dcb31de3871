// Why a handshake came to nothing: in terms that a program can go by, and in a sentence for people. What can be done
// about it is for whoever knows what can be set.

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

    /// What exactly is known to be behind it.
    public enum Cause: Hashable, Sendable {
        /// No answer came in time. A peer is as silent that has another pre-shared key, or none.
        case silence
        /// The engine has repeated its flight as often as it ever does.
        case repetitionsExhausted
        /// The peer has shown no certificate, and it has to.
        case noCertificate
        /// The peer's certificate has this against it.
        case certificate(CertificateFault)
        /// The peer's pre-shared key identity is not known here.
        case unknownPreSharedKey
        /// The identity is known, but with another key.
        case otherPreSharedKey
        /// No cipher suite that both ends would use.
        case noCommonCipher
        /// No version of the protocol that both ends speak.
        case noCommonVersion
        /// No group for the key exchange, or no curve of a certificate, that both ends support.
        case noCommonGroup
        /// The peer lacks what every TLS library of today has: signature algorithms, or safe renegotiation (RFC 5746).
        case obsoletePeer
        /// The peer lacks the extended master secret (RFC 7627), and it has to have it.
        case noExtendedMasterSecret
        /// The peer does not offer the application protocol (RFC 7301) that it has to.
        case noApplicationProtocol
    }

    /// The kind of failure.
    public var reason: Reason
    /// What is behind it; nil where the reason is all there is to say.
    public var cause: Cause?
    /// What happened, such as `certificate verify failed: certificate has expired (CN=edge-7)`.
    public var detail: String

    /// Puts a failure together.
    public init(_ reason: Reason, _ cause: Cause? = nil, detail: String) {
        self.reason = reason
        self.cause = cause
        self.detail = detail
    }

    /// The peer has ended the handshake with an alert.
    public init(alert: Alert.Description) {
        self.init(.alert(alert), detail: "the peer ended the handshake with alert \(alert)")
    }
}

extension HandshakeFailure: CustomStringConvertible {
    /// What happened.
    public var description: String { detail }
}
