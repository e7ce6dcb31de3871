// What the place where text goes can show: how wide it is, whether it knows colours, and whether it knows more than ASCII.

import LinuxIO

/// What may be used in text.
struct TextStyle: Sendable, Equatable {
    /// How many columns a line has; nil where nothing is cut, as in a pipe.
    var columns: Int?
    /// Whether there are colours.
    var isColoured: Bool
    /// Whether there is more than ASCII.
    var isUnicode: Bool

    /// For standard output as it is now. Where that is no terminal, a line has as many columns as COLUMNS says, if it does.
    static func forOutput() -> TextStyle {
        let isTerminal = Terminal.isTerminal(1)
        return TextStyle(
            columns: isTerminal
                ? Terminal.size(of: 1)?.columns ?? 80 : Environment.value("COLUMNS").flatMap { Int($0) },
            isColoured: isTerminal && knowsColours(Environment.value), isUnicode: isUnicode(Environment.value))
    }

    /// Whether a terminal should be given colours (https://no-color.org).
    static func knowsColours(_ variable: (String) -> String?) -> Bool {
        variable("NO_COLOR") == nil && variable("TERM") != nil && variable("TERM") != "dumb"
    }

    /// Whether the locale's characters are those of Unicode (setlocale(3): the first variable that is set counts).
    static func isUnicode(_ variable: (String) -> String?) -> Bool {
        let locale = (variable("LC_ALL") ?? variable("LC_CTYPE") ?? variable("LANG") ?? "").lowercased()
        return locale.hasSuffix("utf-8") || locale.hasSuffix("utf8") || locale.contains("utf-8@")
    }

    /// Stands for what is left out.
    var ellipsis: String { isUnicode ? "…" : "..." }
    /// From where to where.
    var arrow: String { isUnicode ? "→" : "->" }
    /// Between facts.
    var dot: String { isUnicode ? "·" : "|" }
    /// The heights of a history line, the lowest first.
    var levels: [String] {
        isUnicode ? ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"] : ["_", ".", "-", "=", "+", "*", "#"]
    }
    /// Keys that move.
    var arrowKeys: String { isUnicode ? "↑↓" : "arrows" }

    /// `text` without what the place cannot show or would obey.
    func printable(_ text: String) -> String { text.printable(isUnicode: isUnicode) }
}
