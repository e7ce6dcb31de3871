// A table for people: as wide as it has to be where there is room, and no wider than the terminal. Where room is short, the
// columns that matter least are left out and long texts are cut in the middle; in a pipe neither happens.

/// Rows under headings.
struct Table {
    /// A column.
    struct Column {
        /// Its heading.
        var title: String
        /// Whether it holds numbers, which end below each other.
        var isNumeric = false
        /// How soon it is left out where room is short: the greatest first, and never with 0.
        var rank = 0
        /// To how many columns of the terminal its texts may be cut; nil if they may not.
        var least: Int?

        init(_ title: String, isNumeric: Bool = false, rank: Int = 0, least: Int? = nil) {
            self.title = title
            self.isNumeric = isNumeric
            self.rank = rank
            self.least = least
        }
    }

    /// A place in a row.
    struct Cell {
        var text: String
        var ink: Ink

        init(_ text: String?, _ ink: Ink = .plain) {
            self.text = text ?? "-"
            self.ink = ink
        }
    }

    let columns: [Column]
    /// Each with a cell for every column.
    private(set) var rows: [[Cell]] = []

    init(_ columns: [Column]) { self.columns = columns }

    mutating func add(_ row: [Cell]) {
        precondition(row.count == columns.count)
        rows.append(row)
    }

    private static let gap = 2

    /// The headings and then each row as a line.
    func lines(_ style: TextStyle) -> [StyledLine] {
        let rows = rows.map { $0.map { Cell(style.printable($0.text), $0.ink) } }
        var widths = columns.map(\.title.columns)
        for row in rows {
            for (index, cell) in row.enumerated() { widths[index] = max(widths[index], cell.text.columns) }
        }
        let shown = fit(&widths, style.columns)
        let header = line(columns.map { Cell($0.title, .heading) }, widths, shown, style)
        return [header] + rows.map { line($0, widths, shown, style) }
    }

    /// Chooses the columns that are shown and how wide they are.
    private func fit(_ widths: inout [Int], _ limit: Int?) -> [Int] {
        var shown = Array(columns.indices)
        guard let limit else { return shown }
        func least(_ index: Int, _ widths: [Int]) -> Int {
            columns[index].least.map { min(widths[index], max($0, columns[index].title.columns)) } ?? widths[index]
        }
        func total(_ width: (Int) -> Int) -> Int { shown.reduce(0) { $0 + width($1) + Self.gap } - Self.gap }
        while total({ least($0, widths) }) > limit {
            guard let last = shown.filter({ columns[$0].rank > 0 }).max(by: { columns[$0].rank < columns[$1].rank })
            else { break }
            shown.removeAll { $0 == last }
        }
        var excess = total { widths[$0] } - limit
        while excess > 0 {
            let longest = shown.filter { widths[$0] > least($0, widths) }.max { widths[$0] < widths[$1] }
            guard let longest else { break }
            widths[longest] -= 1
            excess -= 1
        }
        return shown
    }

    private func line(_ cells: [Cell], _ widths: [Int], _ shown: [Int], _ style: TextStyle) -> StyledLine {
        var line = StyledLine()
        for index in shown {
            if index != shown.first { line.append(String(repeating: " ", count: Self.gap)) }
            let text = cells[index].text.shortened(to: widths[index], mark: style.ellipsis)
            line.append(text.padded(to: widths[index], atEnd: !columns[index].isNumeric), cells[index].ink)
        }
        return style.columns.map { line.beginning(of: $0) } ?? line
    }
}
