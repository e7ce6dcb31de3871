// The configuration as checked values, and the way there from text. It is pure: no file but the given ones is looked
// at, nothing is resolved. It must never trap, whatever the bytes are.

/// A file's name and its bytes.
public struct ConfigurationSource: Sendable {
    /// The name for messages; the directory in it is where relative paths start.
    public var name: String
    /// The TOML text in UTF-8, with or without a byte order mark.
    public var bytes: [UInt8]

    /// Makes a source from bytes.
    public init(name: String, bytes: [UInt8]) {
        self.name = name
        self.bytes = bytes
    }

    /// Makes a source from text.
    public init(name: String, text: String) {
        self.init(name: name, bytes: Array(text.utf8))
    }
}

/// A whole configuration without errors.
public struct Configuration: Equatable, Sendable {
    /// The most tunnels in a configuration.
    public static let maximumTunnels = 4096

    /// What concerns the process.
    public var daemon = DaemonSettings()
    /// The identities by name, in the order of their names.
    public var identities: [IdentitySettings] = []
    /// The trust sections, in the order of their names.
    public var trusts: [TrustSettings] = []
    /// The tunnels in the order given; at least one.
    public var tunnels: [TunnelSettings] = []

    /// Reads and checks a configuration that consists of one or more files. The diagnostics hold every mistake, file by
    /// file and line by line; the configuration is nil when one of them is an error.
    public static func parse(
        sources: [ConfigurationSource]
    ) -> (configuration: Configuration?, diagnostics: [Diagnostic]) {
        let (configuration, isGood, diagnostics) = read(sources: sources, isPartial: false)
        return (isGood ? configuration : nil, diagnostics)
    }

    /// The same, and with errors the result holds what could be understood. `isPartial` says that there are more files,
    /// which could not be read.
    static func read(
        sources: [ConfigurationSource], isPartial: Bool
    ) -> (configuration: Configuration, isGood: Bool, diagnostics: [Diagnostic]) {
        let log = DiagnosticLog()
        log.isPartial = isPartial
        let configuration = ConfigurationReader(sources, log: log).read()
        return (configuration, !log.hasErrors, log.sorted(files: sources.map(\.name)))
    }
}
