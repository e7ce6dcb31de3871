// Stand-ins behind the two seams: an engine that does what a test tells it, and a record protection that checks instead
// of encrypting. Nothing here is random or knows the time.

import DTLS
import Wire

/// Records in the clear with an eight-byte check that depends on key, number, type and content.
final class FakeProtection: RecordProtection {
    private(set) var sealedNumbers: [UInt64] = []
    private let key: UInt64

    init(key: UInt64 = 1) { self.key = key }

    var expansion: Int { 8 }

    var keys: UInt64 { key }

    convenience init?(importing keys: UInt64) { self.init(key: keys) }

    func seal(
        _ type: ContentType, number: RecordNumber, prefix: borrowing RawSpan, payload: borrowing RawSpan,
        into buffer: inout MutableRawSpan
    ) -> Int? {
        let byteCount = prefix.byteCount + payload.byteCount
        let header = RecordHeader(type: type, number: number, length: byteCount + expansion)
        let end = RecordHeader.size + byteCount
        sealedNumbers.append(number.rawValue)
        guard end + expansion <= buffer.byteCount else { return nil }
        header.write(into: &buffer)
        buffer.write(prefix, at: RecordHeader.size)
        buffer.write(payload, at: RecordHeader.size + prefix.byteCount)
        let sum = check(type, number, buffer.bytes.extracting(RecordHeader.size..<end))
        buffer.write(sum, at: end)
        return end + expansion
    }

    func open(_ record: inout MutableRawSpan, header: RecordHeader) -> Range<Int>? {
        guard header.length >= expansion else { return nil }
        let end = RecordHeader.size + header.length - expansion
        guard let content = record.bytes.slice(at: RecordHeader.size, count: end - RecordHeader.size),
            record.bytes.uint64(at: end) == check(header.type, header.number, content)
        else { return nil }
        return RecordHeader.size..<end
    }

    private func check(_ type: ContentType, _ number: RecordNumber, _ content: borrowing RawSpan) -> UInt64 {
        var sum = key &* 0x9e37_79b9_7f4a_7c15 ^ number.rawValue ^ UInt64(type.rawValue) << 56
        for index in 0..<content.byteCount {
            sum = (sum ^ UInt64(content.uint8(at: index) ?? 0)) &* 0x100_0000_01b3
        }
        return sum
    }
}

/// An engine that a test drives. Unless told otherwise, a Finished ends its handshake with keys, and a HelloRequest
/// without.
final class FakeEngine: HandshakeEngine {
    static let earliness = Duration.milliseconds(15)

    var datagramSize: Int
    var flightTimer = FlightTimer.due(in: .seconds(1))
    var outbox: [[UInt8]] = []
    var startProgress = HandshakeProgress<FakeProtection>.waiting
    var result: HandshakeResult<FakeProtection>
    var failure = HandshakeFailure(.mismatch, detail: "no shared cipher")
    private(set) var received: [[UInt8]] = []
    private(set) var timeouts = 0
    private(set) var starts = 0

    init(datagramSize: Int = 1472, key: UInt64 = 1, peer: PeerIdentity = PeerIdentity(commonName: "peer")) {
        self.datagramSize = datagramSize
        result = HandshakeResult(
            protection: FakeProtection(key: key), nextSequence: 1, receivedSequences: [0], finalFlight: nil, peer: peer,
            cipherSuite: "FAKE", isResumed: false)
    }

    func start() -> HandshakeProgress<FakeProtection> {
        starts += 1
        outbox.append(FakePeer.handshake(1, sequence: 0))
        return startProgress
    }

    func receive(_ record: borrowing RawSpan) -> HandshakeProgress<FakeProtection> {
        received.append(record.copied())
        switch record.uint8(at: RecordHeader.size) {
        case 20 where record.uint8(at: 0) == 22: return .established(result)
        case 0 where record.uint8(at: 0) == 22: return .failed(failure)
        default: return .waiting
        }
    }

    func handleTimeout() -> HandshakeProgress<FakeProtection> {
        timeouts += 1
        flightTimer = .due(in: .seconds(min(1 << min(timeouts, 6), 60)))
        outbox.append(FakePeer.handshake(1, sequence: UInt64(timeouts)))
        return .waiting
    }

    func pollTransmit() -> [UInt8]? { outbox.isEmpty ? nil : outbox.removeFirst() }
}

/// What the other end would send.
enum FakePeer {
    /// A handshake message of some type without a body, in a record of epoch 0.
    static func handshake(_ type: UInt8, sequence: UInt64) -> [UInt8] {
        clear(.handshake, [type] + [UInt8](repeating: 0, count: 11), sequence: sequence)
    }

    /// A record in the clear.
    static func clear(
        _ type: ContentType, _ content: [UInt8], epoch: UInt16 = 0, sequence: UInt64 = 0,
        version: ProtocolVersion = .dtls12
    ) -> [UInt8] {
        let header = RecordHeader(
            type: type, version: version, number: RecordNumber(epoch: epoch, sequence: sequence), length: content.count)
        var record = [UInt8](repeating: 0, count: RecordHeader.size)
        record.withMutableBytes { _ = header.write(into: &$0) }
        return record + content
    }

    /// A ClientHello, as far as a cookie exchange looks.
    static func hello(
        sequence: UInt8 = 0, cookie: [UInt8] = [], random: UInt8 = 7, session: [UInt8] = [], version: UInt8 = 0xfd
    ) -> [UInt8] {
        let body =
            [0xfe, version] + [UInt8](repeating: random, count: 32) + [UInt8(session.count)] + session
            + [UInt8(cookie.count)] + cookie + [0, 2, 0xc0, 0x2b, 1, 0]
        let length = UInt8(body.count)
        let message = [1, 0, 0, length, 0, sequence, 0, 0, 0, 0, 0, length] + body
        return clear(.handshake, message, sequence: UInt64(sequence) + 40, version: .dtls10)
    }

    /// A record of epoch 1 under a key.
    static func sealed(
        _ content: [UInt8], as type: ContentType = .applicationData, sequence: UInt64, epoch: UInt16 = 1,
        key: UInt64 = 1
    ) -> [UInt8] {
        var record = [UInt8](repeating: 0, count: RecordHeader.size + content.count + 8)
        let protection = FakeProtection(key: key)
        record.withMutableBytes {
            _ = protection.seal(
                type, number: RecordNumber(epoch: epoch, sequence: sequence), plaintext: content.bytes, into: &$0)
        }
        return record
    }
}

/// A keyed sum in the place of an HMAC.
final class FakeKey: MessageAuthentication {
    private let key: UInt64

    init(_ key: UInt64) { self.key = key }

    func tag(_ message: borrowing RawSpan) -> AuthenticationTag {
        var words: [4 of UInt64] = [1, 2, 3, 4]
        for lane in 0..<4 {
            var sum = (key &+ UInt64(lane)) &* 0x9e37_79b9_7f4a_7c15
            for index in 0..<message.byteCount {
                sum = (sum ^ UInt64(message.uint8(at: index) ?? 0)) &* 0x100_0000_01b3
            }
            words[lane] = sum
        }
        return AuthenticationTag(words: words)
    }
}

extension Instant {
    /// So many seconds after the beginning of a test.
    static func at(_ seconds: Double) -> Instant { Instant(nanoseconds: Int64((seconds * 1_000_000_000).rounded())) }
}
