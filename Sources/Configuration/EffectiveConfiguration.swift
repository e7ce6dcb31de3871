// The configuration that is in force, defaults included, in the order and the words of a file. Secrets never stand in a
// configuration: it names the files that hold them. The same description is printed as TOML, which reads back to the same settings,
// and as JSON, and tells what a reload changes.

import Settings
import Wire

/// A configuration as sections of keys and values.
public struct EffectiveConfiguration: Equatable, Sendable {
    /// A value.
    public enum Value: Equatable, Sendable {
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

        private var flat: [String: Value] {
            var values = Dictionary(entries.map { ($0.key, $0.value) }) { _, last in last }
            for (name, table) in tables {
                for (key, value) in table.flat { values["\(name).\(key)"] = value }
            }
            return values
        }

        /// Names every file as seen from anywhere; only entries hold names of files.
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
            daemon: daemon.table, identities: identities.map { ($0.name, $0.table) },
            trusts: trusts.map { ($0.name, $0.table) }, tunnels: tunnels.map(\.table))
    }
}

private typealias Table = EffectiveConfiguration.Table

extension Table {
    fileprivate mutating func add(_ key: String, _ value: String?) {
        if let value { entries.append((key, .string(value))) }
    }

    fileprivate mutating func add(_ key: String, path: Located<String>?) {
        if let path { entries.append((key, .path(path.value))) }
    }

    fileprivate mutating func add(_ key: String, _ value: Int) { entries.append((key, .integer(value))) }

    fileprivate mutating func add(_ key: String, _ value: Bool) { entries.append((key, .boolean(value))) }

    fileprivate mutating func add(_ key: String, _ value: [String]) {
        if !value.isEmpty { entries.append((key, .strings(value))) }
    }

    fileprivate mutating func add(_ key: String, _ value: Duration) { add(key, value.settingText) }
}

extension DaemonSettings {
    fileprivate var table: Table {
        var table = Table()
        table.add("workers", workers)
        table.add("control_socket", path: controlSocket)
        table.add("metrics_listen", metricsListen?.value.description)
        table.add("log_level", logLevel.rawValue)
        table.add("log_format", logFormat.rawValue)
        return table
    }
}

extension IdentitySettings {
    fileprivate var table: Table {
        var table = Table()
        switch credential {
        case .certificate(let certificate, let privateKey):
            table.add("certificate", path: certificate)
            table.add("private_key", path: privateKey)
        case .preSharedKey(let identity, let file):
            table.add("psk_identity", identity.value)
            table.add("psk_file", path: file)
        }
        return table
    }
}

extension TrustSettings {
    fileprivate var table: Table {
        var table = Table()
        switch authorities {
        case .system: table.add("ca", "system")
        case .path(let path): table.add("ca", path: path)
        case nil: break
        }
        table.add("crl", path: revocationList)
        table.add("pins", pins.map(PublicKeyPin.text))
        table.add("psk_file", path: preSharedKeys)
        return table
    }
}

extension TunnelSettings {
    /// What is in force for the tunnel.
    public var table: EffectiveConfiguration.Table {
        var table = Table()
        table.add("name", name)
        table.add("listen", "\(role == .client ? "udp" : "dtls")://\(listen.value)")
        table.add("forward", "\(forward.value)")
        table.add("identity", identity?.name)
        table.add("trust", trust?.name)
        table.add("server_name", serverName.map { "\($0)" })
        table.add("sharing", sharing.rawValue)
        table.add("service", service)
        if role == .client { table.add("connect", connect.rawValue) }
        if role == .server {
            table.add("cookie_exchange", cookieExchange)
            table.add("require_client_certificate", requireClientCertificate)
        }
        table.add("require_extended_master_secret", requireExtendedMasterSecret)
        table.add("ciphers", ciphers)
        table.add("allow_from", access.sources.map(\.description))
        table.add("allow_peers", access.peers.map(\.description))
        table.add("flow_timeout", limits.flowTimeout)
        table.add("max_flows", limits.maximumFlows)
        table.add("max_associations", limits.maximumAssociations)
        if role == .server { table.add("max_handshakes", limits.maximumHandshakes) }
        table.add("oversize", oversize.rawValue)
        table.add("log_level", logLevel?.rawValue)
        var heartbeats = Table()
        heartbeats.add("interval", heartbeat.interval)
        heartbeats.add("timeout", heartbeat.timeout)
        heartbeats.add("retries", heartbeat.retries)
        heartbeats.add("answer", heartbeat.answers)
        var sizes = Table()
        sizes.add("discover", mtu.discover)
        sizes.add("minimum", mtu.minimum)
        sizes.add("maximum", mtu.maximum)
        sizes.add("interval", mtu.interval)
        table.tables = [("heartbeat", heartbeats), ("mtu", sizes)]
        if role == .client {
            var waits = Table()
            waits.add("minimum", reconnect.minimum)
            waits.add("maximum", reconnect.maximum)
            table.tables.append(("reconnect", waits))
        }
        return table
    }
}

// MARK: - To text

extension EffectiveConfiguration {
    /// The file that says it all.
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
