// A row of the table of keys: everything there is to know about a key of the file, so that what is done with keys is
// written once for all of them. The rows themselves are in KeyTable.

/// One key of a section, and where its value is in the settings that the section is read into.
struct SettingKey<Settings>: Sendable {
    typealias Path<Value> = WritableKeyPath<Settings, Value> & Sendable

    /// What the key holds.
    enum Content: Sendable {
        /// A value: how it is read from a table, leaving the default if it is absent or was reported as wrong; and how
        /// it is shown, nil if there is nothing to show.
        case value(
            read: @Sendable (TableReader, _ key: String, inout Settings) -> Void,
            tell: @Sendable (Settings) -> EffectiveConfiguration.Value?)
        /// A table with a section's keys.
        case table(Section, [SettingKey])
    }

    /// The key as it is written.
    let name: String
    /// What it holds.
    let content: Content
    /// The only role that it is for, and why; nil if it is for both.
    private(set) var owner: (role: TunnelSettings.Role, reason: String)?
    /// Whether a reload changes it in place, without beginning anew what it concerns.
    private(set) var isLive = false
    /// The roles in which it concerns associations: there, tunnels that share associations have to agree on it.
    private(set) var agreeing: Set<TunnelSettings.Role> = []
}

// MARK: - What else there is to a key

extension SettingKey {
    /// The same key, for a single role.
    func only(_ role: TunnelSettings.Role, because reason: String) -> Self {
        var key = self
        key.owner = (role, reason)
        return key
    }

    /// The same key, changed in place by a reload.
    var live: Self {
        var key = self
        key.isLive = true
        return key
    }

    /// The same key, on which tunnels that share associations have to agree.
    var agreed: Self { agreed(in: .client, .server) }

    /// The same, in some roles only.
    func agreed(in roles: TunnelSettings.Role...) -> Self {
        var key = self
        key.agreeing = Set(roles)
        return key
    }
}

// MARK: - Kinds

extension SettingKey {
    /// A value that the section's own reader reads, because it takes more than the key alone.
    init(_ name: String, tell: @escaping @Sendable (Settings) -> EffectiveConfiguration.Value?) {
        self.init(name: name, content: .value(read: { _, _, _ in }, tell: tell))
    }

    /// A value that is read and shown by the given functions.
    init<Value>(
        _ name: String, _ path: any Path<Value>, read: @escaping @Sendable (TableReader, _ key: String) -> Value?,
        tell: @escaping @Sendable (Value) -> EffectiveConfiguration.Value?
    ) {
        let content = Content.value { table, key, settings in
            if let value = read(table, key) { settings[keyPath: path] = value }
        } tell: { settings in
            tell(settings[keyPath: path])
        }
        self.init(name: name, content: content)
    }

    /// The same without a default.
    init<Value>(
        _ name: String, optional path: any Path<Value?>,
        read: @escaping @Sendable (TableReader, _ key: String) -> Value?,
        tell: @escaping @Sendable (Value) -> EffectiveConfiguration.Value
    ) {
        self.init(name, path, read: { read($0, $1).map(Optional.some) }, tell: { $0.map(tell) })
    }

    static func boolean(_ name: String, _ path: any Path<Bool>) -> Self {
        Self(name, path, read: { $0.boolean($1) }, tell: { .boolean($0) })
    }

    static func integer(_ name: String, _ path: any Path<Int>, in range: ClosedRange<Int>) -> Self {
        Self(name, path, read: { $0.integer($1, in: range) }, tell: { .integer($0) })
    }

    static func duration(_ name: String, _ path: any Path<Duration>, in range: ClosedRange<Duration>) -> Self {
        Self(name, path, read: { $0.duration($1, in: range) }, tell: { .string($0.settingText) })
    }

    /// One of the words of `Choice`.
    static func choice<Choice: RawRepresentable<String> & CaseIterable & SendableMetatype>(
        _ name: String, _ path: any Path<Choice>
    ) -> Self {
        Self(name, path, read: { $0.choice($1, of: Choice.self) }, tell: { .string($0.rawValue) })
    }

    /// The same without a default.
    static func choice<Choice: RawRepresentable<String> & CaseIterable & SendableMetatype>(
        _ name: String, optional path: any Path<Choice?>
    ) -> Self {
        Self(name, optional: path, read: { $0.choice($1, of: Choice.self) }, tell: { .string($0.rawValue) })
    }

    /// The name of a file, without a default.
    static func file(_ name: String, optional path: any Path<Located<String>?>) -> Self {
        Self(name, optional: path, read: { $0.path($1) }, tell: { .path($0.value) })
    }

    /// An array of texts, empty by default. `parse` reports a text that cannot be an element, and returns nil for it.
    static func list<Element>(
        _ name: String, _ path: any Path<[Element]>,
        parse: @escaping @Sendable (Located<String>, DiagnosticLog) -> Element?,
        text: @escaping @Sendable (Element) -> String
    ) -> Self {
        Self(name, path) { table, key in
            table.strings(key)?.compactMap { parse($0, table.log) }
        } tell: {
            $0.isEmpty ? nil : .strings($0.map(text))
        }
    }

    static func table(_ name: String, _ section: Section, _ keys: [SettingKey]) -> Self {
        Self(name: name, content: .table(section, keys))
    }
}

// MARK: - What is done with keys

extension Array {
    /// Reads these keys from a table.
    func read<Settings>(from table: TableReader, into settings: inout Settings) where Element == SettingKey<Settings> {
        for key in self {
            switch key.content {
            case .value(let read, _): read(table, key.name, &settings)
            case .table(let section, let keys):
                if let inner = table.table(key.name, section) { keys.read(from: inner, into: &settings) }
            }
        }
    }

    /// The values of these keys in the settings.
    func table<Settings>(of settings: Settings) -> EffectiveConfiguration.Table
    where Element == SettingKey<Settings> {
        var table = EffectiveConfiguration.Table()
        for key in self {
            switch key.content {
            case .value(_, let tell): if let value = tell(settings) { table.entries.append((key.name, value)) }
            case .table(_, let keys): table.tables.append((key.name, keys.table(of: settings)))
            }
        }
        return table
    }

    /// The names of the keys that a reload changes in place; those in tables as `table.key`.
    func liveNames<Settings>() -> Set<String> where Element == SettingKey<Settings> {
        var names: Set<String> = []
        for key in self {
            if key.isLive { names.insert(key.name) }
            if case .table(_, let keys) = key.content { names.formUnion(keys.liveNames().map { "\(key.name).\($0)" }) }
        }
        return names
    }
}
