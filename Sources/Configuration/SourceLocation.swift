// Where something stands in the configuration, so that a mistake found later can still name its line.

/// A place in a configuration file.
public struct SourceLocation: Hashable, Sendable {
    /// The file as it was named to culvert.
    public var file: String
    /// The line, from 1; 0 when the whole file is meant.
    public var line: Int
    /// The column in code points, from 1; 0 when the whole file is meant.
    public var column: Int

    /// Makes a location; without line and column, the whole file is meant.
    public init(file: String, line: Int = 0, column: Int = 0) {
        self.file = file
        self.line = line
        self.column = column
    }

    /// `path` as seen from the directory of this file: an absolute path stays as it is.
    public func resolve(path: String) -> String {
        guard !path.hasPrefix("/"), let slash = file.lastIndex(of: "/") else { return path }
        return String(file[...slash]) + path
    }
}

extension SourceLocation: CustomStringConvertible {
    /// `culvert.toml:12:3`, or the file alone.
    public var description: String { line == 0 ? file : "\(file):\(line):\(column)" }
}

/// A value and the place it was written at.
public struct Located<Value> {
    /// The value.
    public var value: Value
    /// Where it was written.
    public var location: SourceLocation

    /// Makes a located value.
    public init(_ value: Value, at location: SourceLocation) {
        self.value = value
        self.location = location
    }
}

extension Located: Sendable where Value: Sendable {}

extension Located: Equatable where Value: Equatable {
    /// Compares the values alone: moving a line changes nothing.
    public static func == (left: Self, right: Self) -> Bool { left.value == right.value }
}
