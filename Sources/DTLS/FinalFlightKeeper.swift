// The last flight of a handshake can be lost like any other, and by then the engine that made it is gone. The end
// that sent it keeps it in the clear and sends it again under fresh record numbers (RFC 6347 §4.2.4): as an answer to
// an authentic repeated Finished, and, after a resumed handshake, by a timer, because then the peer may be waiting
// in silence. Only the sender of the last flight ever answers: two ends answering each other would never stop.

import Wire

/// Keeps and repeats a ``FinalFlight`` until the peer is known to have it; an object, so that the many associations that
/// have none any more pay nothing for it.
final class FinalFlightKeeper {
    /// When to send it without being asked; nil where only an answer is due.
    private(set) var deadline: Instant?

    private var flight: FinalFlight
    private var remaining = FinalFlightKeeper.maximumRepeats
    private var interval = Duration.milliseconds(400)

    /// More than twelve stray Finished end an OpenSSL peer; half of that heals any path that data could cross.
    static let maximumRepeats = 6

    /// `isTimed` is for the client of a resumed handshake.
    init(_ flight: FinalFlight, isTimed: Bool, now: Instant) {
        self.flight = flight
        deadline = isTimed ? now + interval : nil
    }

    /// The flight once more, in datagrams of at most `datagramSize` bytes; empty when it has been sent often enough.
    func repeated(by records: inout some RecordLayer, datagramSize: Int) -> [[UInt8]] {
        guard remaining > 0 else { return [] }
        remaining -= 1
        guard let finished = records.datagram(.handshake, flight.finished) else { return [] }
        var pieces = flight.sessionTicket.map { fragments($0, datagramSize: datagramSize) } ?? []
        pieces.append(clear(.changeCipherSpec, [1]))
        pieces.append(finished)

        var datagrams: [[UInt8]] = []
        for piece in pieces {
            if let last = datagrams.indices.last, datagrams[last].count + piece.count <= datagramSize {
                datagrams[last] += piece
            } else {
                datagrams.append(piece)
            }
        }
        return datagrams
    }

    /// To be called when ``deadline`` has passed and the flight is being repeated.
    func rearm(_ now: Instant) {
        interval *= 2
        deadline = remaining > 0 ? now + interval : nil
    }

    private func fragments(_ message: [UInt8], datagramSize: Int) -> [[UInt8]] {
        guard var header = HandshakeHeader(message.bytes) else { return [] }
        let body = message[HandshakeHeader.size...]
        let room = max(datagramSize - RecordHeader.size - HandshakeHeader.size, 64)
        var result: [[UInt8]] = []
        var offset = 0
        repeat {
            let piece = body.dropFirst(offset).prefix(room)
            header.fragmentOffset = offset
            header.fragmentLength = piece.count
            var content = [UInt8](repeating: 0, count: HandshakeHeader.size)
            content.withMutableBytes { _ = header.write(into: &$0, at: 0) }
            result.append(clear(.handshake, content + piece))
            offset += piece.count
        } while offset < body.count
        return result
    }

    /// A record of epoch 0, under its next number.
    private func clear(_ type: ContentType, _ content: [UInt8]) -> [UInt8] {
        let number = RecordNumber(epoch: 0, sequence: flight.nextSequence)
        flight.nextSequence += 1
        let header = RecordHeader(type: type, number: number, length: content.count)
        var record = [UInt8](repeating: 0, count: RecordHeader.size)
        record.withMutableBytes { _ = header.write(into: &$0) }
        return record + content
    }
}
