// How much room text takes on a terminal, and text that is fit for one: names come from peers' certificates, and a terminal
// would obey the control characters in them.

extension Unicode.Scalar {
    /// How many columns a terminal gives it: 0, 1 or 2 (Unicode Standard Annex #11).
    var columns: Int {
        if value < 0x300 { return 1 }
        switch properties.generalCategory {
        case .nonspacingMark, .enclosingMark, .format, .control: return 0
        default: break
        }
        for range in Self.wide {
            if value < range.lowerBound { return 1 }
            if range.contains(value) { return 2 }
        }
        return 1
    }

    /// Blocks of wide characters, in their order.
    private static let wide: [ClosedRange<UInt32>] = [
        0x1100...0x115f, 0x231a...0x231b, 0x2329...0x232a, 0x23e9...0x23ec, 0x25fd...0x25fe, 0x2614...0x2615,
        0x2648...0x2653, 0x26a1...0x26a1, 0x26bd...0x26be, 0x26c4...0x26c5, 0x2705...0x2705, 0x270a...0x270b,
        0x2728...0x2728, 0x274c...0x274c, 0x2753...0x2757, 0x2795...0x2797, 0x2b1b...0x2b1c, 0x2b50...0x2b50,
        0x2e80...0x303e, 0x3041...0x33ff, 0x3400...0x4dbf, 0x4e00...0x9fff, 0xa000...0xa4cf, 0xa960...0xa97f,
        0xac00...0xd7a3, 0xf900...0xfaff, 0xfe30...0xfe6f, 0xff00...0xff60, 0xffe0...0xffe6, 0x16fe0...0x18aff,
        0x1b000...0x1b2ff, 0x1f004...0x1f004, 0x1f0cf...0x1f0cf, 0x1f18e...0x1f18e, 0x1f191...0x1f19a,
        0x1f200...0x1f320, 0x1f32d...0x1f335, 0x1f337...0x1f37c, 0x1f37e...0x1f393, 0x1f3a0...0x1f3ca,
        0x1f3e0...0x1f3f0, 0x1f3f4...0x1f3f4, 0x1f3f8...0x1f43e, 0x1f440...0x1f440, 0x1f442...0x1f4fc,
        0x1f4ff...0x1f53d, 0x1f54b...0x1f567, 0x1f5fb...0x1f64f, 0x1f680...0x1f6c5, 0x1f6d0...0x1f6d7,
        0x1f6eb...0x1f6fc, 0x1f7e0...0x1f7eb, 0x1f90c...0x1f9ff, 0x1fa70...0x1faff, 0x20000...0x3fffd,
    ]
}

extension String {
    /// How many columns a terminal gives it. It holds no control characters.
    var columns: Int {
        if utf8.allSatisfy({ $0 < 0x80 }) { return utf8.count }
        return unicodeScalars.reduce(0) { $0 + $1.columns }
    }

    /// The text without anything that a terminal would obey, such as escape sequences and changes of the direction of
    /// writing; without what it cannot show, unless `isUnicode`. In the place of each such character there is a `?`.
    func printable(isUnicode: Bool) -> String {
        if utf8.allSatisfy({ 0x20...0x7e ~= $0 }) { return self }
        var result = ""
        for scalar in unicodeScalars {
            let isShown =
                switch scalar.properties.generalCategory {
                case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned: false
                default: isUnicode || scalar.isASCII
                }
            result.unicodeScalars.append(isShown ? scalar : "?")
        }
        return result
    }

    /// The text in `limit` columns: where it takes more, `mark` stands in the middle for what is left out.
    func shortened(to limit: Int, mark: String) -> String {
        guard columns > limit else { return self }
        let room = limit - mark.columns
        guard room > 0 else { return beginning(of: limit) }
        let head = beginning(of: (room + 1) / 2)
        var tail = ""
        for character in reversed() {
            guard (String(character) + tail).columns <= room - head.columns else { break }
            tail = String(character) + tail
        }
        return head + mark + tail
    }

    /// The text, or as much of its beginning as takes `limit` columns.
    func beginning(of limit: Int) -> String {
        var result = ""
        var taken = 0
        for character in self {
            let columns = String(character).columns
            guard taken + columns <= limit else { break }
            result.append(character)
            taken += columns
        }
        return result
    }

    /// The text with blanks after it, or before it, so that it takes at least `width` columns.
    func padded(to width: Int, atEnd: Bool = true) -> String {
        let blanks = String(repeating: " ", count: max(width - columns, 0))
        return atEnd ? self + blanks : blanks + self
    }
}
