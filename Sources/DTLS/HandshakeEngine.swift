// The seam behind which the TLS library shakes hands. It is fed records one by one and gives datagrams, a timer and,
// in the end, keys; from then on it is never used again, so that no two writers share an epoch (ChaCha20-Poly1305's
// nonce is the sequence number: two writers would give the key away).

public import Wire

/// One DTLS 1.2 handshake in progress, on either side.
///
/// Owned by one ``Association`` and used from its thread only.
public protocol HandshakeEngine: AnyObject {
    /// What protects the records once the handshake is done.
    associatedtype Protection: RecordProtection
    /// What carries records from then on.
    associatedtype Records: RecordLayer = AEADRecordLayer<Protection> where Records.Protection == Protection

    /// Sends the first flight. Only for a client, and once.
    func start() -> HandshakeProgress<Protection>

    /// Why a record that ``receive(_:)`` could take cannot be the peer's: malformed, of a kind that only this end sends, or
    /// one that this end has sent. It is dropped, where to the library it would be the end. Nil where it may be real.
    func objection(to record: borrowing RawSpan) -> DropReason?

    /// Takes one whole record, header included, of content type handshake, change_cipher_spec or alert, and goes on as
    /// far as it can. Records of epoch 1 may come before their keys are known; the engine keeps them, within bounds.
    func receive(_ record: borrowing RawSpan) -> HandshakeProgress<Protection>

    /// To be called when ``flightTimer`` has run out: sends the last flight again.
    func handleTimeout() -> HandshakeProgress<Protection>

    /// When the last flight is to be sent again, by a clock of the engine's own.
    var flightTimer: FlightTimer { get }

    /// How long before its time a flight is as good as due: from then on ``handleTimeout()`` repeats it, and so does
    /// ``receive(_:)``, whatever it is given. Not negative.
    static var earliness: Duration { get }

    /// The most bytes a datagram of a flight may have; flights to come, repeated ones included, keep to it.
    var datagramSize: Int { get set }

    /// The next datagram to send, each at most ``datagramSize`` bytes long unless a single record is longer.
    func pollTransmit() -> [UInt8]?
}

extension HandshakeEngine {
    /// For an engine that is as calm itself.
    public func objection(to record: borrowing RawSpan) -> DropReason? { nil }
}

/// What an engine says of the flight that waits for an answer (RFC 6347 §4.2.4). The engine's clock need not go as its
/// caller's does: where the two have parted, the engine's has been set.
public enum FlightTimer: Hashable, Sendable {
    /// Nothing waits for an answer.
    case stopped
    /// The flight is to be sent again so long from now; zero, when it is due.
    case due(in: Duration)
    /// The flight waits, but the engine's clock has been set, and nobody knows for how long.
    case unreliable
}

/// Where a handshake stands.
public enum HandshakeProgress<Protection: RecordProtection> {
    /// It waits for the peer.
    case waiting
    /// It is done; the engine may go once its last datagrams are taken.
    case established(HandshakeResult<Protection>)
    /// It has failed; an alert for the peer may be among the datagrams to send.
    case failed(HandshakeFailure)
}

/// What a handshake leaves behind.
public struct HandshakeResult<Protection: RecordProtection> {
    /// Seals and opens the records of epoch 1.
    public var protection: Protection
    /// The first sequence number of epoch 1 that the engine has not used: whoever seals goes on from here.
    public var nextSequence: UInt64
    /// The sequence numbers of epoch 1 that the engine has read, for the replay window to begin with.
    public var receivedSequences: [UInt64]
    /// The flight that ended the handshake, if this end sent it: the server of a full handshake, the client of a
    /// resumed one (RFC 6347 §4.2.4). Nil at the other end.
    public var finalFlight: FinalFlight?
    /// Who the peer has proven to be.
    public var peer: PeerIdentity
    /// The cipher suite by OpenSSL's name, such as `ECDHE-ECDSA-AES128-GCM-SHA256`.
    public var cipherSuite: String
    /// Whether keys came from an earlier handshake's session.
    public var isResumed: Bool
    /// What the peer said about heartbeats; nil unless both ends said something.
    public var peerHeartbeatMode: HeartbeatMode?
    /// The application protocol that both ends agreed on (RFC 7301); nil for none.
    public var applicationProtocol: String?
    /// The server's name as the client gave it (RFC 6066 §3), at the server in lower case; nil where it gave none.
    public var serverName: String?
    /// The most bytes of plaintext in a record: less than usual where a small peer has asked for it (RFC 6066 §4).
    public var maximumPlaintext = RecordHeader.maximumPlaintextLength

    /// Puts a result together.
    public init(
        protection: Protection, nextSequence: UInt64, receivedSequences: [UInt64], finalFlight: FinalFlight?,
        peer: PeerIdentity, cipherSuite: String, isResumed: Bool, peerHeartbeatMode: HeartbeatMode? = nil,
        applicationProtocol: String? = nil, serverName: String? = nil
    ) {
        self.protection = protection
        self.nextSequence = nextSequence
        self.receivedSequences = receivedSequences
        self.finalFlight = finalFlight
        self.peer = peer
        self.cipherSuite = cipherSuite
        self.isResumed = isResumed
        self.peerHeartbeatMode = peerHeartbeatMode
        self.applicationProtocol = applicationProtocol
        self.serverName = serverName
    }
}

/// The last flight of a handshake in the clear, kept by the end that sent it until the peer is known to have it.
public struct FinalFlight: Equatable, Sendable {
    /// The whole NewSessionTicket message with its handshake header, where one was sent. It travels in epoch 0.
    public var sessionTicket: [UInt8]?
    /// The whole Finished message with its handshake header. It travels in epoch 1.
    public var finished: [UInt8]
    /// The first sequence number of epoch 0 that has not been used.
    public var nextSequence: UInt64

    /// Puts a flight together.
    public init(sessionTicket: [UInt8]?, finished: [UInt8], nextSequence: UInt64) {
        self.sessionTicket = sessionTicket
        self.finished = finished
        self.nextSequence = nextSequence
    }
}
