// Where OpenSSL's handshake reads and writes. OpenSSL sees a datagram socket that hands out one record per read, so
// that no record hides behind another. What it writes is cut into records again, because it repeats a lost flight one
// record at a time; the records of one call are packed into as few datagrams as they fit. On the way, this file
// keeps account of what left: the numbers that were used and the parts of the last flight that cannot be had later.

internal import COpenSSL
internal import DTLS
internal import Wire

/// A datagram socket that is no socket.
///
/// The SSL that uses ``bio`` has to be freed before this object goes.
@safe
final class DatagramBIO {
    /// The most bytes a datagram may have, unless a single record is longer.
    var datagramSize: Int
    /// The next number for a record of epoch 0 and 1.
    private(set) var nextSequence: [2 of UInt64] = [0, 0]
    /// The number of the last handshake message that was written in the clear.
    private(set) var lastMessageSequence: UInt16 = 0
    /// The NewSessionTicket message that was written last, with a header as if it had not been fragmented.
    private(set) var sessionTicket: [UInt8]?

    private var incoming: [UInt8]?
    private var datagrams: [[UInt8]] = []
    private var open: [UInt8] = []

    init(datagramSize: Int) {
        self.datagramSize = datagramSize
    }

    /// Makes the BIO for one SSL, which takes it over.
    func makeBIO() throws(OpenSSLError) -> OpaquePointer {
        let bio = try unsafe OpenSSLError.wrap("making a datagram BIO") { unsafe BIO_new(Self.method.pointer) }
        unsafe BIO_set_data(bio, Unmanaged.passUnretained(self).toOpaque())
        unsafe BIO_set_init(bio, 1)
        return unsafe bio
    }

    /// Lays a record out to be read next.
    func feed(_ record: [UInt8]) {
        incoming = record
    }

    /// To be called after each call into OpenSSL: ends the datagram that was being filled.
    func flush() {
        guard !open.isEmpty else { return }
        datagrams.append(open)
        open = []
    }

    /// Takes back everything that has not been sent.
    func discardTransmits() {
        open = []
        datagrams = []
    }

    /// The next datagram to send.
    func pollTransmit() -> [UInt8]? {
        datagrams.isEmpty ? nil : datagrams.removeFirst()
    }

    /// Puts a record of our own behind those that OpenSSL has written.
    func send(_ record: borrowing RawSpan) {
        guard let header = RecordHeader(record, at: 0) else { return }
        account(for: header, content: record.extracting(RecordHeader.size..<RecordHeader.size + header.length))
        if !open.isEmpty, open.count + record.byteCount > datagramSize { flush() }
        open += record.copied()
    }

    // MARK: What OpenSSL calls

    private func write(_ bytes: RawSpan) {
        var offset = 0
        while let header = RecordHeader(bytes, at: offset) {
            let next = offset + RecordHeader.size + header.length
            send(bytes.extracting(offset..<next))
            offset = next
        }
    }

    /// Copies the next record; nil when there is none. Of a record that is too long only the beginning arrives, as
    /// with a socket.
    private func read(into target: UnsafeMutableRawBufferPointer) -> Int? {
        guard let record = incoming else { return nil }
        incoming = nil
        let count = min(record.count, target.count)
        unsafe target.copyBytes(from: record.prefix(count))
        return count
    }

    private func account(for header: RecordHeader, content: RawSpan) {
        guard header.number.epoch <= 1 else { return }
        let epoch = Int(header.number.epoch)
        nextSequence[epoch] = max(nextSequence[epoch], header.number.sequence + 1)
        guard epoch == 0, header.type == .handshake, let message = HandshakeHeader(content) else { return }
        lastMessageSequence = max(lastMessageSequence, message.sequence)
        if message.type == .newSessionTicket { keepTicket(message, content) }
    }

    private func keepTicket(_ message: HandshakeHeader, _ content: RawSpan) {
        if message.fragmentOffset == 0 {
            var whole = HandshakeHeader(type: .newSessionTicket, length: message.length, sequence: message.sequence)
            whole.fragmentLength = message.length
            var bytes = [UInt8](repeating: 0, count: HandshakeHeader.size)
            bytes.withMutableBytes { _ = whole.write(into: &$0, at: 0) }
            sessionTicket = bytes
        }
        // Fragments are written in order, so anything else is a repetition.
        guard let ticket = sessionTicket, ticket.count == HandshakeHeader.size + message.fragmentOffset,
            let body = content.slice(at: HandshakeHeader.size, count: message.fragmentLength)
        else { return }
        sessionTicket = ticket + body.copied()
    }

    @safe
    private struct Method: @unchecked Sendable {
        // Immutable once made, shared by all threads, and kept for as long as the program runs.
        let pointer: OpaquePointer?
    }

    private static let method: Method = {
        guard let method = unsafe BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "culvert datagrams") else {
            return unsafe Method(pointer: nil)
        }
        unsafe BIO_meth_set_write(method) { bio, bytes, count in
            guard let bio = unsafe bio, let bytes = unsafe bytes, count > 0 else { return 0 }
            unsafe culvert_clear_retry(bio)
            let buffer = unsafe UnsafeRawBufferPointer(start: bytes, count: Int(count))
            unsafe DatagramBIO.of(bio)?.write(RawSpan(_unsafeBytes: buffer))
            return count
        }
        unsafe BIO_meth_set_read(method) { bio, bytes, count in
            guard let bio = unsafe bio, let bytes = unsafe bytes, count > 0 else { return 0 }
            unsafe culvert_clear_retry(bio)
            let buffer = unsafe UnsafeMutableRawBufferPointer(start: bytes, count: Int(count))
            if let read = unsafe DatagramBIO.of(bio)?.read(into: buffer) { return Int32(truncatingIfNeeded: read) }
            unsafe culvert_nothing_to_read(bio)
            return -1
        }
        unsafe BIO_meth_set_ctrl(method) { _, command, _, _ in
            switch command {
            case BIO_CTRL_FLUSH: 1
            // The size of flights is set as a UDP payload. OpenSSL would refuse less than 256 bytes of packet.
            case BIO_CTRL_DGRAM_GET_MTU_OVERHEAD: 48
            default: 0
            }
        }
        return unsafe Method(pointer: method)
    }()

    private static func of(_ bio: OpaquePointer) -> DatagramBIO? {
        guard let data = unsafe BIO_get_data(bio) else { return nil }
        return unsafe Unmanaged<DatagramBIO>.fromOpaque(data).takeUnretainedValue()
    }
}
