// A history in one line: a character for each value, the higher the larger, with the greatest of them as the measure.

/// Draws histories.
enum Sparkline {
    /// The last `width` of `values`, the newest at the right; nil stands for a moment without a value, shown as a blank.
    static func text(_ values: [Double?], width: Int, _ style: TextStyle) -> String {
        let shown = values.suffix(width)
        let greatest = shown.reduce(0) { max($0, $1 ?? 0) }
        let levels = style.levels
        let drawn = shown.map { value in
            guard let value else { return " " }
            guard greatest > 0, value > 0 else { return levels[0] }
            // Anything above zero is visible.
            return levels[min(max(Int((value / greatest * Double(levels.count - 1)).rounded()), 1), levels.count - 1)]
        }
        return String(repeating: " ", count: max(width - drawn.count, 0)) + drawn.joined()
    }
}
