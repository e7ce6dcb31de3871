import Testing
import Wire

@testable import DTLS

@Suite struct FinalFlightKeeperTests {
    private let finished = [UInt8](FakePeer.handshake(20, sequence: 0)[13...])

    private func message(_ type: UInt8, body: Int) -> [UInt8] {
        let length = [UInt8(body >> 16), UInt8(body >> 8 & 255), UInt8(body & 255)]
        return [type] + length + [0, 7, 0, 0, 0] + length + (0..<body).map { UInt8(truncatingIfNeeded: $0) }
    }

    private func repeated(
        ticket: [UInt8]?, size: Int, nextSequence: UInt64 = 5
    ) -> (datagrams: [[UInt8]], protection: FakeProtection) {
        let result = FakeEngine().result
        var layer = AEADRecordLayer(result)
        let keeper = FinalFlightKeeper(
            FinalFlight(sessionTicket: ticket, finished: finished, nextSequence: nextSequence), isTimed: false,
            now: .at(0))
        return (keeper.repeated(by: &layer, datagramSize: size), result.protection)
    }

    @Test func `a small flight is one datagram in the order of the first time`() {
        let (datagrams, protection) = repeated(ticket: message(4, body: 100), size: 1200)
        #expect(datagrams.count == 1)
        let flight = records(datagrams[0])
        #expect(flight.map(\.header.type) == [.handshake, .changeCipherSpec, .handshake])
        #expect(flight.map(\.header.number.epoch) == [0, 0, 1])
        #expect(flight.map(\.header.number.sequence) == [5, 6, 1])
        #expect(flight[0].content == message(4, body: 100))
        #expect(flight[1].content == [1])
        #expect(protection.sealedNumbers == [1 << 48 | 1])
    }

    @Test func `without a ticket it is change_cipher_spec and Finished`() {
        let flight = repeated(ticket: nil, size: 268).datagrams.flatMap { records($0) }
        #expect(flight.map(\.header.type) == [.changeCipherSpec, .handshake])
    }

    @Test(arguments: [268, 548, 1200, 1472], [0, 1, 200, 1175, 2000, 5000])
    func `a ticket is cut into fragments that fit and give the whole again`(size: Int, body: Int) throws {
        let ticket = message(4, body: body)
        let (datagrams, _) = repeated(ticket: ticket, size: size)
        for datagram in datagrams { #expect(datagram.count <= size) }
        let flight = datagrams.flatMap { records($0) }
        var whole: [UInt8] = []
        for record in flight.dropLast(2) {
            let header = try #require(readMessage(record.content))
            #expect(header.type == .newSessionTicket)
            #expect(header.sequence == 7)
            #expect(header.length == body)
            #expect(header.fragmentOffset == whole.count)
            #expect(header.fragmentLength == record.content.count - 12)
            whole += record.content[12...]
        }
        #expect(whole == Array(ticket[12...]))
        let clear = flight.dropLast().map(\.header.number.sequence)
        #expect(clear == (0..<UInt64(clear.count)).map { 5 + $0 })
    }

    @Test func `a size that nothing fits into still ends`() {
        let (datagrams, _) = repeated(ticket: message(4, body: 1000), size: 0)
        #expect(datagrams.count == 16 + 2)
    }

    @Test func `it is sent again six times, each time under fresh numbers`() {
        let result = FakeEngine().result
        var layer = AEADRecordLayer(result)
        let flight = FinalFlight(sessionTicket: message(4, body: 10), finished: finished, nextSequence: 5)
        let keeper = FinalFlightKeeper(flight, isTimed: false, now: .at(0))
        var numbers: [RecordNumber] = []
        for _ in 0..<6 {
            let datagrams = keeper.repeated(by: &layer, datagramSize: 1200)
            #expect(!datagrams.isEmpty)
            numbers += datagrams.flatMap { records($0) }.map(\.header.number)
        }
        for _ in 0..<6 { #expect(keeper.repeated(by: &layer, datagramSize: 1200) == []) }
        #expect(Set(numbers).count == numbers.count)
        #expect(result.protection.sealedNumbers == (1...6).map { 1 << 48 | $0 })
        #expect(keeper.deadline == nil)
    }

    @Test func `with a timer its waits double until it has been sent often enough`() throws {
        var layer = AEADRecordLayer(FakeEngine().result)
        let keeper = FinalFlightKeeper(
            FinalFlight(sessionTicket: nil, finished: finished, nextSequence: 0), isTimed: true, now: .at(0))
        var waits: [Duration] = []
        var now = Instant.at(0)
        while let deadline = keeper.deadline {
            waits.append(deadline - now)
            now = deadline
            #expect(!keeper.repeated(by: &layer, datagramSize: 1200).isEmpty)
            keeper.rearm(now)
        }
        #expect(waits == [400, 800, 1600, 3200, 6400, 12800].map { .milliseconds($0) })
    }
}
