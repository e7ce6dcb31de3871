// OpenSSL's handshake and record protection with a witness beside them, who notes every record number that is used
// under a key. A number used twice gives the key away, so the witness's list is checked after every simulation.

import DTLS
import OpenSSL
import Wire

/// The record numbers of epoch 1 that one end has used under one key.
final class NumberLedger {
    /// What was used more than once.
    private(set) var reused: [String] = []
    /// How many records were protected.
    var count: Int { numbers.count }

    private var numbers: Set<UInt64> = []
    private var nonces: Set<UInt64> = []

    /// Notes a protected record: its number and the eight bytes behind the header, which are GCM's explicit nonce, and
    /// with ChaCha20 ciphertext that has no reason to repeat either.
    func note(_ record: borrowing RawSpan) {
        guard let header = RecordHeader(record, at: 0), header.number.epoch == 1 else { return }
        if !numbers.insert(header.number.rawValue).inserted { reused.append("number \(header.number.sequence)") }
        guard let nonce = record.uint64(at: RecordHeader.size) else { return }
        if !nonces.insert(nonce).inserted { reused.append("nonce \(nonce)") }
    }
}

/// OpenSSL's engine with a ledger.
final class WatchedEngine: HandshakeEngine {
    typealias Protection = WatchedProtection

    /// The sizes of the datagrams it has sent.
    private(set) var sentSizes: [Int] = []
    let ledger = NumberLedger()

    private let engine: OpenSSLHandshake
    private let onSession: (ClientSession) -> Void

    init(_ engine: OpenSSLHandshake, onSession: @escaping (ClientSession) -> Void = { _ in }) {
        self.engine = engine
        self.onSession = onSession
    }

    static var earliness: Duration { OpenSSLHandshake.earliness }

    var flightTimer: FlightTimer { engine.flightTimer }

    var datagramSize: Int {
        get { engine.datagramSize }
        set { engine.datagramSize = newValue }
    }

    func start() -> HandshakeProgress<WatchedProtection> { watch(engine.start()) }

    func objection(to record: borrowing RawSpan) -> DropReason? { engine.objection(to: record) }

    func receive(_ record: borrowing RawSpan) -> HandshakeProgress<WatchedProtection> { watch(engine.receive(record)) }

    func handleTimeout() -> HandshakeProgress<WatchedProtection> { watch(engine.handleTimeout()) }

    func pollTransmit() -> [UInt8]? {
        guard let datagram = engine.pollTransmit() else { return nil }
        sentSizes.append(datagram.count)
        for record in records(of: datagram) { ledger.note(record.bytes) }
        return datagram
    }

    private func watch(_ progress: HandshakeProgress<OpenSSLRecordProtection>) -> HandshakeProgress<WatchedProtection> {
        switch progress {
        case .waiting: return .waiting
        case .failed(let failure): return .failed(failure)
        case .established(let result):
            if let session = engine.session { onSession(session) }
            return .established(
                HandshakeResult(
                    protection: WatchedProtection(result.protection, ledger), nextSequence: result.nextSequence,
                    receivedSequences: result.receivedSequences, finalFlight: result.finalFlight, peer: result.peer,
                    cipherSuite: result.cipherSuite, isResumed: result.isResumed,
                    peerHeartbeatMode: result.peerHeartbeatMode, applicationProtocol: result.applicationProtocol,
                    serverName: result.serverName))
        }
    }
}

/// OpenSSL's record protection with a ledger.
final class WatchedProtection: RecordProtection {
    private let protection: OpenSSLRecordProtection
    private let ledger: NumberLedger

    init(_ protection: OpenSSLRecordProtection, _ ledger: NumberLedger) {
        self.protection = protection
        self.ledger = ledger
    }

    var expansion: Int { protection.expansion }

    var keys: RecordKeys { protection.keys }

    convenience init?(importing keys: RecordKeys) {
        guard let protection = OpenSSLRecordProtection(importing: keys) else { return nil }
        self.init(protection, NumberLedger())
    }

    func seal(
        _ type: ContentType, number: RecordNumber, prefix: borrowing RawSpan, payload: borrowing RawSpan,
        into buffer: inout MutableRawSpan
    ) -> Int? {
        let length = protection.seal(type, number: number, prefix: prefix, payload: payload, into: &buffer)
        if let length { ledger.note(buffer.bytes.extracting(0..<length)) }
        return length
    }

    func open(_ record: inout MutableRawSpan, header: RecordHeader) -> Range<Int>? {
        protection.open(&record, header: header)
    }
}

/// The records of a datagram, up to where it stops being one.
func records(of datagram: [UInt8]) -> [[UInt8]] {
    var result: [[UInt8]] = []
    var offset = 0
    while let header = RecordHeader(datagram.bytes, at: offset) {
        let next = offset + RecordHeader.size + header.length
        result.append(Array(datagram[offset..<next]))
        offset = next
    }
    return result
}

/// Their headers.
func headers(of datagram: [UInt8]) -> [RecordHeader] {
    records(of: datagram).compactMap { RecordHeader($0.bytes, at: 0) }
}
