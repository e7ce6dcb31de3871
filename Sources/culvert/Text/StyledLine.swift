// A line of text of which parts have a meaning that a terminal can show by colour. How many columns it takes does not
// depend on that.

/// What a part of a line means.
enum Ink: Sendable {
    /// Nothing special.
    case plain
    /// The name of a column, or of what follows.
    case heading
    /// As it should be.
    case good
    /// Worth a look.
    case warning
    /// Not as it should be.
    case bad
    /// Of less importance.
    case faint

    /// The control sequence that begins it (ECMA-48 SGR).
    fileprivate var sequence: String? {
        switch self {
        case .plain: nil
        case .heading: "\u{1b}[1m"
        case .good: "\u{1b}[32m"
        case .warning: "\u{1b}[33m"
        case .bad: "\u{1b}[1;31m"
        case .faint: "\u{1b}[2m"
        }
    }
}

/// A line.
struct StyledLine: Sendable, Equatable {
    /// A part of it.
    struct Span: Sendable, Equatable {
        var text: String
        var ink: Ink
    }

    private(set) var spans: [Span] = []

    init() {}

    init(_ text: String, _ ink: Ink = .plain) { spans = [Span(text: text, ink: ink)] }

    /// Goes on with more text.
    mutating func append(_ text: String, _ ink: Ink = .plain) {
        if !text.isEmpty { spans.append(Span(text: text, ink: ink)) }
    }

    /// Goes on with another line.
    mutating func append(_ other: StyledLine) { spans += other.spans }

    /// The line with each part's words replaced.
    func mapped(_ transform: (String) -> String) -> StyledLine {
        var result = self
        for index in spans.indices { result.spans[index].text = transform(spans[index].text) }
        return result
    }

    /// How many columns it takes.
    var columns: Int { spans.reduce(0) { $0 + $1.text.columns } }

    /// The words without their colours.
    var plain: String { spans.map(\.text).joined() }

    /// The line for an output of that style, without blanks at its end.
    func text(_ style: TextStyle) -> String {
        var spans = spans
        while let last = spans.last {
            let kept = last.text.trimmingEnd()
            spans[spans.count - 1].text = kept
            guard kept.isEmpty else { break }
            spans.removeLast()
        }
        return spans.map { span in
            let text = style.printable(span.text)
            guard style.isColoured, let sequence = span.ink.sequence else { return text }
            return "\(sequence)\(text)\u{1b}[0m"
        }.joined()
    }

    /// The line, or as much of its beginning as takes `limit` columns.
    func beginning(of limit: Int) -> StyledLine {
        var result = StyledLine()
        var room = limit
        for span in spans where room > 0 {
            let text = span.text.beginning(of: room)
            result.append(text, span.ink)
            room -= text == span.text ? text.columns : room
        }
        return result
    }

    /// `start` and then facts with `separator` between them, on as many lines as they need; lines after the first begin with
    /// `indent` blanks. A fact longer than a line is shortened in its middle.
    static func flow(
        _ facts: [Span], after start: StyledLine = StyledLine(), separator: String, indent: Int, _ style: TextStyle
    ) -> [StyledLine] {
        let blanks = StyledLine(String(repeating: " ", count: indent))
        var lines = [start]
        var isFirst = true
        for (index, fact) in facts.enumerated() {
            let separator = index == facts.count - 1 ? "" : separator
            var text = style.printable(fact.text)
            if let limit = style.columns {
                let ending = separator.trimmingEnd().columns
                text = text.shortened(to: max(limit - indent - ending, 8), mark: style.ellipsis)
                if !isFirst, lines[lines.count - 1].columns + text.columns + ending > limit {
                    lines.append(blanks)
                }
            }
            isFirst = false
            lines[lines.count - 1].append(text, fact.ink)
            lines[lines.count - 1].append(separator)
        }
        return lines
    }

    /// A sentence, which may be broken at its blanks, in one ink; otherwise as `flow`.
    static func words(
        _ text: String, _ ink: Ink, after start: StyledLine = StyledLine(), indent: Int, _ style: TextStyle
    ) -> [StyledLine] {
        flow(
            text.split(separator: " ").map { Span(text: String($0), ink: ink) }, after: start, separator: " ",
            indent: indent, style)
    }
}

extension String {
    /// Without blanks at the end.
    fileprivate func trimmingEnd() -> String {
        var text = self[...]
        while text.last == " " { text.removeLast() }
        return String(text)
    }
}
