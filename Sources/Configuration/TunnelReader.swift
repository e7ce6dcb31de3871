// Reads one `[[tunnel]]` section: its own values first, then what depends on the role. Mistakes that need other
// tunnels to be seen are found in TunnelChecks.

import Settings
import Wire

/// What is known of a tunnel even when it has mistakes, for the checks between tunnels.
struct TunnelOutline {
    let name: Located<String>?
    let listen: Located<Endpoint>?
    let forward: Located<TransportAddress>?
    let role: TunnelSettings.Role?
}

/// The named sections that a tunnel may refer to, and the names of those that could not be read.
struct NamedSections {
    var identities: [String: IdentitySettings] = [:]
    var trusts: [String: TrustSettings] = [:]
    var brokenIdentities: Set<String> = []
    var brokenTrusts: Set<String> = []
}

/// Reads one tunnel.
struct TunnelReader {
    private let table: TableReader
    private let sections: NamedSections
    private let name: Located<String>?
    private let listen: Located<TransportAddress>?
    private let forward: Located<TransportAddress>?
    private let role: TunnelSettings.Role?
    private var log: DiagnosticLog { table.log }

    /// Reads what identifies the tunnel: name and addresses.
    init(
        number: Int, at location: SourceLocation, members: [TOMLNode.Member], sections: NamedSections,
        log: DiagnosticLog
    ) {
        var title = "tunnel number \(number)"
        if case .string(let name)? = members.first(where: { $0.key == "name" })?.value.content, Self.isValid(name: name)
        {
            title = "tunnel '\(name)'"
        }
        table = TableReader(.tunnel, title: title, at: location, members: members, log: log)
        self.sections = sections
        name = Self.name(table)
        listen = Self.address("listen", table).flatMap { Self.numeric($0, log) }
        forward = Self.address("forward", table)
        role = Self.role(table, listen: listen, forward: forward)
    }

    /// What the checks between tunnels look at.
    var outline: TunnelOutline {
        TunnelOutline(
            name: name,
            listen: listen.flatMap { listen in
                guard case .address(let address) = listen.value.host else { return nil }
                return Located(Endpoint(address: address, port: listen.value.port), at: listen.location)
            },
            forward: forward, role: role)
    }

    /// Reads all the rest; nil if something that every tunnel needs is missing or wrong, which has been reported.
    func settings() -> TunnelSettings? {
        checkRoleOfKeys()
        let identity = identity()
        let trust = trust()
        let outline = outline
        // A tunnel that cannot be used is read to its end as well, so that all its mistakes are reported at once. What
        // stands in for its missing parts does not leave this function.
        var settings = TunnelSettings(
            name: name ?? Located("", at: table.location), role: role ?? .client,
            listen: outline.listen ?? Located(Endpoint(address: .anyIPv6, port: 0), at: table.location),
            forward: forward ?? Located(TransportAddress(scheme: .udp, host: .name(""), port: 0), at: table.location),
            identity: identity.settings, trust: trust.settings)
        KeyTable.tunnel.read(from: table, into: &settings)
        readServerName(&settings)
        checkOrder(settings)
        guard let role, !identity.isBroken, !trust.isBroken, !log.isPartial else { return nil }
        switch role {
        case .client: checkClient(settings)
        case .server: checkServer(settings)
        }
        return name == nil || outline.listen == nil || forward == nil ? nil : settings
    }
}

// MARK: - Name, addresses and role

extension TunnelReader {
    private static func isValid(name: String) -> Bool {
        (1...63).contains(name.utf8.count)
            && name.utf8.allSatisfy {
                (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0)
                    || [45, 46, 95].contains($0)
            }
    }

    private static func name(_ table: TableReader) -> Located<String>? {
        if !table.has("name") { table.log.missing("\(table.title) has no 'name'", at: table.location) }
        guard let name = table.string("name") else { return nil }
        guard isValid(name: name.value) else {
            let rule = "it is 1 to 63 letters, digits, '.', '_' or '-'"
            table.log.error("\(quoted(name.value)) cannot be a tunnel's name; \(rule)", at: name.location)
            return nil
        }
        return name
    }

    /// Reads the address at `key`, which every tunnel needs.
    private static func address(_ key: String, _ table: TableReader) -> Located<TransportAddress>? {
        if !table.has(key) {
            let example = key == "listen" ? "udp://127.0.0.1:5514" : "dtls://host.example.net:6514"
            table.log.missing(
                "\(table.title) has no '\(key)'; give an address such as \"\(example)\"", at: table.location)
        }
        guard let text = table.string(key) else { return nil }
        do {
            return Located(try TransportAddress(parsing: text.value), at: text.location)
        } catch {
            table.log.error("'\(key)': \(error.message)", at: text.location)
            return nil
        }
    }

    /// Makes sure that `listen` is numeric; `localhost` is 127.0.0.1 here, because a socket has one address.
    private static func numeric(_ listen: Located<TransportAddress>, _ log: DiagnosticLog) -> Located<TransportAddress>?
    {
        guard case .name(let name) = listen.value.host else { return listen }
        guard name == "localhost" else {
            let help = "a socket listens on a numeric address of this host, or on 'localhost' (127.0.0.1)"
            log.error("'listen' names the host '\(name)'; \(help)", at: listen.location)
            return nil
        }
        var numeric = listen
        numeric.value.host = .address(.loopbackIPv4)
        return numeric
    }

    private static func role(
        _ table: TableReader, listen: Located<TransportAddress>?, forward: Located<TransportAddress>?
    ) -> TunnelSettings.Role? {
        guard let listen, let forward else { return nil }
        switch (listen.value.scheme, forward.value.scheme) {
        case (.udp, .dtls):
            if case .address(let address) = listen.value.host, !address.isLoopback {
                let help = "anyone who reaches that address sends into the tunnel; prefer 127.0.0.1 or [::1]"
                table.log.warning("\(table.title) takes plaintext from the network; \(help)", at: listen.location)
            }
            return .client
        case (.dtls, .udp): return .server
        case (.udp, .udp):
            let help = "one of 'listen' and 'forward' must be dtls://, or nothing is encrypted"
            table.error("forward", "\(table.title) has udp:// on both sides; \(help)")
        case (.dtls, .dtls):
            let help = "one of 'listen' and 'forward' must be udp://; to relay DTLS, chain two tunnels"
            table.error("forward", "\(table.title) has dtls:// on both sides; \(help)")
        }
        return nil
    }

    private func checkRoleOfKeys() {
        guard let role else { return }
        for key in KeyTable.tunnel where table.has(key.name) {
            guard let (owner, reason) = key.owner, owner != role else { continue }
            let sides = "for the \(owner.rawValue) side, and \(table.title) is a \(role.rawValue)"
            let schemes = role == .client ? "udp:// to dtls://" : "dtls:// to udp://"
            table.error(key.name, "'\(key.name)' is \(sides) (\(schemes)): \(reason)")
        }
    }
}

// MARK: - Identity and trust

extension TunnelReader {
    private func identity() -> (settings: IdentitySettings?, isBroken: Bool) {
        reference("identity", sections.identities, broken: sections.brokenIdentities)
    }

    private func trust() -> (settings: TrustSettings?, isBroken: Bool) {
        reference("trust", sections.trusts, broken: sections.brokenTrusts)
    }

    /// The section that `key` names, `default` when it names none. It is broken if it exists but could not be read; its
    /// absence must not be reported a second time then.
    private func reference<Named>(
        _ key: String, _ known: [String: Named], broken: Set<String>
    ) -> (settings: Named?, isBroken: Bool) {
        guard table.has(key) else { return (known["default"], broken.contains("default")) }
        guard let name = table.string(key) else { return (nil, true) }
        if let settings = known[name.value] { return (settings, false) }
        if !broken.contains(name.value) {
            let names = known.keys.sorted() + broken.sorted()
            let hint =
                SpellingSuggestion.nearest(to: name.value, among: names).map { "; did you mean '\($0)'?" }
                ?? (names.isEmpty
                    ? "; there is no [\(key).NAME] section"
                    : "; known are \(names.prefix(8).map(quoted).joined(separator: ", "))")
            log.missing("unknown \(key) \(quoted(name.value)) in \(table.title)\(hint)", at: name.location)
        }
        return (nil, true)
    }

    private func checkClient(_ settings: TunnelSettings) {
        let usesPSK = settings.identity?.preSharedKey != nil
        if !usesPSK, !(settings.trust?.acceptsCertificates ?? false) {
            let help = "give 'ca' or 'pins' in [trust.default], or an identity with a pre-shared key"
            let found =
                settings.trust.map { "; [trust.\($0.name)] holds pre-shared keys for the server side only" } ?? ""
            log.error("\(table.title) cannot verify its server: it has no trust; \(help)\(found)", at: table.location)
        }
        checkCiphers(settings, certificates: !usesPSK, preSharedKeys: usesPSK)
        for pattern in settings.access.peers {
            guard case .psk = pattern else { continue }
            table.error("allow_peers", "'\(pattern)' can never match in \(table.title): a server shows no PSK identity")
        }
    }

    private func checkServer(_ settings: TunnelSettings) {
        let hasCertificate = settings.identity?.certificate != nil
        let hasKeys = settings.trust?.preSharedKeys != nil
        guard hasCertificate || hasKeys else {
            let help = "give 'certificate' and 'private_key' in [identity.default], or 'psk_file' in [trust.default]"
            let found =
                settings.identity.map { "; the pre-shared key of [identity.\($0.name)] is for the client side" } ?? ""
            log.error("\(table.title) has no identity to show to its peers; \(help)\(found)", at: table.location)
            return
        }
        if settings.requireClientCertificate, !hasKeys, !(settings.trust?.acceptsCertificates ?? false) {
            let help =
                "give 'ca' or 'pins' in [trust.default], or let everyone in by require_client_certificate = false"
            let message = "\(table.title) requires certificates of its peers but has no trust to verify them; \(help)"
            log.error(message, at: table.location(of: "require_client_certificate"))
        }
        checkCiphers(settings, certificates: hasCertificate, preSharedKeys: hasKeys)
    }

    /// Makes sure that one of the suites can be used at all.
    private func checkCiphers(_ settings: TunnelSettings, certificates: Bool, preSharedKeys: Bool) {
        guard table.has("ciphers"), !settings.ciphers.isEmpty else { return }
        let usable = settings.ciphers.contains { CipherSuites.usesPreSharedKey($0) ? preSharedKeys : certificates }
        guard !usable else { return }
        let has = certificates ? "a certificate and no pre-shared key" : "a pre-shared key and no certificate"
        let works = certificates ? "works by certificate" : "has PSK in its name"
        let sides = settings.role == .client ? "authenticates by" : "has"
        table.error("ciphers", "\(table.title) \(sides) \(has), but no suite in 'ciphers' \(works)")
    }
}

// MARK: - Values of a kind of their own

extension TunnelReader {
    static func ciphers(_ table: TableReader, _ key: String) -> [String]? {
        guard let names = table.strings(key) else { return nil }
        var ciphers: [String] = []
        for name in names {
            if ciphers.contains(name.value) {
                table.log.error("cipher suite \(quoted(name.value)) is given twice", at: name.location)
            } else if CipherSuites.supported.contains(name.value) {
                ciphers.append(name.value)
            } else {
                let near = SpellingSuggestion.nearest(to: name.value, among: CipherSuites.supported)
                let hint =
                    near.map { "did you mean '\($0)'?" }
                    ?? "known are \(CipherSuites.supported.joined(separator: ", "))"
                table.log.error("unknown cipher suite \(quoted(name.value)); \(hint)", at: name.location)
            }
        }
        return ciphers
    }

    static func service(_ table: TableReader, _ key: String) -> String? {
        guard let service = table.string(key) else { return nil }
        if isValid(name: service.value) { return service.value }
        let rule = "it is 1 to 63 letters, digits, '.', '_' or '-'"
        table.log.error("\(quoted(service.value)) cannot be a service's name; \(rule)", at: service.location)
        return nil
    }

    static func prefix(_ text: Located<String>, _ log: DiagnosticLog) -> IPPrefix? {
        if let prefix = IPPrefix(text.value) { return prefix }
        let form = "write an address or a prefix such as 192.0.2.0/24 or 2001:db8::/32, without bits behind its length"
        log.error("\(quoted(text.value)) is not an IP prefix; \(form)", at: text.location)
        return nil
    }

    static func peer(_ text: Located<String>, _ log: DiagnosticLog) -> PeerRule? {
        do {
            return try PeerRule(parsing: text.value)
        } catch {
            log.error(error.message, at: text.location)
            return nil
        }
    }

    private func readServerName(_ settings: inout TunnelSettings) {
        guard let text = table.string("server_name") else { return }
        do {
            let host = try TransportAddress.Host(parsing: text.value)
            if role == .server, case .address = host {
                log.error("'server_name': a client asks for a tunnel by a name, never by an address", at: text.location)
            }
            settings.serverName = host
        } catch {
            log.error("'server_name': \(error.message)", at: text.location)
        }
    }
}

// MARK: - Values that have to fit each other

extension TunnelReader {
    private func checkOrder(_ settings: TunnelSettings) {
        let (mtu, waits, limits) = (settings.mtu, settings.reconnect, settings.limits)
        // An association that flows share outlives them.
        if settings.sharing == .never, settings.heartbeat.interval >= limits.flowTimeout,
            let place = place(of: "interval", in: "heartbeat")
        {
            log.warning(
                "'interval' is not shorter than the tunnel's flow_timeout (\(limits.flowTimeout.settingText)), so no heartbeat is ever sent",
                at: place)
        }
        if mtu.minimum > mtu.maximum,
            let member = table.member("minimum", ofTable: "mtu") ?? table.member("maximum", ofTable: "mtu")
        {
            log.error(
                "'minimum' (\(mtu.minimum)) is larger than 'maximum' (\(mtu.maximum)) in \(table.title(ofTable: "mtu"))",
                at: member.location)
        }
        if waits.minimum > waits.maximum,
            let place = place(of: "minimum", in: "reconnect") ?? place(of: "maximum", in: "reconnect")
        {
            log.error(
                "'minimum' (\(waits.minimum.settingText)) is longer than 'maximum' (\(waits.maximum.settingText)) in \(table.title(ofTable: "reconnect"))",
                at: place)
        }
    }

    /// Where a good value of a key stands in a table of the tunnel.
    private func place(of key: String, in name: String) -> SourceLocation? {
        guard let place = table.member(key, ofTable: name)?.value.location else { return nil }
        return log.hasError(at: place) ? nil : place
    }
}
