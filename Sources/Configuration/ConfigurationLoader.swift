// Brings a configuration from the disk: one file, or the `*.toml` of a directory in the order of their names.

/// Loads a configuration.
public enum ConfigurationLoader {
    /// Reads and checks the configuration at `path`, a file or a directory. The diagnostics hold every mistake, that of a
    /// file that cannot be read included; the configuration is nil when one of them is an error. Files that the
    /// configuration names (keys, certificates) are not looked at.
    public static func load(path: String) -> (configuration: Configuration?, diagnostics: [Diagnostic]) {
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
            return (nil, [Diagnostic(.error, error.message, at: SourceLocation(file: path))])
        }
        let (configuration, diagnostics) = Configuration.parse(sources: sources, isPartial: !failures.isEmpty)
        return (failures.isEmpty ? configuration : nil, failures + diagnostics)
    }

    private static func files(at path: String) throws(ConfigurationFileError) -> [String] {
        guard let names = try ConfigurationFile.names(inDirectory: path) else { return [path] }
        let wanted = names.filter { $0.hasSuffix(".toml") && !$0.hasPrefix(".") }
        guard !wanted.isEmpty else { throw ConfigurationFileError(message: "the directory holds no *.toml file") }
        return wanted.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
            .map { path.hasSuffix("/") ? path + $0 : "\(path)/\($0)" }
    }
}
