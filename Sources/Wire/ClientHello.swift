// As much of a ClientHello as a server must read before it spends anything on the client (RFC 6347 §4.2.1). A hello may
// be fragmented: the fields read here have to be in its first fragment, and nothing after the cookie is looked at.
// Cipher suites and extensions are OpenSSL's business.

/// The first fields of a ClientHello, by their place in the datagram that they were read from.
public struct ClientHello: Equatable, Sendable {
    /// Epoch and sequence number of the record that carried it.
    public let recordNumber: RecordNumber
    /// The handshake message's number: 0 for a first hello, 1 for the one that answers a HelloVerifyRequest.
    public let messageSequence: UInt16
    /// The client_version, random and session_id fields: what a cookie vouches for besides the address.
    public let parameters: Range<Int>
    /// The cookie; empty in a first hello.
    public let cookie: Range<Int>

    /// Why a datagram is not read as the beginning of a ClientHello.
    public enum Problem: Error, Equatable, Sendable {
        /// It is a record of another kind, or none at all.
        case notClientHello
        /// It is a later fragment of a hello.
        case laterFragment
        /// Its lengths contradict each other, or its first fragment ends before the cookie does.
        case malformed
    }

    /// Whether a datagram begins with a record that a ClientHello could be in: epoch 0 and content type handshake,
    /// with a ClientHello's message type.
    public static func begins(_ datagram: borrowing RawSpan) -> Bool {
        datagram.uint8(at: 0) == ContentType.handshake.rawValue && datagram.uint16(at: 3) == 0
            && datagram.uint8(at: RecordHeader.size) == HandshakeHeader.MessageType.clientHello.rawValue
    }

    /// Reads the first record of `datagram`.
    public init(_ datagram: borrowing RawSpan) throws(Problem) {
        guard ClientHello.begins(datagram) else { throw .notClientHello }
        guard let record = RecordHeader(datagram, at: 0), record.version.isDTLS,
            let content = datagram.slice(at: RecordHeader.size, count: record.length),
            let message = HandshakeHeader(content), message.length <= ClientHello.maximumLength
        else { throw .malformed }
        guard message.fragmentOffset == 0 else { throw .laterFragment }

        let body = RecordHeader.size + HandshakeHeader.size
        let end = body + message.fragmentLength
        let sessionLength = body + 34
        guard sessionLength < end, let version = datagram.uint16(at: body), version >> 8 == 0xfe,
            let sessionCount = datagram.uint8(at: sessionLength), sessionCount <= 32
        else { throw .malformed }
        let cookieLength = sessionLength + 1 + Int(sessionCount)
        guard cookieLength < end, let cookieCount = datagram.uint8(at: cookieLength),
            cookieLength + 1 + Int(cookieCount) <= end
        else { throw .malformed }

        recordNumber = record.number
        messageSequence = message.sequence
        parameters = body..<cookieLength
        cookie = cookieLength + 1..<cookieLength + 1 + Int(cookieCount)
    }

    /// The longest hello that is worth an answer, in bytes: generous for post-quantum key shares, far below what a
    /// handshake header can announce.
    public static let maximumLength = 16_384
}
