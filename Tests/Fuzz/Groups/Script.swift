// What the fuzzer's bytes mean: choices one after the other, and the datagrams that peers and programs make of them.

import DTLS
import Wire

/// The fuzzer's bytes, taken from the front.
struct Script {
    private let bytes: UnsafeBufferPointer<UInt8>
    private var place = 0

    init(_ bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    var isAtEnd: Bool { place >= bytes.count }

    /// The next byte; 0 behind the last one.
    mutating func byte() -> Int {
        guard place < bytes.count else { return 0 }
        defer { place += 1 }
        return Int(bytes[place])
    }

    /// A choice among so many.
    mutating func below(_ count: Int) -> Int { byte() % max(count, 1) }

    /// A run of bytes, with its length in front; some are far longer than what was given.
    mutating func run() -> [UInt8] {
        let length = byte()
        if length >= 250 { return [UInt8](repeating: UInt8(truncatingIfNeeded: length), count: (length - 249) * 4000) }
        return (0..<min(length, bytes.count - place)).map { _ in UInt8(truncatingIfNeeded: byte()) }
    }
}

/// Makes datagrams of a peer that knows the keys of all engines.
struct Composer {
    private var sequence: UInt64 = 1

    /// One record, or what is none. `keys` is how many engines there have been: each has its own key.
    mutating func record(_ script: inout Script, keys: Int, cookie: [UInt8]) -> [UInt8] {
        switch script.below(16) {
        case 0: return FakePeer.hello(random: UInt8(script.below(3)))
        case 1: return FakePeer.hello(sequence: 1, cookie: cookie, random: UInt8(script.below(3)))
        case 2: return FakePeer.handshake(20, sequence: UInt64(script.byte()))
        case 3: return FakePeer.handshake(UInt8(script.below(22)), sequence: UInt64(script.byte()))
        case 4: return script.run()
        case 5: return sealed(script.run(), .applicationData, &script, keys: keys)
        case 6: return frame(&script, keys: keys, .datagram(flow: flow(&script), opening: service(&script)))
        case 7: return frame(&script, keys: keys, .datagram(flow: flow(&script), opening: nil))
        case 8, 9:
            let opening = script.byte() & 1 == 0 ? nil : service(&script)
            let header = FrameHeader.fragment(
                flow: flow(&script), opening: opening, datagram: UInt64(script.below(4)),
                offset: script.below(4) * SharedFrame.minimumFragmentSize, isLast: script.byte() & 1 == 1)
            return frame(&script, keys: keys, header)
        case 10: return frame(&script, keys: keys, .opened(flow: flow(&script)))
        case 11:
            return frame(
                &script, keys: keys, .close(flow: flow(&script), CloseReason(rawValue: UInt64(script.below(9)))))
        case 12:
            let alert: [UInt8] = [UInt8(1 + script.below(2)), script.byte() & 1 == 0 ? 0 : 49]
            return sealed(alert, .alert, &script, keys: keys)
        case 13:
            var random = SplitMix64(seed: 1)
            let kind: HeartbeatMessage.Kind = script.byte() & 1 == 0 ? .request : .response
            let content = HeartbeatMessage.bytes(kind, payload: script.run().bytes, random: &random) ?? []
            return sealed(content, .heartbeat, &script, keys: keys)
        case 14:
            let message = [UInt8(script.below(2) * 20)] + [UInt8](repeating: 0, count: 11)
            return sealed(message, .handshake, &script, keys: keys)
        default:
            let types: [ContentType] = [.alert, .handshake, .changeCipherSpec, .applicationData, .heartbeat]
            return FakePeer.clear(
                types[script.below(5)], script.run(), epoch: UInt16(script.below(3)), sequence: UInt64(script.byte()))
        }
    }

    private func flow(_ script: inout Script) -> UInt64 { UInt64(1 + script.below(6)) }

    private func service(_ script: inout Script) -> [UInt8] { Array("s\(script.below(4))".utf8) }

    private mutating func frame(_ script: inout Script, keys: Int, _ header: FrameHeader?) -> [UInt8] {
        sealed((header?.bytes.copied() ?? []) + script.run(), .applicationData, &script, keys: keys)
    }

    /// Mostly under the newest key and a fresh number.
    private mutating func sealed(
        _ content: [UInt8], _ type: ContentType, _ script: inout Script, keys: Int
    ) -> [UInt8] {
        let choice = script.byte()
        if choice & 0x80 == 0 { sequence += 1 }
        let key = UInt64(max(keys - (choice & 7), 1))
        return FakePeer.sealed(content, as: type, sequence: sequence, epoch: choice & 0x78 == 0x78 ? 2 : 1, key: key)
    }
}

/// Makes the engines of one end, as the script has said last.
final class Engines {
    private(set) var made = 0
    var applicationProtocol: String?
    var heartbeatMode: HeartbeatMode?
    var peer = PeerIdentity(commonName: "peer")
    var serverName: String?
    var flightTimer = FlightTimer.stopped
    var isResumed = false
    var isRefused = false
    var mayShare = false

    func choose(_ script: inout Script) {
        let choice = script.byte()
        applicationProtocol = mayShare && choice & 1 != 0 ? SharedFrame.applicationProtocol : nil
        heartbeatMode = [nil, .peerAllowedToSend, .peerNotAllowedToSend, .peerAllowedToSend][choice >> 1 & 3]
        peer = PeerIdentity(commonName: choice & 0x18 == 0x18 ? "other" : "peer")
        serverName = choice & 0x20 == 0 ? nil : "m1"
        isResumed = choice & 0x40 != 0
        let other = script.byte()
        flightTimer = [.stopped, .due(in: .seconds(1)), .due(in: .zero), .unreliable][other & 3]
        isRefused = other & 0x1c == 0x1c
    }

    func make(_ size: Int) -> FakeEngine? {
        guard !isRefused else { return nil }
        made += 1
        let engine = FakeEngine(datagramSize: size, key: UInt64(made), peer: peer)
        engine.flightTimer = flightTimer
        engine.result.applicationProtocol = applicationProtocol
        engine.result.peerHeartbeatMode = heartbeatMode
        engine.result.serverName = serverName
        engine.result.isResumed = isResumed
        if isResumed || made & 1 == 0 {
            let finished = [20] + [UInt8](repeating: 0, count: 11)
            engine.result.finalFlight = FinalFlight(sessionTicket: nil, finished: finished, nextSequence: 4)
        }
        return engine
    }
}
