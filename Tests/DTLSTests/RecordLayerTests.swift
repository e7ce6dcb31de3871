import Testing
import Wire

@testable import DTLS

@Suite struct RecordLayerTests {
    private func layer(nextSequence: UInt64 = 1, received: [UInt64] = [0]) -> (
        AEADRecordLayer<FakeProtection>, FakeProtection
    ) {
        var result = FakeEngine().result
        result.nextSequence = nextSequence
        result.receivedSequences = received
        return (AEADRecordLayer(result), result.protection)
    }

    private func open(_ record: [UInt8], _ layer: inout AEADRecordLayer<FakeProtection>) -> Result<[UInt8], Dropped> {
        var record = record
        guard let header = readRecord(record) else { return .failure(Dropped(reason: .malformed)) }
        switch record.withMutableBytes({ layer.open(&$0, header: header) }) {
        case .dropped(let reason): return .failure(Dropped(reason: reason))
        case .plaintext(let range): return .success(Array(record[range]))
        }
    }

    private struct Dropped: Error, Equatable { let reason: DropReason }

    @Test func `records go on from the engine's number, each under its own`() {
        var (layer, protection) = layer(nextSequence: 3)
        for _ in 0..<100 { _ = layer.datagram(.applicationData, [1, 2, 3]) }
        #expect(protection.sealedNumbers == (3..<103).map { 1 << 48 | $0 })
    }

    @Test func `a number is spent even where sealing fails`() {
        var (layer, protection) = layer()
        var tooSmall = [UInt8](repeating: 0, count: 20)
        let plaintext: [UInt8] = [1, 2, 3]
        let length = tooSmall.withMutableBytes { buffer in
            layer.seal(.applicationData, prefix: RawSpan(), payload: plaintext.bytes, into: &buffer)
        }
        #expect(length == nil)
        _ = layer.datagram(.applicationData, plaintext)
        #expect(protection.sealedNumbers == [1 << 48 | 1, 1 << 48 | 2])
    }

    @Test func `the last number of the epoch is used and no other after it`() {
        var (layer, protection) = layer(nextSequence: RecordNumber.maximumSequence - 1)
        #expect(layer.datagram(.applicationData, [1]) != nil)
        #expect(!layer.isExhausted)
        #expect(layer.datagram(.applicationData, [1]) != nil)
        #expect(layer.isExhausted)
        #expect(layer.datagram(.applicationData, [1]) == nil)
        #expect(layer.datagram(.alert, [1, 0]) == nil)
        #expect(
            protection.sealedNumbers.map { $0 & RecordNumber.maximumSequence }.max() == RecordNumber.maximumSequence)
        #expect(protection.sealedNumbers.count == 2)
    }

    @Test func `a record opens once, and not under the numbers that the engine has read`() {
        var (layer, _) = layer(received: [0, 1])
        #expect(open(FakePeer.sealed([7], sequence: 1), &layer) == .failure(Dropped(reason: .replayed)))
        #expect(open(FakePeer.sealed([7], sequence: 2), &layer) == .success([7]))
        #expect(open(FakePeer.sealed([7], sequence: 2), &layer) == .failure(Dropped(reason: .replayed)))
    }

    @Test func `a forged record does not move the window`() {
        var (layer, _) = layer()
        let forged = FakePeer.sealed([7], sequence: 1 << 40, key: 2)
        #expect(open(forged, &layer) == .failure(Dropped(reason: .notAuthentic)))
        #expect(open(FakePeer.sealed([7], sequence: 1), &layer) == .success([7]))
    }

    @Test func `more than 16 KiB of plaintext is refused`() {
        var (layer, _) = layer()
        let most = [UInt8](repeating: 7, count: 16_384)
        #expect(open(FakePeer.sealed(most, sequence: 1), &layer) == .success(most))
        #expect(open(FakePeer.sealed(most + [7], sequence: 2), &layer) == .failure(Dropped(reason: .malformed)))
    }

    @Test func `overhead is header and expansion`() {
        let (layer, _) = layer()
        #expect(layer.overhead == 21)
    }

    @Test func `another record layer goes on where one was exported`() throws {
        var (old, _) = layer(nextSequence: 5)
        #expect(open(FakePeer.sealed([7], sequence: 9), &old) == .success([7]))
        _ = old.datagram(.applicationData, [1])
        let state = old.export()

        var new = try #require(AEADRecordLayer<FakeProtection>(importing: state))
        #expect(new.datagram(.applicationData, [1]) == FakePeer.sealed([1], sequence: 6))
        #expect(open(FakePeer.sealed([7], sequence: 9), &new) == .failure(Dropped(reason: .replayed)))
        #expect(open(FakePeer.sealed([8], sequence: 8), &new) == .success([8]))
    }
}
