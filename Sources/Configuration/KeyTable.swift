// The table of keys: what a file may hold, section by section, in the order of the effective configuration. Everything
// that the reader, the hints about unknown keys, the effective configuration, a reload and the groups know about keys
// is here. A new key is a field with its default in the settings, a row here, and a line in config/culvert.toml, which
// a test compares with this table.

import Settings
import Wire

/// Every key of every section.
enum KeyTable {
    /// `[daemon]`; a key that is not live needs a restart.
    static let daemon: [SettingKey<DaemonSettings>] = [
        .integer("workers", \.workers, in: 0...1024),
        SettingKey("control_socket", \.controlSocket, read: DaemonSettings.controlSocket) { .path($0.value) },
        SettingKey("metrics_listen", optional: \.metricsListen, read: DaemonSettings.metricsListen) {
            .string("\($0.value)")
        },
        .choice("log_level", \.logLevel).live,
        .choice("log_format", \.logFormat),
    ]

    /// `[identity.NAME]`.
    static let identity: [SettingKey<IdentitySettings>] = [
        SettingKey("certificate") { $0.certificate.map { .path($0.chain.value) } },
        SettingKey("private_key") { $0.certificate.map { .path($0.privateKey.value) } },
        SettingKey("psk_identity") { $0.preSharedKey.map { .string($0.identity.value) } },
        SettingKey("psk_file") { $0.preSharedKey.map { .path($0.file.value) } },
    ]

    /// `[trust.NAME]`.
    static let trust: [SettingKey<TrustSettings>] = [
        SettingKey("ca", optional: \.authorities, read: TrustSettings.authorities) {
            switch $0 {
            case .system: .string("system")
            case .path(let path): .path(path.value)
            }
        },
        .file("crl", optional: \.revocationList),
        .list("pins", \.pins, parse: PublicKeyPin.parse, text: PublicKeyPin.text),
        .file("psk_file", optional: \.preSharedKeys),
    ]

    /// `[[tunnel]]`; a change of a key that is not live begins the tunnel's group anew.
    static let tunnel: [SettingKey<TunnelSettings>] = [
        SettingKey("name") { .string($0.name) },
        SettingKey("listen") { .string("\($0.role == .client ? "udp" : "dtls")://\($0.listen.value)") },
        SettingKey("forward") { .string("\($0.forward.value)") },
        SettingKey("identity") { $0.identity.map { .string($0.name) } }.agreed,
        SettingKey("trust") { $0.trust.map { .string($0.name) } }.agreed,
        SettingKey("server_name") { $0.serverName.map { .string("\($0)") } }.agreed(in: .client),
        .choice("sharing", \.sharing).agreed,
        SettingKey("service", \.service, read: TunnelReader.service) { .string($0) },
        .choice("connect", \.connect).only(.client, because: "a server waits for its peers").agreed,
        .boolean("cookie_exchange", \.cookieExchange)
            .only(.server, because: "only a server can ask for a cookie, and a client answers always").agreed,
        .boolean("require_client_certificate", \.requireClientCertificate)
            .only(.server, because: "a client always verifies its server").agreed,
        .boolean("require_extended_master_secret", \.requireExtendedMasterSecret).agreed,
        SettingKey("ciphers", \.ciphers, read: TunnelReader.ciphers) { .strings($0) }.agreed,
        .list("allow_from", \.access.sources, parse: TunnelReader.prefix, text: \.description).live
            .only(.server, because: "a client chooses its peer by 'forward'"),
        .list("allow_peers", \.access.peers, parse: TunnelReader.peer, text: \.description).live.agreed(in: .client),
        .duration("flow_timeout", \.limits.flowTimeout, in: .milliseconds(100)...(.seconds(7 * 86400))).live,
        .integer("max_flows", \.limits.maximumFlows, in: counts).live,
        .integer("max_associations", \.limits.maximumAssociations, in: counts).live.agreed(in: .server),
        .integer("max_handshakes", \.limits.maximumHandshakes, in: counts).live
            .only(.server, because: "a client starts no more handshakes than it has flows").agreed,
        .choice("oversize", \.oversize).live,
        .choice("log_level", optional: \.logLevel).live,
        .table("heartbeat", .heartbeat, heartbeat).agreed,
        .table("mtu", .mtu, mtu).agreed,
        .table("reconnect", .reconnect, reconnect)
            .only(.client, because: "a server waits for its peers to come back").agreed,
    ]

    /// `[tunnel.heartbeat]`.
    static let heartbeat: [SettingKey<TunnelSettings>] = [
        .duration("interval", \.heartbeat.interval, in: .milliseconds(100)...(.seconds(3600))),
        .duration("timeout", \.heartbeat.timeout, in: .milliseconds(100)...(.seconds(60))),
        .integer("retries", \.heartbeat.retries, in: 0...100),
        .boolean("answer", \.heartbeat.answers),
    ]

    /// `[tunnel.mtu]`.
    static let mtu: [SettingKey<TunnelSettings>] = [
        .boolean("discover", \.mtu.discover),
        .integer("minimum", \.mtu.minimum, in: 296...65_535),
        .integer("maximum", \.mtu.maximum, in: 296...65_535),
        .duration("interval", \.mtu.interval, in: .seconds(1)...(.seconds(86400))),
    ]

    /// `[tunnel.reconnect]`.
    static let reconnect: [SettingKey<TunnelSettings>] = [
        .duration("minimum", \.reconnect.minimum, in: .milliseconds(10)...(.seconds(86400))).live,
        .duration("maximum", \.reconnect.maximum, in: .milliseconds(10)...(.seconds(86400))).live,
    ]

    private static let counts = 1...1_048_576
}
