// The configuration that is in force, defaults included, in the order and the words of a file. Secrets never stand in a
// configuration: it names the files that hold them. It is printed as TOML, which reads back to the same settings, or as
// JSON, and two of them show what a reload changes.

/// A configuration as sections of keys and values.
public struct EffectiveConfiguration: Equatable, Sendable {
    /// A value.
    public enum Value: Hashable, Sendable {
        case string(String)
        /// The name of a file, as seen from the directory in which the process runs.
        case path(String)
        case integer(Int)
        case boolean(Bool)
        case strings([String])
    }

    /// A table.
    public struct Table: Equatable, Sendable {
        /// Its keys in order.
        public var entries: [(key: String, value: Value)] = []
        /// The tables in it.
        public var tables: [(key: String, table: Table)] = []

        /// Whether both say the same, in whatever order.
        public static func == (left: Table, right: Table) -> Bool { left.differences(from: right).isEmpty }

        /// The keys whose values differ, those of tables in it as `table.key`.
        public func differences(from other: Table) -> [String] {
            let mine = flat
            let theirs = other.flat
            return Set(mine.keys).union(theirs.keys).filter { mine[$0] != theirs[$0] }.sorted()
        }

        /// All values by their keys, those of tables in it as `table.key`.
        var flat: [String: Value] {
            var values = Dictionary(entries.map { ($0.key, $0.value) }) { _, last in last }
            for (name, table) in tables {
                for (key, value) in table.flat { values["\(name).\(key)"] = value }
            }
            return values
        }

        /// Makes the name of every file absolute; only entries hold names of files.
        fileprivate mutating func makeAbsolute(_ directory: String) {
            for index in entries.indices {
                guard case .path(let path) = entries[index].value, !path.hasPrefix("/") else { continue }
                entries[index].value = .path(directory.hasSuffix("/") ? directory + path : "\(directory)/\(path)")
            }
        }
    }

    /// `[daemon]`.
    public var daemon: Table
    /// `[identity.NAME]`, in the order of their names.
    public var identities: [(name: String, table: Table)]
    /// `[trust.NAME]`, in the order of their names.
    public var trusts: [(name: String, table: Table)]
    /// `[[tunnel]]`, in the order of the file.
    public var tunnels: [Table]

    /// Whether both say the same.
    public static func == (left: EffectiveConfiguration, right: EffectiveConfiguration) -> Bool {
        left.toml == right.toml
    }
}

extension EffectiveConfiguration {
    /// The same with the absolute path of each file, for a reader who is elsewhere; `directory`, an absolute path too, is where
    /// the process runs.
    public func absolute(in directory: String) -> EffectiveConfiguration {
        var result = self
        result.daemon.makeAbsolute(directory)
        for index in identities.indices { result.identities[index].table.makeAbsolute(directory) }
        for index in trusts.indices { result.trusts[index].table.makeAbsolute(directory) }
        return result
    }
}

// MARK: - From settings

extension Configuration {
    /// What is in force.
    public var effective: EffectiveConfiguration {
        EffectiveConfiguration(
            daemon: KeyTable.daemon.table(of: daemon),
            identities: identities.map { ($0.name, KeyTable.identity.table(of: $0)) },
            trusts: trusts.map { ($0.name, KeyTable.trust.table(of: $0)) }, tunnels: tunnels.map(\.table))
    }
}

extension DaemonSettings {
    /// The keys that a reload changes without a restart.
    public static let liveKeys = KeyTable.daemon.liveNames()
}

extension TunnelSettings {
    /// What is in force for the tunnel.
    public var table: EffectiveConfiguration.Table {
        KeyTable.tunnel.filter { $0.owner == nil || $0.owner?.role == role }.table(of: self)
    }

    /// The keys that a reload changes while the tunnel goes on; those in its tables as `table.key`.
    public static let liveKeys = KeyTable.tunnel.liveNames()
}

// MARK: - To text

extension EffectiveConfiguration {
    /// The whole configuration as one file.
    public var toml: String {
        var lines: [String] = []
        func write(_ heading: String, _ table: Table) {
            lines += lines.isEmpty ? [heading] : ["", heading]
            lines += table.entries.map { "\(Self.key($0.key)) = \(Self.text($0.value))" }
        }
        write("[daemon]", daemon)
        for (name, table) in identities { write("[identity.\(Self.key(name))]", table) }
        for (name, table) in trusts { write("[trust.\(Self.key(name))]", table) }
        for tunnel in tunnels {
            write("[[tunnel]]", tunnel)
            for (name, table) in tunnel.tables { write("[tunnel.\(name)]", table) }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// The bytes of the same as a JSON object.
    public var json: [UInt8] {
        let named = { (tables: [(name: String, table: Table)]) in
            "{" + tables.map { "\(Self.quote($0.name)):\(Self.object($0.table))" }.joined(separator: ",") + "}"
        }
        let text =
            "{\"daemon\":\(Self.object(daemon)),\"identity\":\(named(identities)),\"trust\":\(named(trusts)),"
            + "\"tunnel\":[\(tunnels.map(Self.object).joined(separator: ","))]}\n"
        return Array(text.utf8)
    }

    private static func object(_ table: Table) -> String {
        let entries = table.entries.map { "\(quote($0.key)):\(text($0.value))" }
        let tables = table.tables.map { "\(quote($0.key)):\(object($0.table))" }
        return "{" + (entries + tables).joined(separator: ",") + "}"
    }

    private static func key(_ key: String) -> String {
        let isBare = key.utf8.allSatisfy {
            (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) || $0 == 45 || $0 == 95
        }
        return isBare && !key.isEmpty ? key : quote(key)
    }

    /// A value in both notations, which are the same for these kinds.
    private static func text(_ value: Value) -> String {
        switch value {
        case .string(let text), .path(let text): quote(text)
        case .integer(let number): "\(number)"
        case .boolean(let flag): "\(flag)"
        case .strings(let list): "[\(list.map(quote).joined(separator: ", "))]"
        }
    }

    /// A basic string of TOML, which is a string of JSON too.
    private static func quote(_ text: String) -> String {
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": quoted += "\\\""
            case "\\": quoted += "\\\\"
            case _ where scalar.value < 0x20 || scalar.value == 0x7f:
                let digits = String(scalar.value, radix: 16)
                quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }
}
