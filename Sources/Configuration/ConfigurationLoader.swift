// Brings a configuration from the disk: one file, or the `*.toml` of a directory in the order of their names.

/// Loads a configuration.
public enum ConfigurationLoader {
    /// Reads and checks the configuration at `path`, a file or a directory. The diagnostics hold every mistake, that of a
    /// file that cannot be read included; the configuration is nil when one of them is an error. Files that the
    /// configuration names (keys, certificates) are not looked at.
    public static func load(path: String) -> (configuration: Configuration?, diagnostics: [Diagnostic]) {
        let (configuration, isGood, diagnostics) = read(path: path)
        return (isGood ? configuration : nil, diagnostics)
    }

    /// The same, but a configuration with errors is returned as far as it could be understood, for whoever looks for
    /// more errors.
    public static func read(
        path: String
    ) -> (configuration: Configuration, isGood: Bool, diagnostics: [Diagnostic]) {
        var sources: [ConfigurationSource] = []
        var failures: [Diagnostic] = []
        do {
            for file in try files(at: path) {
                do {
                    sources.append(ConfigurationSource(name: file, bytes: try ConfigurationFile.read(file)))
                } catch {
                    failures.append(Diagnostic(.error, error.message, at: SourceLocation(file: file)))
                }
            }
        } catch {
            return (Configuration(), false, [Diagnostic(.error, error.message, at: SourceLocation(file: path))])
        }
        let (configuration, isGood, diagnostics) = Configuration.read(sources: sources, isPartial: !failures.isEmpty)
        return (configuration, isGood && failures.isEmpty, failures + diagnostics)
    }

    private static func files(at path: String) throws(ConfigurationFileError) -> [String] {
        guard let names = try ConfigurationFile.names(inDirectory: path) else { return [path] }
        let wanted = names.filter { $0.hasSuffix(".toml") && !$0.hasPrefix(".") }
        guard !wanted.isEmpty else { throw ConfigurationFileError(message: "the directory holds no *.toml file") }
        return wanted.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
            .map { path.hasSuffix("/") ? path + $0 : "\(path)/\($0)" }
    }
}
