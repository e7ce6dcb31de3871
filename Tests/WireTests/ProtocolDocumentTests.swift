// docs/PROTOCOL.md is what others build from, so what it says in bytes is read and written here: every block of the kind
// `example`, and the tables of control types, reasons and sizes.

import FoundationEssentials
import Testing
import Wire

/// The document.
private let document: String = {
    let root = #filePath.split(separator: "/").dropLast(3).map { "/" + $0 }.joined()
    return String(decoding: FileManager.default.contents(atPath: root + "/docs/PROTOCOL.md") ?? Data(), as: UTF8.self)
}()

/// What one block says.
private struct Example: CustomTestStringConvertible {
    private var fields: [String: String] = [:]

    /// Takes the lines of a block, `key: value` each.
    init(_ lines: [Substring]) throws {
        for line in lines {
            let colon = try #require(line.firstIndex(of: ":"), "no key in '\(line)'")
            let value = line[line.index(after: colon)...].drop { $0 == " " }
            #expect(
                fields.updateValue(String(value), forKey: String(line[..<colon])) == nil, "twice in one block: \(line)")
        }
    }

    var testDescription: String { "\(fields["reads"] ?? "") \(fields["bytes"] ?? "")" }

    func text(_ key: String) throws -> String { try #require(fields[key], "no '\(key)' in \(testDescription)") }
    func number(_ key: String) throws -> UInt64 { try #require(UInt64(text(key)), "'\(key)' in \(testDescription)") }

    /// Hex digits, in groups as one likes; `61*128` is a byte and how often it stands there.
    func bytes(_ key: String) throws -> [UInt8] {
        try text(key).split(separator: " ").flatMap { group in
            let parts = group.split(separator: "*")
            let bytes = hex(String(parts[0]))
            let count = parts.count == 2 ? try #require(Int(parts[1])) : 1
            try #require(parts.count <= 2 && bytes.count * 2 == parts[0].count && (count == 1 || bytes.count == 1))
            return (0..<count).flatMap { _ in bytes }
        }
    }

    func has(_ key: String) -> Bool { fields[key] != nil }

    /// Checks that the block has these keys, `reads`, `bytes` and perhaps `shortest`, and no others.
    func expectKeys(_ keys: String...) {
        #expect(Set(fields.keys).subtracting(["shortest"]) == Set(keys + ["reads", "bytes"]), "\(testDescription)")
    }

    func isLast() throws -> Bool {
        let last = try text("last")
        try #require(last == "yes" || last == "no")
        return last == "yes"
    }
}

/// The blocks of the document.
private func examples() throws -> [Example] {
    var blocks: [Example] = []
    var block: [Substring]?
    for line in document.split(separator: "\n", omittingEmptySubsequences: false) {
        if line == "```example" {
            block = []
        } else if line.hasPrefix("```"), let lines = block {
            blocks.append(try Example(lines))
            block = nil
        } else {
            block?.append(line)
        }
    }
    #expect(block == nil)
    return blocks
}

/// The rows of the table whose head begins with `head`, as cells.
private func table(_ head: String) -> [[String]] {
    let lines = document.split(separator: "\n", omittingEmptySubsequences: false)
    guard let start = lines.firstIndex(where: { $0.hasPrefix("| \(head) |") }) else { return [] }
    return lines[(start + 2)...].prefix { $0.hasPrefix("|") }.map { line in
        line.split(separator: "|").map { cell in
            String(cell.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
        }
    }
}

/// The header that `write` makes, which has to be `size` bytes, and what follows it.
private func frame(_ size: Int, _ payload: [UInt8] = [], _ write: (inout MutableRawSpan) -> Int) throws -> [UInt8] {
    var header = [UInt8](repeating: 0, count: size)
    try #require(header.withMutableBytes(write) == size)
    return header + payload
}

@Suite struct ProtocolDocumentTests {
    @Test func `every worked example reads as it says and is written as it says`() throws {
        var kinds: [String: Int] = [:]
        for example in try examples() {
            try check(example)
            kinds[try example.text("reads"), default: 0] += 1
        }
        let expected = [
            "datagram", "open", "opened", "close", "fragment", "open-fragment", "unknown", "malformed", "record",
            "alert",
            "hello-verify-request", "alpn-extension", "heartbeat-extension", "heartbeat-request",
        ]
        #expect(Set(kinds.keys) == Set(expected))
        #expect(kinds["malformed", default: 0] >= 10 && kinds["fragment", default: 0] >= 3)
    }

    @Test func `the table of control types is the one that is read`() throws {
        let rows = table("type")
        #expect(rows.map { $0[0] } == (1...7).map(String.init))
        // What stands behind the flow id, in the words of the table.
        let fields: [String: [UInt8]] = [
            "nothing": [], "reason": [0], "service": [1, 97], "datagram": [1, 2], "datagram id": [9], "offset": [0],
            "bytes": [UInt8](repeating: 1, count: 128),
        ]
        for row in rows {
            let type = try #require(UInt8(row[0]))
            let parts = row[2].split(separator: ",").map { String($0.drop { $0 == " " }) }
            let rest = try parts.flatMap { try #require(fields[$0], "\($0)") }
            switch readFrame([0, type, 5] + rest) {
            case .open: #expect(row[1] == "OPEN" && parts == ["service", "datagram"])
            case .opened: #expect(row[1] == "OPENED" && parts == ["nothing"])
            case .close: #expect(row[1] == "CLOSE" && parts == ["reason"])
            case .fragment(_, let part): #expect(row[1] == (part.isLast ? "FRAGMENT, the last" : "FRAGMENT"))
            case .openFragment(_, _, let part):
                #expect(row[1] == (part.isLast ? "OPEN with FRAGMENT, the last" : "OPEN with FRAGMENT"))
            case .datagram, .unknown, nil: Issue.record("type \(type)")
            }
        }
        guard case .unknown(8) = readFrame([0, 8, 5]) else {
            Issue.record("a type that the table does not have")
            return
        }
    }

    @Test func `the table of reasons is complete and in the same words`() throws {
        let rows = table("reason")
        #expect(rows.map { $0[0] } == (0...6).map(String.init))
        for row in rows { #expect(try CloseReason(rawValue: #require(UInt64(row[0]))).description == row[1]) }
        #expect(CloseReason(rawValue: 7).description == "reason 7")
    }

    @Test func `the sizes of frames are as the table says`() {
        let sizes = Dictionary(uniqueKeysWithValues: table("frame").map { ($0[0], Int($0[1])) })
        let service = Array("syslog".utf8)
        #expect(
            sizes == [
                "datagram": SharedFrame.datagramHeaderSize(flow: 63),
                "OPEN of the service `syslog`": SharedFrame.openHeaderSize(flow: 63, service: service),
                "OPENED": SharedFrame.openedSize(flow: 63),
                "CLOSE": SharedFrame.closeSize(flow: 63, reason: .shuttingDown),
                "FRAGMENT, datagram id below 64, offset 64 to 16383": SharedFrame.fragmentHeaderSize(
                    flow: 63, datagram: 63, offset: 16_383),
            ])
    }

    @Test func `the limits of frames are as the table says`() {
        let limits = Dictionary(uniqueKeysWithValues: table("what").map { ($0[0], $0[1]) })
        #expect(limits["plaintext of a record"] == "\(RecordHeader.maximumPlaintextLength) bytes")
        #expect(limits["datagram"] == "\(SharedFrame.maximumDatagramSize) bytes")
        #expect(limits["service name"] == "\(SharedFrame.maximumServiceSize) bytes")
        #expect(limits["bytes of a fragment that is not the last"] == "at least \(SharedFrame.minimumFragmentSize)")
    }

    // MARK: - One example

    private func check(_ example: Example) throws {
        switch try example.text("reads") {
        case "record", "alert", "hello-verify-request", "heartbeat-request": try checkMessage(example)
        case "alpn-extension", "heartbeat-extension": try checkExtension(example)
        case "malformed":
            example.expectKeys("because")
            #expect(try readFrame(example.bytes("bytes")) == nil, "\(example.testDescription)")
        case "unknown":
            example.expectKeys("type")
            #expect(
                try readFrame(example.bytes("bytes")) == .unknown(type: example.number("type")),
                "\(example.testDescription)")
        default: try checkFrame(example)
        }
    }

    private func checkFrame(_ example: Example) throws {
        let bytes = try example.bytes("bytes")
        let flow = try example.number("flow")
        let written: [UInt8]
        switch try (example.text("reads"), #require(readFrame(bytes), "\(example.testDescription)")) {
        case ("datagram", .datagram(flow, let payload)):
            example.expectKeys("flow", "payload")
            #expect(try Array(bytes[payload]) == example.bytes("payload"))
            written = try frame(SharedFrame.datagramHeaderSize(flow: flow), example.bytes("payload")) {
                SharedFrame.writeDatagramHeader(flow: flow, into: &$0)
            }
        case ("open", .open(flow, let name, let payload)):
            example.expectKeys("flow", "service", "payload")
            let service = try Array(example.text("service").utf8)
            #expect(try Array(bytes[name]) == service && Array(bytes[payload]) == example.bytes("payload"))
            written = try frame(SharedFrame.openHeaderSize(flow: flow, service: service), example.bytes("payload")) {
                SharedFrame.writeOpenHeader(flow: flow, service: service, into: &$0)
            }
        case ("opened", .opened(flow)):
            example.expectKeys("flow")
            written = try frame(SharedFrame.openedSize(flow: flow)) { SharedFrame.writeOpened(flow: flow, into: &$0) }
        case ("close", .close(flow, let reason)):
            example.expectKeys("flow", "reason")
            #expect(try reason.rawValue == example.number("reason"))
            written = try frame(SharedFrame.closeSize(flow: flow, reason: reason)) {
                SharedFrame.writeClose(flow: flow, reason: reason, into: &$0)
            }
        case ("fragment", .fragment(flow, let part)):
            example.expectKeys("flow", "datagram", "offset", "last", "payload")
            written = try checkFragment(example, part, bytes, flow: flow, service: nil)
        case ("open-fragment", .openFragment(flow, let name, let part)):
            example.expectKeys("flow", "service", "datagram", "offset", "last", "payload")
            let service = try Array(example.text("service").utf8)
            #expect(Array(bytes[name]) == service)
            written = try checkFragment(example, part, bytes, flow: flow, service: service)
        case let (_, found):
            Issue.record("\(example.testDescription) reads as \(found)")
            return
        }
        #expect(
            try written == example.bytes(example.has("shortest") ? "shortest" : "bytes"), "\(example.testDescription)")
    }

    private func checkFragment(
        _ example: Example, _ part: SharedFrame.Fragment, _ bytes: [UInt8], flow: UInt64, service: [UInt8]?
    ) throws -> [UInt8] {
        let (datagram, offset) = try (example.number("datagram"), Int(example.number("offset")))
        let isLast = try example.isLast()
        let payload = try example.bytes("payload")
        #expect(part.datagram == datagram && part.offset == offset && part.isLast == isLast)
        #expect(Array(bytes[part.payload]) == payload)
        guard let service else {
            return try frame(SharedFrame.fragmentHeaderSize(flow: flow, datagram: datagram, offset: offset), payload) {
                SharedFrame.writeFragmentHeader(
                    flow: flow, datagram: datagram, offset: offset, isLast: isLast, into: &$0)
            }
        }
        let size = SharedFrame.openFragmentHeaderSize(flow: flow, service: service, datagram: datagram, offset: offset)
        return try frame(size, payload) {
            SharedFrame.writeOpenFragmentHeader(
                flow: flow, service: service, datagram: datagram, offset: offset, isLast: isLast, into: &$0)
        }
    }

    private func checkMessage(_ example: Example) throws {
        let bytes = try example.bytes("bytes")
        switch try example.text("reads") {
        case "record":
            example.expectKeys("type", "epoch", "sequence", "length")
            let length = try Int(example.number("length"))
            let header = try #require(readRecord(bytes + [UInt8](repeating: 0, count: length)))
            let number = try RecordNumber(
                epoch: UInt16(example.number("epoch")), sequence: example.number("sequence"))
            let described = try RecordHeader(
                type: ContentType(rawValue: UInt8(example.number("type"))), number: number, length: length)
            #expect(header == described)
            #expect(written(RecordHeader.size) { described.write(into: &$0) } == bytes)
        case "alert":
            example.expectKeys("level", "description")
            let level = try #require(Alert.Level(rawValue: UInt8(example.number("level"))))
            let alert = try Alert(level, Alert.Description(rawValue: UInt8(example.number("description"))))
            #expect(readAlert(bytes) == alert && alert.bytes == bytes)
        case "hello-verify-request":
            example.expectKeys("sequence", "cookie")
            let cookie = try example.bytes("cookie")
            let number = try RecordNumber(epoch: 0, sequence: example.number("sequence"))
            var datagram = [UInt8](repeating: 0, count: HelloVerifyRequest.size(cookieLength: cookie.count))
            let length = datagram.withMutableBytes {
                HelloVerifyRequest.write(cookie: cookie.bytes, answering: number, into: &$0)
            }
            #expect(length == bytes.count && datagram == bytes)
        default:
            example.expectKeys("payload", "padding")
            let payload = try example.bytes("payload")
            let message = try #require(readHeartbeat(bytes))
            #expect(message.kind == .request && Array(bytes[message.payload]) == payload)
            #expect(try Array(bytes[message.payload.upperBound...]) == example.bytes("padding"))
            var random = Padding()
            #expect(HeartbeatMessage.bytes(.request, payload: payload.bytes, random: &random) == bytes)
        }
    }

    private func checkExtension(_ example: Example) throws {
        let bytes = try example.bytes("bytes")
        let (type, content): (UInt16, [UInt8])
        if try example.text("reads") == "alpn-extension" {
            example.expectKeys("protocol")
            let name = Array(SharedFrame.applicationProtocol.utf8)
            #expect(try Array(example.text("protocol").utf8) == name)
            // RFC 7301 §3.1: a list with its length, of names with theirs.
            (type, content) = (16, [0, UInt8(name.count + 1), UInt8(name.count)] + name)
        } else {
            example.expectKeys("mode")
            let mode = try #require(HeartbeatMode(rawValue: UInt8(example.number("mode"))))
            (type, content) = (HeartbeatMode.extensionType, [mode.rawValue])
        }
        #expect(bytes == [UInt8(type >> 8), UInt8(type & 0xff), 0, UInt8(content.count)] + content)
    }
}

/// The document's padding.
private struct Padding: RandomNumberGenerator {
    mutating func next() -> UInt64 { 0x5a5a_5a5a_5a5a_5a5a }
}
