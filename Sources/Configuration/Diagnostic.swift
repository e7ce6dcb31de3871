// What is wrong with a configuration, in the form that compilers use, so that editors can jump to the place.

/// One mistake or doubt, with its place.
public struct Diagnostic: Hashable, Sendable {
    /// How bad it is.
    public enum Severity: String, Hashable, Sendable {
        /// The configuration cannot be used.
        case error
        /// The configuration can be used, but may not do what was meant.
        case warning
    }

    /// Where it was found.
    public var location: SourceLocation
    /// How bad it is.
    public var severity: Severity
    /// What is wrong and what to do, in one line without control characters.
    public var message: String

    /// Makes a diagnostic.
    public init(_ severity: Severity, _ message: String, at location: SourceLocation) {
        self.severity = severity
        self.message = message
        self.location = location
    }

    /// The file it was found in.
    public var file: String { location.file }
    /// The line, from 1; 0 when the whole file is meant.
    public var line: Int { location.line }
    /// The column, from 1; 0 when the whole file is meant.
    public var column: Int { location.column }
}

extension Diagnostic: CustomStringConvertible {
    /// `culvert.toml:12:3: error: unknown key 'lisen' in tunnel 'syslog'; did you mean 'listen'?`
    public var description: String { "\(location): \(severity.rawValue): \(message)" }
}

/// Collects diagnostics while a configuration is read. One per reading, never shared.
final class DiagnosticLog {
    private var diagnostics: [Diagnostic] = []

    /// Whether only a part of the text is known, because of a syntax error. What seems to be missing may then stand in
    /// the rest.
    var isPartial = false

    var hasErrors: Bool { diagnostics.contains { $0.severity == .error } }

    func error(_ message: String, at location: SourceLocation) {
        diagnostics.append(Diagnostic(.error, message, at: location))
    }

    /// Reports that something is not there; says nothing while only a part of the text is known.
    func missing(_ message: String, at location: SourceLocation) {
        if !isPartial { error(message, at: location) }
    }

    func warning(_ message: String, at location: SourceLocation) {
        diagnostics.append(Diagnostic(.warning, message, at: location))
    }

    /// Whether there is an error at a place.
    func hasError(at location: SourceLocation) -> Bool {
        diagnostics.contains { $0.severity == .error && $0.location == location }
    }

    /// All diagnostics: file by file in the order given, then by line and column.
    func sorted(files: [String]) -> [Diagnostic] {
        let rank = Dictionary(zip(files, files.indices), uniquingKeysWith: { first, _ in first })
        func key(_ offset: Int, _ place: SourceLocation) -> (Int, Int, Int, Int) {
            (rank[place.file] ?? files.count, place.line, place.column, offset)
        }
        return diagnostics.enumerated().sorted {
            key($0.offset, $0.element.location) < key($1.offset, $1.element.location)
        }.map(\.element)
    }
}

/// Text from a configuration file as a message may show it: in single quotes, shortened, control characters escaped.
func quoted(_ text: some StringProtocol) -> String {
    let shown = text.unicodeScalars.prefix(80).map(escaped).joined()
    return "'\(shown)\(text.unicodeScalars.count > 80 ? "…" : "")'"
}

/// One scalar as it may appear in a message: nothing that moves a terminal's cursor or reverses its text.
func escaped(_ scalar: Unicode.Scalar) -> String {
    switch scalar.properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator: "\\u{\(String(scalar.value, radix: 16))}"
    default: String(scalar)
    }
}
