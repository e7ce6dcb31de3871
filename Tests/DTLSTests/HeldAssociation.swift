// An association as an object, for tests whose parts hold it together; the association itself is a value that is changed in
// place. Its records are pulled as an owner does, and data is handed over.

import DTLS
import Settings
import Wire

/// An association.
final class Association<Engine: HandshakeEngine> {
    typealias Event = DTLS.Association<Engine>.Event
    typealias Transmit = DTLS.Association<Engine>.Transmit

    private var association: DTLS.Association<Engine>

    init(
        engine: Engine, path: PathSettings = PathSettings(), headers: Int = 28, seed: UInt64 = 0,
        maximumTimeouts: Int = 6, helloInterval: Duration? = nil, now: Instant
    ) {
        association = DTLS.Association(
            engine: engine, path: path, headers: headers, seed: seed, maximumTimeouts: maximumTimeouts,
            helloInterval: helloInterval, now: now)
    }

    var counters: AssociationCounters { association.counters }
    var description: AssociationDescription? { association.description }
    var isEstablished: Bool { association.isEstablished }
    var isHandshaking: Bool { association.isHandshaking }
    var deadline: Instant? { association.deadline }
    var overhead: Int { association.overhead }
    var maximumDatagram: Int { association.maximumDatagram }
    var isPathKnown: Bool { association.isPathKnown }
    var isPathSettled: Bool { association.isPathSettled }
    var pathMTU: PathMTU? { association.pathMTU }
    var heartbeat: HeartbeatStatistics? { association.heartbeat }
    var needsAttention: Bool {
        get { association.needsAttention }
        set { association.needsAttention = newValue }
    }

    func start(now: Instant) { association.start(now: now) }
    func handleTimeout(now: Instant) { association.handleTimeout(now: now) }
    func handlePathHint(_ size: Int, now: Instant) { association.handlePathHint(size, now: now) }
    func handleRefusal(now: Instant) -> Bool { association.handleRefusal(now: now) }
    func ping(now: Instant) -> Bool { association.ping(now: now) }
    func close() { association.close() }
    func refuse() { association.refuse() }
    func abandon() { association.abandon() }
    func dropOffered(_ reason: DropReason) { association.dropOffered(reason) }
    func countRefusal(_ reason: DropReason, _ count: Int) { association.countRefusal(reason, count) }
    func pollTransmit() -> Transmit? { association.pollTransmit() }
    func pollEvent() -> Event? { association.pollEvent() }

    func seal(_ plaintext: borrowing RawSpan, into buffer: inout MutableRawSpan) -> Int? {
        association.seal(plaintext, into: &buffer)
    }

    func seal(
        prefix: borrowing RawSpan, payload: borrowing RawSpan, into buffer: inout MutableRawSpan
    ) -> Int? {
        association.seal(prefix: prefix, payload: payload, into: &buffer)
    }

    /// Takes a datagram, and counts and hands over all data in it.
    func receive(_ datagram: inout MutableRawSpan, now: Instant, deliver: (borrowing RawSpan) -> Void) {
        var cursor = RecordCursor()
        pull(&datagram, &cursor, now: now, deliver: deliver)
    }

    /// Takes the next record of a datagram if it proves to be this association's.
    func nextIfOwn(
        _ datagram: inout MutableRawSpan, _ cursor: inout RecordCursor, now: Instant
    ) -> ReceivedRecord? {
        association.nextIfOwn(&datagram, &cursor, now: now)
    }

    /// Accepts the peer, and hands over the data that has waited.
    func accept(now: Instant, deliver: (borrowing RawSpan) -> Void) {
        for var record in association.accept() {
            record.withMutableBytes { bytes in
                var cursor = RecordCursor.counted
                pull(&bytes, &cursor, now: now, deliver: deliver)
            }
        }
    }

    private func pull(
        _ datagram: inout MutableRawSpan, _ cursor: inout RecordCursor, now: Instant,
        deliver: (borrowing RawSpan) -> Void
    ) {
        while true {
            switch association.next(&datagram, &cursor, now: now) {
            case .end: return
            case .control, .handled: continue
            case .data(let range):
                association.countDelivery(range.count)
                deliver(datagram.bytes.extracting(range))
            }
        }
    }
}
