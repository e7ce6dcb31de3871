// Which handshake records in the clear may reach OpenSSL. To it, a length that is out of bounds or a message that only
// the other role sends is a broken peer, and the handshake is over; from a stranger, or a mirror, they must cost
// nothing. A message that is forged with care still ends a handshake: nothing in the clear can be told from the peer's
// (RFC 6347 §4.2.1 goes no further either).

internal import DTLS
internal import Wire

/// Judges handshake records of epoch 0 by their form.
struct HandshakeMessageFilter {
    /// Which end this is.
    let role: HandshakeContext.Role

    /// Hashes of the records with a Certificate that this end has sent. It is the one message in the clear that both
    /// roles send, so only by this a reflected one is known.
    private var sentCertificates: Set<Int> = []

    init(role: HandshakeContext.Role) { self.role = role }

    /// Why a whole record, header included, has to be dropped; nil where it may go on.
    func objection(to record: borrowing RawSpan) -> DropReason? {
        guard let content = record.slice(at: RecordHeader.size, count: record.byteCount - RecordHeader.size),
            content.byteCount > 0
        else { return .malformed }
        var offset = 0
        while offset < content.byteCount {
            guard let message = HandshakeHeader(content, at: offset), message.length <= Self.maximumLength else {
                return .malformed
            }
            guard (role == .client ? Self.fromServer : Self.fromClient).contains(message.type.rawValue) else {
                return .contentType
            }
            if message.type.rawValue == Self.certificate, sentCertificates.contains(Self.hash(record)) {
                return .replayed
            }
            offset += HandshakeHeader.size + message.fragmentLength
        }
        return nil
    }

    /// Remembers what would be a reflection if it came back.
    mutating func noteSent(_ datagram: [UInt8]) {
        var offset = 0
        while let header = RecordHeader(datagram.bytes, at: offset) {
            let next = offset + RecordHeader.size + header.length
            if header.type == .handshake, header.number.epoch == 0,
                datagram.bytes.uint8(at: offset + RecordHeader.size) == Self.certificate
            {
                sentCertificates.insert(Self.hash(datagram.bytes.extracting(offset..<next)))
            }
            offset = next
        }
    }

    private static func hash(_ record: borrowing RawSpan) -> Int { record.copied().hashValue }

    /// As much as OpenSSL is set to take.
    private static let maximumLength = HandshakeContext.maximumMessageLength
    private static let certificate: UInt8 = 11
    /// client_hello, certificate, certificate_verify, client_key_exchange.
    private static let fromClient: [UInt8] = [1, certificate, 15, 16]
    /// hello_request, server_hello, hello_verify_request, new_session_ticket, certificate, server_key_exchange,
    /// certificate_request, server_hello_done, certificate_status.
    private static let fromServer: [UInt8] = [0, 2, 3, 4, certificate, 12, 13, 14, 22]
}
