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

/// What the table holds here.
private struct Item: TableElement {
    var content = -1
    var held: AnyObject?
}

/// The table with an index of addresses beside it, as groups have them.
private struct AddressedTable: ~Copyable {
    var table: AgedTable<Item>
    private var index = PlaceIndex<Endpoint>()
    private var keys: [PlaceID: Endpoint] = [:]

    init(granularity: Duration) { table = AgedTable(members: 0, granularity: granularity) }

    mutating func place(of key: Endpoint) -> Int32? { index.place(of: key) }

    func key(_ place: Int32) -> Endpoint? { keys[table.id(place)] }

    mutating func insert(_ key: Endpoint, _ content: Int, in queue: AgeQueue, now: Instant) -> Int32 {
        let place = table.insert(in: queue, now: now)
        table[place].content = content
        index.insert(key, at: place)
        keys[table.id(place)] = key
        return place
    }

    mutating func remove(_ place: Int32) {
        if let key = keys.removeValue(forKey: table.id(place)) { index.remove(key) }
        table.remove(place)
    }
}

private let queues = [AgeQueue.handshaking, .common]

@Suite struct AgedTableTests {
    private func key(_ number: Int) -> Endpoint { Endpoint(address: .loopbackIPv4, port: UInt16(number)) }

    @Test(arguments: 1...4 as ClosedRange<UInt64>) func `it is a naive table, only quicker`(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        var table = AddressedTable(granularity: .seconds(1))
        var model = NaiveTable()
        var dead: [FlowID] = []
        var now = Instant.at(0)
        for step in 0..<4000 {
            now = now + .milliseconds(Int.random(in: 0...700, using: &random))
            let key = key(Int.random(in: 1...40, using: &random))
            let index = table.place(of: key)
            let known = model.find(key)
            try #require(index.map { table.table.id($0) } == known?.id)
            guard let index, let known else {
                let number = Int.random(in: 0...1, using: &random)
                let queue = queues[number]
                let new = table.insert(key, step, in: queue, now: now)
                model.queues[number].append(.init(id: table.table.id(new), key: key, content: step, touchedAt: now))
                continue
            }
            try #require(table.table[index].content == known.content && table.key(index) == key)
            switch Int.random(in: 0..<4, using: &random) {
            case 0:
                table.remove(index)
                _ = model.take(known.id)
                dead.append(known.id)
            case 1:
                table.table.touch(index, now: now)
                if now - known.touchedAt >= .seconds(1), case (var flow, let queue)? = model.take(known.id) {
                    flow.touchedAt = now
                    model.queues[queue].append(flow)
                }
            case 2:
                let number = Int.random(in: 0...1, using: &random)
                let queue = queues[number]
                table.table.move(index, to: queue, now: now)
                if var (flow, _) = model.take(known.id) {
                    flow.touchedAt = now
                    model.queues[number].append(flow)
                }
            default:
                table.table[index].content = step
                model.set(known.id, step)
            }
            for (number, queue) in queues.enumerated() {
                let oldest = table.table.oldest(in: queue)
                let expected = model.queues[number].first
                try #require(oldest.map { table.table.id($0.place) } == expected?.id)
                try #require(oldest?.touchedAt == expected?.touchedAt)
                try #require(table.table.count(in: queue) == model.queues[number].count)
            }
            try #require(table.table.count == model.queues.joined().count)
            if step.isMultiple(of: 50) {
                try #require(Set(table.table.living.map { table.table.id($0) }) == Set(model.queues.joined().map(\.id)))
                for id in dead { try #require(table.table.place(of: id) == nil) }
            }
        }
        #expect(dead.count > 300)
    }

    @Test func `a place is given away again under another generation`() {
        var table = AddressedTable(granularity: .zero)
        let first = table.insert(key(1), 1, in: .common, now: .at(0))
        let firstID = table.table.id(first)
        #expect(table.place(of: key(1)) == first)
        table.remove(first)
        // The last hit must not answer for the flow that is gone.
        #expect(table.place(of: key(1)) == nil)
        let second = table.insert(key(2), 2, in: .common, now: .at(0))
        #expect(second == first)
        #expect(table.table.place(of: firstID) == nil)
        #expect(table.table.place(of: table.table.id(second)) == second)
        #expect(table.place(of: key(1)) == nil)
        #expect(table.place(of: key(2)) == second)
    }

    @Test func `an id from anywhere is no trap`() {
        let table = AgedTable<Item>(members: 0, granularity: .zero)
        for index in [Int32.min, -1, 0, 5, .max] {
            #expect(table.place(of: FlowID(index: index, generation: 0)) == nil)
        }
    }

    @Test func `what a removed flow held is let go`() {
        final class Held {}
        var table = AgedTable<Item>(members: 0, granularity: .zero)
        weak var held: Held?
        do {
            let object = Held()
            held = object
            let place = table.insert(in: .common, now: .at(0))
            table[place].held = object
            table.remove(place)
        }
        #expect(held == nil)
    }
}
