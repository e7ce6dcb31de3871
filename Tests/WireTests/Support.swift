// What the tests of the wire share: bytes from text, and a random generator that gives the same bytes every time.

import Wire

/// The bytes that hexadecimal digits say; white space is skipped.
func hex(_ text: String) -> [UInt8] {
    let digits = text.compactMap(\.hexDigitValue)
    return stride(from: 0, to: digits.count - 1, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
}

/// xorshift64*: the same numbers for the same seed.
struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed | 1 }

    mutating func next() -> UInt64 {
        state ^= state >> 12
        state ^= state << 25
        state ^= state >> 27
        return state &* 0x2545_f491_4f6c_dd1d
    }

    mutating func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8.random(in: 0...255, using: &self) }
    }
}

/// What a program wrote at the start of `count` bytes.
func written(_ count: Int, _ body: (inout MutableRawSpan) -> Bool) -> [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: count)
    return bytes.withMutableBytes { body(&$0) } ? bytes : nil
}

/// Whether a server would take these bytes for the beginning of a hello.
func looksLikeHello(_ datagram: [UInt8]) -> Bool { ClientHello.begins(datagram.bytes) }

/// Reads the first fields of a hello.
func readHello(_ datagram: [UInt8]) throws(ClientHello.Problem) -> ClientHello { try ClientHello(datagram.bytes) }

/// Reads the header of a record.
func readRecord(_ datagram: [UInt8], at offset: Int = 0) -> RecordHeader? { RecordHeader(datagram.bytes, at: offset) }

/// Reads the header of a handshake message.
func readMessage(_ content: [UInt8], at offset: Int = 0) -> HandshakeHeader? {
    HandshakeHeader(content.bytes, at: offset)
}

/// Reads an alert.
func readAlert(_ content: [UInt8]) -> Alert? { Alert(content.bytes) }

/// Reads a heartbeat message.
func readHeartbeat(_ content: [UInt8]) -> HeartbeatMessage? { HeartbeatMessage(content.bytes) }

/// Reads a frame of shared mode.
func readFrame(_ record: [UInt8]) -> SharedFrame? { SharedFrame(record.bytes) }
