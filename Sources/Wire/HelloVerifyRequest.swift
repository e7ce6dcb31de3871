// The stateless answer to a first ClientHello (RFC 6347 §4.2.1).

/// A HelloVerifyRequest message in a record of its own.
public enum HelloVerifyRequest {
    /// Bytes of the whole datagram for a cookie of `cookieLength` bytes.
    public static func size(cookieLength: Int) -> Int {
        RecordHeader.size + HandshakeHeader.size + 3 + cookieLength
    }

    /// Writes the datagram that answers a hello whose record had the number `number`; returns its length, or nil where
    /// it does not fit or the cookie is longer than 255 bytes.
    ///
    /// The record repeats the hello's sequence number, so that nothing has to be remembered (RFC 6347 §4.2.1), and
    /// both versions stay at DTLS 1.0, as the same section asks.
    public static func write(
        cookie: borrowing RawSpan, answering number: RecordNumber, into buffer: inout MutableRawSpan
    ) -> Int? {
        let size = size(cookieLength: cookie.byteCount)
        guard cookie.byteCount <= 255, buffer.byteCount >= size else { return nil }
        let length = 3 + cookie.byteCount
        let record = RecordHeader(
            type: .handshake, version: .dtls10, number: number, length: HandshakeHeader.size + length)
        let message = HandshakeHeader(type: .helloVerifyRequest, length: length, sequence: 0)
        let body = RecordHeader.size + HandshakeHeader.size
        guard record.write(into: &buffer), message.write(into: &buffer, at: RecordHeader.size),
            buffer.write(ProtocolVersion.dtls10.rawValue, at: body),
            buffer.write(UInt8(cookie.byteCount), at: body + 2), buffer.write(cookie, at: body + 3)
        else { return nil }
        return size
    }
}
