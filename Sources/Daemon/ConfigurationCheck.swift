// `culvert check`: the config and every file that it names, without starting anything.

public import Configuration

/// Checks a configuration as the daemon would before it starts.
public enum ConfigurationCheck {
    /// Reads the config at `path` and every file that it names.
    ///
    /// - Returns: everything that is wrong or doubtful, and the configuration if it can be run.
    public static func run(path: String) -> (configuration: Configuration?, diagnostics: [Diagnostic]) {
        let (configuration, diagnostics) = load(path: path)
        guard let configuration else { return (nil, diagnostics) }
        var credentials = Credentials()
        let plans = credentials.plans(for: configuration)
        return (plans == nil ? nil : configuration, diagnostics + credentials.diagnostics)
    }

    /// Reads the config at `path`. The caller reads the files that it names next. If the config has errors, the caller
    /// will not get that far, so they are read here, and the diagnostics include their mistakes too.
    ///
    /// - Returns: everything that is wrong or doubtful, and the configuration if it has no errors.
    public static func load(path: String) -> (configuration: Configuration?, diagnostics: [Diagnostic]) {
        let (configuration, isGood, diagnostics) = ConfigurationLoader.read(path: path)
        guard !isGood else { return (configuration, diagnostics) }
        var credentials = Credentials()
        credentials.readFiles(of: configuration)
        return (nil, diagnostics + credentials.diagnostics)
    }
}
