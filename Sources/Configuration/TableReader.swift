// Reads typed values out of one table and reports what is not as it should be: unknown keys, keys given twice, wrong
// types, numbers out of range. A value that was reported reads as absent; `has` tells the two cases apart.

/// The values of one table.
struct TableReader {
    /// What messages call the table: `[daemon]` or `tunnel 'syslog'`.
    let title: String
    /// Where the table begins.
    let location: SourceLocation
    let log: DiagnosticLog
    private var members: [String: TOMLNode.Member] = [:]

    /// Takes the members of a table, from one file or several, and reports the ones that `section` does not know.
    init(
        _ section: Section, title: String, at location: SourceLocation, members all: [TOMLNode.Member],
        log: DiagnosticLog
    ) {
        self.title = title
        self.location = location
        self.log = log
        for member in all {
            guard section.keys.contains(member.key) else {
                let hint = section.hint(forUnknown: member.key)
                log.error("unknown key \(quoted(member.key)) in \(title)\(hint)", at: member.location)
                continue
            }
            if let first = members[member.key] {
                let message = "'\(member.key)' in \(title) is given twice; the first is at \(first.location)"
                log.error(message, at: member.location)
                continue
            }
            members[member.key] = member
        }
    }

    /// Whether the key is given, with a good value or not.
    func has(_ key: String) -> Bool { members[key] != nil }

    /// Where the key stands; the table's own place when it is absent.
    func location(of key: String) -> SourceLocation { members[key]?.location ?? location }

    /// Reports a mistake at the key.
    func error(_ key: String, _ message: String) { log.error(message, at: location(of: key)) }

    /// A string that is neither empty nor holds control characters.
    func string(_ key: String) -> Located<String>? {
        members[key].flatMap { string($0.value, of: key, expected: "a string") }
    }

    /// The name of a file, seen from the directory of the file that names it.
    func path(_ key: String) -> Located<String>? {
        string(key).map { Located($0.location.resolve(path: $0.value), at: $0.location) }
    }

    /// An array of strings with at least one element, none of them empty. Bad elements are reported and left out.
    func strings(_ key: String) -> [Located<String>]? {
        guard let value = members[key]?.value else { return nil }
        guard case .array(let elements) = value.content else {
            mismatch(value, of: key, expected: "an array of strings")
            return nil
        }
        guard !elements.isEmpty else {
            log.error("'\(key)' is an empty array; leave the key out instead", at: value.location)
            return nil
        }
        return elements.compactMap { string($0, of: key, expected: "an array of strings") }
    }

    func boolean(_ key: String) -> Bool? {
        guard let value = members[key]?.value else { return nil }
        if case .boolean(let boolean) = value.content { return boolean }
        mismatch(value, of: key, expected: "a boolean (true or false)")
        return nil
    }

    func integer(_ key: String, in range: ClosedRange<Int>) -> Int? {
        guard let value = members[key]?.value else { return nil }
        guard case .integer(let wide) = value.content else {
            mismatch(value, of: key, expected: "an integer")
            return nil
        }
        guard let integer = Int(exactly: wide), range.contains(integer) else {
            let message = "'\(key)' is \(wide), which is not between \(range.lowerBound) and \(range.upperBound)"
            log.error(message, at: value.location)
            return nil
        }
        return integer
    }

    /// A span of time such as `"15s"`.
    func duration(_ key: String, in range: ClosedRange<Duration>) -> Duration? {
        guard let value = members[key]?.value else { return nil }
        guard case .string(let text) = value.content else {
            mismatch(value, of: key, expected: #"a duration in quotes, such as "15s""#)
            return nil
        }
        guard let duration = Duration(settingText: text) else {
            let form = #"write a whole number with ms, s, m, h or d, such as "250ms" or "5m""#
            log.error("'\(key)' is not a duration: \(quoted(text)); \(form)", at: value.location)
            return nil
        }
        guard range.contains(duration) else {
            let bounds = "\(range.lowerBound.settingText) and \(range.upperBound.settingText)"
            log.error("'\(key)' is \(quoted(text)), which is not between \(bounds)", at: value.location)
            return nil
        }
        return duration
    }

    /// One of the words that `Choice` knows.
    func choice<Choice: RawRepresentable<String> & CaseIterable>(_ key: String, of _: Choice.Type) -> Choice? {
        guard let text = string(key) else { return nil }
        if let choice = Choice(rawValue: text.value) { return choice }
        let words = Choice.allCases.map(\.rawValue)
        let hint =
            SpellingSuggestion.nearest(to: text.value, among: words).map { "did you mean '\($0)'?" }
            ?? "it is one of \(SpellingSuggestion.choice(words))"
        log.error("'\(key)' cannot be \(quoted(text.value)); \(hint)", at: text.location)
        return nil
    }

    /// A table inside this one.
    func table(_ key: String, _ section: Section) -> TableReader? {
        guard let member = members[key] else { return nil }
        guard case .table(let inner) = member.value.content else {
            mismatch(member.value, of: key, expected: "a table")
            return nil
        }
        return TableReader(section, title: title(ofTable: key), at: member.location, members: inner, log: log)
    }

    /// What messages call a table inside this one.
    func title(ofTable key: String) -> String { "\(key) of \(title)" }

    /// What is given for a key of a table inside this one, good or not.
    func member(_ key: String, ofTable table: String) -> TOMLNode.Member? {
        guard case .table(let inner)? = members[table]?.value.content else { return nil }
        return inner.first { $0.key == key }
    }

    private func string(_ value: TOMLNode, of key: String, expected: String) -> Located<String>? {
        guard case .string(let text) = value.content else {
            mismatch(value, of: key, expected: expected)
            return nil
        }
        guard !text.isEmpty else {
            log.error("'\(key)' holds an empty string", at: value.location)
            return nil
        }
        guard !text.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) else {
            log.error("'\(key)' holds a control character: \(quoted(text))", at: value.location)
            return nil
        }
        return Located(text, at: value.location)
    }

    private func mismatch(_ value: TOMLNode, of key: String, expected: String) {
        log.error("'\(key)': expected \(expected), found \(value.kind)", at: value.location)
    }
}
