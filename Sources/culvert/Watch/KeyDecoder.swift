// Keys out of the bytes that a terminal sends for them (ECMA-48, and what xterm made of it).

/// A key of the live screen.
enum Key: Equatable {
    case character(Character)
    case up
    case down
    case pageUp
    case pageDown
    case home
    case end
    /// Ctrl-C.
    case interrupt
}

/// Puts keys together, also those whose bytes come in pieces. What it does not know it leaves out.
struct KeyDecoder {
    /// An escape sequence that has begun.
    private var sequence: [UInt8] = []
    /// Longer than any that is known.
    private static let longest = 16

    /// The keys that are whole with these bytes.
    mutating func keys(_ bytes: [UInt8]) -> [Key] {
        bytes.compactMap { key($0) }
    }

    private mutating func key(_ byte: UInt8) -> Key? {
        if byte == 0x1b {
            sequence = [byte]
            return nil
        }
        guard !sequence.isEmpty else { return Self.plain(byte) }
        sequence.append(byte)
        // ESC [ and ESC O introduce; parameters are digits and their like; the first other byte ends the sequence.
        if sequence.count == 2, byte == UInt8(ascii: "[") || byte == UInt8(ascii: "O") { return nil }
        if sequence.count > 2, sequence.count < Self.longest, 0x20...0x3f ~= byte { return nil }
        defer { sequence = [] }
        return Self.named(sequence.dropFirst())
    }

    private static func plain(_ byte: UInt8) -> Key? {
        switch byte {
        case 0x03: .interrupt
        case 0x20..<0x7f: .character(Character(Unicode.Scalar(byte)))
        default: nil
        }
    }

    private static func named(_ sequence: ArraySlice<UInt8>) -> Key? {
        switch String(decoding: sequence, as: UTF8.self) {
        case "[A", "OA": .up
        case "[B", "OB": .down
        case "[5~": .pageUp
        case "[6~": .pageDown
        case "[H", "OH", "[1~", "[7~": .home
        case "[F", "OF", "[4~", "[8~": .end
        default: nil
        }
    }
}
