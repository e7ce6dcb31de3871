// Fuzzes how an association's owner goes through the records of a datagram: the cursor always moves on, and ends; data stands
// inside of its record; and what is not an association's own changes nothing, not a byte of the datagram.

import DTLS
import Wire

/// An association that is established under a key, whose owner has or has not accepted its peer.
private func established(key: UInt64, isAccepted: Bool) -> Association<FakeEngine> {
    var association = Association(engine: FakeEngine(key: key), now: .at(0))
    var finished = FakePeer.handshake(20, sequence: 3)
    var cursor = RecordCursor()
    finished.withMutableBytes { _ = association.next(&$0, &cursor, now: .at(0)) }
    if isAccepted { precondition(association.accept().isEmpty) }
    while association.pollEvent() != nil {}
    return association
}

/// A datagram of what the bytes say: a kind of record, and its length, one after the other.
private func datagram(_ bytes: UnsafeBufferPointer<UInt8>) -> [UInt8] {
    var datagram: [UInt8] = []
    var place = 0
    while place + 2 < bytes.count {
        let (kind, number) = (bytes[place], UInt64(bytes[place + 1]))
        let end = min(place + 3 + Int(bytes[place + 2]), bytes.count)
        let content = Array(bytes[place + 3..<end])
        place = end
        switch kind & 7 {
        case 0: datagram += content
        case 1, 2: datagram += FakePeer.sealed(content, sequence: number, key: UInt64(kind & 3))
        case 3: datagram += FakePeer.sealed(content, as: .alert, sequence: number, key: UInt64(kind >> 3 & 3))
        case 4: datagram += FakePeer.sealed(content, as: .heartbeat, sequence: number, key: UInt64(kind >> 3 & 3))
        case 5: datagram += FakePeer.sealed(content, as: .handshake, sequence: number, key: UInt64(kind >> 3 & 3))
        case 6: datagram += FakePeer.handshake(UInt8(number % 24), sequence: number)
        default: datagram += FakePeer.clear(.applicationData, content, epoch: UInt16(kind >> 3 & 3), sequence: number)
        }
    }
    return datagram
}

/// Pulls every record, each first as one that may be another's where `mayBeOther`; returns how many there were.
private func pull(_ association: inout Association<FakeEngine>, _ datagram: [UInt8], mayBeOther: Bool) -> Int {
    var datagram = datagram
    var cursor = RecordCursor()
    var count = 0
    datagram.withMutableBytes { bytes in
        while true {
            let start = cursor.offset
            var record: ReceivedRecord?
            if mayBeOther {
                let before = (bytes.bytes.copied(), association.counters.records)
                record = association.nextIfOwn(&bytes, &cursor, now: .at(1))
                precondition(record != .end && record != .handled)
                if record == nil {
                    precondition(cursor.offset == start && bytes.bytes.copied() == before.0)
                    precondition(association.counters.records == before.1)
                }
            }
            switch record ?? association.next(&bytes, &cursor, now: .at(1)) {
            case .end:
                precondition(cursor.offset == bytes.byteCount && cursor.offset == start)
                return
            case .data(let range):
                precondition(range.lowerBound >= start + RecordHeader.size && range.upperBound <= cursor.offset)
                association.countDelivery(range.count)
            case .control, .handled: break
            }
            count += 1
            precondition(cursor.offset > start || bytes.byteCount == 0)
        }
    }
    return count
}

/// One input; 0 says that it was looked at.
@c(LLVMFuzzerTestOneInput)
public func fuzzRecords(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let datagram = datagram(UnsafeBufferPointer(start: start, count: count))
    guard datagram.count <= 65_535 else { return 0 }
    for isAccepted in [true, false] {
        for mayBeOther in [true, false] {
            var association = established(key: 1, isAccepted: isAccepted)
            let before = association.counters
            let pulled = pull(&association, datagram, mayBeOther: mayBeOther)
            let records = association.counters.records - before.records
            precondition(records == UInt64(pulled), "\(records) counted of \(pulled)")
            for var early in association.accept() {
                var cursor = RecordCursor.counted
                early.withMutableBytes { bytes in
                    if case .data = association.next(&bytes, &cursor, now: .at(1)) { association.countDelivery(1) }
                    precondition(association.next(&bytes, &cursor, now: .at(1)) == .end)
                }
            }
            let counters = association.counters
            let accounted = counters.datagramsIn + counters.control + counters.drops.beforeCarried
            precondition(counters.records == accounted, "\(counters.records) records, \(accounted) accounted for")
            while association.pollTransmit() != nil {}
            var events = 0
            while association.pollEvent() != nil { events += 1 }
            precondition(events <= 4)
        }
    }
    return 0
}
