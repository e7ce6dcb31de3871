// Alerts (RFC 5246 §7.2): two bytes, level and description.

/// An alert message.
public struct Alert: Hashable, Sendable {
    /// Length of an alert in bytes.
    public static let size = 2

    /// How grave the sender finds it.
    public enum Level: UInt8, Sendable {
        /// The association may go on.
        case warning = 1
        /// The association is over.
        case fatal = 2
    }

    /// What it says (RFC 5246 §7.2 and the IANA registry).
    public struct Description: RawRepresentable, Hashable, Sendable {
        /// The number on the wire.
        public let rawValue: UInt8
        /// Any number.
        public init(rawValue: UInt8) { self.rawValue = rawValue }

        /// The sender will send no more.
        public static let closeNotify = Description(rawValue: 0)
        /// The sender does not let this identity in.
        public static let accessDenied = Description(rawValue: 49)
        /// The sender ends for a reason that has nothing to do with the protocol.
        public static let userCanceled = Description(rawValue: 90)
        /// The sender does not renegotiate.
        public static let noRenegotiation = Description(rawValue: 100)
    }

    /// How grave it is.
    public var level: Level
    /// What it says.
    public var description: Description

    /// Makes an alert.
    public init(_ level: Level, _ description: Description) {
        self.level = level
        self.description = description
    }

    /// Reads an alert; nil unless `content` is exactly one with a known level.
    public init?(_ content: borrowing RawSpan) {
        guard content.byteCount == Alert.size, let first = content.uint8(at: 0), let level = Level(rawValue: first),
            let second = content.uint8(at: 1)
        else { return nil }
        self.init(level, Description(rawValue: second))
    }

    /// The two bytes of the alert.
    public var bytes: [UInt8] { [level.rawValue, description.rawValue] }
}

extension Alert.Description: CustomStringConvertible {
    /// The registry's name, such as `unknown_ca`.
    public var description: String { Self.names[rawValue] ?? "alert \(rawValue)" }

    private static let names: [UInt8: String] = [
        0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 21: "decryption_failed",
        22: "record_overflow", 30: "decompression_failure", 40: "handshake_failure", 41: "no_certificate",
        42: "bad_certificate", 43: "unsupported_certificate", 44: "certificate_revoked", 45: "certificate_expired",
        46: "certificate_unknown", 47: "illegal_parameter", 48: "unknown_ca", 49: "access_denied",
        50: "decode_error", 51: "decrypt_error", 60: "export_restriction", 70: "protocol_version",
        71: "insufficient_security", 80: "internal_error", 86: "inappropriate_fallback", 90: "user_canceled",
        100: "no_renegotiation", 109: "missing_extension", 110: "unsupported_extension",
        111: "certificate_unobtainable", 112: "unrecognized_name", 113: "bad_certificate_status_response",
        114: "bad_certificate_hash_value", 115: "unknown_psk_identity", 116: "certificate_required",
        120: "no_application_protocol",
    ]
}
