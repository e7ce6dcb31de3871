// From the texts of all files to a configuration: parse each, put their tables together, read the sections.

/// Reads one configuration.
struct ConfigurationReader {
    private let log: DiagnosticLog
    private let firstFile: String
    private var sections = NamedSections()
    private var members: [TOMLNode.Member] = []

    /// Parses all sources. In a file with a syntax error, the lines before the error are still read.
    init(_ sources: [ConfigurationSource], log: DiagnosticLog) {
        self.log = log
        firstFile = sources.first?.name ?? "configuration"
        for source in sources {
            guard isUTF8(source) else {
                log.isPartial = true
                continue
            }
            do {
                members += try TOMLDocument.parse(source.bytes, file: source.name)
            } catch {
                let before = linesBefore(error, in: source)
                let (message, location) = error.diagnostic(after: before)
                log.error(message, at: location)
                log.isPartial = true
                members += before
            }
        }
    }

    /// Reads and checks all sections. What it returns is good only if nothing was logged as an error.
    consuming func read() -> Configuration {
        var configuration = Configuration()
        var root: [String: [TOMLNode.Member]] = [:]
        for member in members {
            if Section.root.keys.contains(member.key) {
                root[member.key, default: []].append(member)
            } else {
                let hint = Section.root.hint(forUnknown: member.key)
                log.error("unknown key \(quoted(member.key)) at \(Section.root.heading)\(hint)", at: member.location)
            }
        }
        let daemon = (root["daemon"] ?? []).flatMap { table($0) ?? [] }
        let place = root["daemon"]?.first?.location ?? SourceLocation(file: firstFile)
        configuration.daemon = DaemonSettings(
            TableReader(.daemon, title: "[daemon]", at: place, members: daemon, log: log))
        readIdentities(root["identity"] ?? [])
        readTrusts(root["trust"] ?? [])
        configuration.identities = sections.identities.values.sorted { $0.name < $1.name }
        configuration.trusts = sections.trusts.values.sorted { $0.name < $1.name }
        configuration.tunnels = readTunnels(root["tunnel"] ?? [])
        return configuration
    }
}

// MARK: - Text

extension ConfigurationReader {
    private func isUTF8(_ source: ConfigurationSource) -> Bool {
        do {
            _ = try UTF8Span(validating: source.bytes.span)
            return true
        } catch {
            let before = String(decoding: source.bytes.prefix(error.byteOffsets.lowerBound), as: UTF8.self)
            let lines = before.unicodeScalars.split(separator: "\n", omittingEmptySubsequences: false)
            let column = (lines.last?.filter { $0 != "\u{feff}" }.count ?? 0) + 1
            let place = SourceLocation(file: source.name, line: lines.count, column: column)
            log.error("the file is not UTF-8", at: place)
            return false
        }
    }

    /// The members in the lines before the error, if these lines are a TOML text by themselves.
    private func linesBefore(_ error: TOMLSyntaxError, in source: ConfigurationSource) -> [TOMLNode.Member] {
        guard error.location.line > 1 else { return [] }
        let lines = source.bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        let before = Array(lines.prefix(error.location.line - 1).joined(separator: [UInt8(ascii: "\n")]))
        return (try? TOMLDocument.parse(before, file: source.name)) ?? []
    }
}

// MARK: - Sections

extension ConfigurationReader {
    /// The members of a table; nil with an error for another type.
    private func table(_ member: TOMLNode.Member) -> [TOMLNode.Member]? {
        if case .table(let members) = member.value.content { return members }
        log.error("'\(member.key)': expected a table, found \(member.value.kind)", at: member.value.location)
        return nil
    }

    /// The named tables in `[identity]` or `[trust]`, from all files.
    private func namedTables(_ tables: [TOMLNode.Member], _ section: Section, _ kind: String) -> [(
        name: String, table: TableReader
    )] {
        var first: [String: SourceLocation] = [:]
        var readers: [(name: String, table: TableReader)] = []
        for member in tables.flatMap({ table($0) ?? [] }) {
            let title = "[\(kind).\(member.key)]"
            guard !member.key.isEmpty, member.key.unicodeScalars.allSatisfy({ escaped($0) == String($0) }) else {
                log.error("\(quoted(member.key)) cannot be the name of a section", at: member.location)
                continue
            }
            guard case .table(let members) = member.value.content else {
                let help =
                    section.keys.contains(member.key) ? "; name the section, as in [\(kind).default]" : ""
                let message = "'\(member.key)' in [\(kind)]: expected a table, found \(member.value.kind)\(help)"
                log.error(message, at: member.value.location)
                continue
            }
            if let place = first[member.key] {
                log.error("\(title) is given twice; the first is at \(place)", at: member.location)
                continue
            }
            first[member.key] = member.location
            let reader = TableReader(section, title: title, at: member.location, members: members, log: log)
            readers.append((member.key, reader))
        }
        return readers
    }

    private mutating func readIdentities(_ tables: [TOMLNode.Member]) {
        for (name, table) in namedTables(tables, .identity, "identity") {
            if let identity = IdentitySettings(name: name, table) {
                sections.identities[name] = identity
            } else {
                sections.brokenIdentities.insert(name)
            }
        }
    }

    private mutating func readTrusts(_ tables: [TOMLNode.Member]) {
        for (name, table) in namedTables(tables, .trust, "trust") {
            if let trust = TrustSettings(name: name, table) {
                sections.trusts[name] = trust
            } else {
                sections.brokenTrusts.insert(name)
            }
        }
    }

    private func readTunnels(_ arrays: [TOMLNode.Member]) -> [TunnelSettings] {
        var readers: [TunnelReader] = []
        for member in arrays {
            guard case .array(let elements) = member.value.content else {
                let help = member.value.isTable ? "; write [[tunnel]] in double brackets: there may be several" : ""
                let message = "'tunnel': expected an array of tables, found \(member.value.kind)\(help)"
                log.error(message, at: member.location)
                continue
            }
            for element in elements {
                guard case .table(let members) = element.content else {
                    log.error("'tunnel': expected a table, found \(element.kind)", at: element.location)
                    continue
                }
                guard readers.count < Configuration.maximumTunnels else {
                    log.error("more than \(Configuration.maximumTunnels) tunnels", at: element.location)
                    return []
                }
                readers.append(
                    TunnelReader(
                        number: readers.count + 1, at: element.location, members: members, sections: sections, log: log)
                )
            }
        }
        if arrays.isEmpty {
            let example = #"add a [[tunnel]] with "name", "listen" and "forward""#
            log.missing("the configuration has no tunnel; \(example)", at: SourceLocation(file: firstFile))
        }
        let tunnels = readers.compactMap { $0.settings() }
        TunnelChecks.run(readers.map(\.outline), log: log)
        GroupChecks.run(tunnels, log: log)
        return tunnels
    }
}
