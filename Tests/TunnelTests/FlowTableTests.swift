import DTLS
import Testing
import Wire

@testable import Tunnel

/// The table as a list that is searched, in the order of age.
private struct NaiveTable {
    struct Flow {
        let id: FlowID
        let key: Endpoint
        var content: Int
        var touchedAt: Instant
    }

    var queues: [[Flow]] = [[], []]

    func find(_ key: Endpoint) -> Flow? { queues.joined().first { $0.key == key } }

    mutating func set(_ id: FlowID, _ content: Int) {
        for queue in 0..<2 {
            if let place = queues[queue].firstIndex(where: { $0.id == id }) { queues[queue][place].content = content }
        }
    }

    mutating func take(_ id: FlowID) -> (flow: Flow, queue: Int)? {
        for queue in 0..<2 {
            if let place = queues[queue].firstIndex(where: { $0.id == id }) {
                return (queues[queue].remove(at: place), queue)
            }
        }
        return nil
    }
}

private let queues = [FlowTable<Endpoint, Int>.Queue.handshaking, .shared]

@Suite struct FlowTableTests {
    private func key(_ number: Int) -> Endpoint { Endpoint(address: .loopbackIPv4, port: UInt16(number)) }

    @Test(arguments: 1...4 as ClosedRange<UInt64>) func `it is a naive table, only quicker`(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        var table = FlowTable<Endpoint, Int>(vacant: -1, members: 0, granularity: .seconds(1))
        var model = NaiveTable()
        var dead: [FlowID] = []
        var now = Instant.at(0)
        for step in 0..<4000 {
            now = now + .milliseconds(Int.random(in: 0...700, using: &random))
            let key = key(Int.random(in: 1...40, using: &random))
            let index = table.index(of: key)
            let known = model.find(key)
            try #require(index.map { table.id($0) } == known?.id)
            guard let index, let known else {
                let number = Int.random(in: 0...1, using: &random)
                let queue = queues[number]
                let new = table.insert(key, step, in: queue, now: now)
                model.queues[number].append(.init(id: table.id(new), key: key, content: step, touchedAt: now))
                continue
            }
            try #require(table[index] == known.content && table.key(index) == key)
            switch Int.random(in: 0..<4, using: &random) {
            case 0:
                table.remove(index)
                _ = model.take(known.id)
                dead.append(known.id)
            case 1:
                table.touch(index, now: now)
                if now - known.touchedAt >= .seconds(1), case (var flow, let queue)? = model.take(known.id) {
                    flow.touchedAt = now
                    model.queues[queue].append(flow)
                }
            case 2:
                let number = Int.random(in: 0...1, using: &random)
                let queue = queues[number]
                table.move(index, to: queue, now: now)
                if var (flow, _) = model.take(known.id) {
                    flow.touchedAt = now
                    model.queues[number].append(flow)
                }
            default:
                table[index] = step
                model.set(known.id, step)
            }
            for (number, queue) in queues.enumerated() {
                let oldest = table.oldest(in: queue)
                let expected = model.queues[number].first
                try #require(oldest.map { table.id($0.index) } == expected?.id)
                try #require(oldest?.touchedAt == expected?.touchedAt)
                try #require(table.count(in: queue) == model.queues[number].count)
            }
            try #require(table.count == model.queues.joined().count)
            if step.isMultiple(of: 50) {
                try #require(Set(table.living.map { table.id($0) }) == Set(model.queues.joined().map(\.id)))
                for id in dead { try #require(table.index(of: id) == nil) }
            }
        }
        #expect(dead.count > 300)
    }

    @Test func `a place is given away again under another generation`() {
        var table = FlowTable<Endpoint, Int>(vacant: 0, members: 0, granularity: .zero)
        let first = table.insert(key(1), 1, in: .shared, now: .at(0))
        let firstID = table.id(first)
        #expect(table.index(of: key(1)) == first)
        table.remove(first)
        // The last hit must not answer for the flow that is gone.
        #expect(table.index(of: key(1)) == nil)
        let second = table.insert(key(2), 2, in: .shared, now: .at(0))
        #expect(second == first)
        #expect(table.index(of: firstID) == nil)
        #expect(table.index(of: table.id(second)) == second)
        #expect(table.index(of: key(1)) == nil)
        #expect(table.index(of: key(2)) == second)
    }

    @Test func `an id from anywhere is no trap`() {
        let table = FlowTable<Endpoint, Int>(vacant: 0, members: 0, granularity: .zero)
        for index in [Int32.min, -1, 0, 5, .max] {
            #expect(table.index(of: FlowID(index: index, generation: 0)) == nil)
        }
    }

    @Test func `what a removed flow held is let go`() {
        final class Held {}
        var table = FlowTable<Endpoint, Held?>(vacant: nil, members: 0, granularity: .zero)
        weak var held: Held?
        do {
            let object = Held()
            held = object
            let index = table.insert(key(1), object, in: .shared, now: .at(0))
            table.remove(index)
        }
        #expect(held == nil)
    }
}
