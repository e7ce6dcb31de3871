// What the tests of this target share besides the fakes.

import DTLS
import Wire

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
}

/// The header of a datagram's first record.
func readRecord(_ datagram: [UInt8], at offset: Int = 0) -> RecordHeader? { RecordHeader(datagram.bytes, at: offset) }

/// The records of a datagram: headers and contents.
func records(_ datagram: [UInt8]) -> [(header: RecordHeader, content: [UInt8])] {
    var result: [(RecordHeader, [UInt8])] = []
    var offset = 0
    while let header = readRecord(datagram, at: offset) {
        let start = offset + RecordHeader.size
        result.append((header, Array(datagram[start..<start + header.length])))
        offset = start + header.length
    }
    return result
}

/// The header of a handshake message.
func readMessage(_ content: [UInt8]) -> HandshakeHeader? { HandshakeHeader(content.bytes) }
