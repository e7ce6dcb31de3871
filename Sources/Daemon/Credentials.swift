// The files that a config names: keys, certificates, revocation lists. They are read once. Everything that is wrong
// with them is reported at once, at the place in the config that names them, and the result is what handshakes need.

import Configuration
import DTLS
import Glibc
import OpenSSL
import Settings
import Wire

/// Reads the files of all tunnels.
struct Credentials {
    /// What was found wrong, warnings included.
    private(set) var diagnostics: [Diagnostic] = []

    private let keyLog: KeyLog?
    private var credentials: [String: Credential] = [:]
    private var anchors: [String: TrustAnchors] = [:]
    private var tables: [String: PreSharedKeys] = [:]
    private var ownKeys: [String: PreSharedKey] = [:]
    private var seen: Set<String> = []
    private let now = Int64(time(nil))

    /// `keyLog` gets the secrets of every association.
    init(keyLog: KeyLog? = nil) {
        self.keyLog = keyLog
    }

    /// Reads all that `configuration` names and makes a plan for each group of tunnels; nil if something is missing or
    /// wrong.
    mutating func plans(for configuration: Configuration) -> [GroupPlan]? {
        readFiles(of: configuration)
        guard !diagnostics.contains(where: { $0.severity == .error }) else { return nil }
        var plans: [GroupPlan] = []
        for group in configuration.groups {
            // All tunnels of a group have the same identity and trust.
            guard let context = context(for: group) else { continue }
            plans.append(GroupPlan(tunnels: group.map { TunnelPlan(settings: $0, context: context) }))
        }
        return diagnostics.contains { $0.severity == .error } ? nil : plans
    }

    /// Reads all that `configuration` names.
    mutating func readFiles(of configuration: Configuration) {
        for identity in configuration.identities { load(identity, usedBy: configuration.tunnels) }
        for trust in configuration.trusts { load(trust) }
    }

    private mutating func context(for group: TunnelGroup) -> HandshakeContext? {
        let tunnel = group[0]
        var options = HandshakeContext.Options()
        if let identity = tunnel.identity {
            options.credential = credentials[identity.name]
            options.preSharedKey = ownKeys[identity.name]
        }
        if let trust = tunnel.trust {
            options.trust = anchors[trust.name]
            options.pins = Set(trust.pins.compactMap { PublicKeyPin(bytes: $0) })
            options.preSharedKeys = tables[trust.name]
        }
        options.requiresPeerCertificate = tunnel.role == .client || tunnel.requireClientCertificate
        options.ciphers = tunnel.ciphers.joined(separator: ":")
        options.requiresExtendedMasterSecret = tunnel.requireExtendedMasterSecret
        options.heartbeatMode = tunnel.heartbeat.mode
        options.applicationProtocol = tunnel.sharing == .never ? nil : SharedFrame.applicationProtocol
        if tunnel.role == .server { options.serverNames = Set(group.compactMap(\.requestedName)) }
        options.requiresApplicationProtocol = tunnel.sharing == .always && tunnel.role == .server
        if let keyLog { options.keyLog = { keyLog.write($0) } }
        do {
            return try HandshakeContext(tunnel.role == .client ? .client : .server, options)
        } catch {
            diagnostics.append(
                Diagnostic(.error, "tunnel '\(tunnel.name)': \(error)", at: tunnel.locatedName.location))
            return nil
        }
    }

    private mutating func load(_ identity: IdentitySettings, usedBy tunnels: [TunnelSettings]) {
        switch identity.credential {
        case .certificate(let certificate, let privateKey):
            var roles: CredentialRoles = []
            for tunnel in tunnels where tunnel.identity?.name == identity.name {
                roles.insert(tunnel.role == .client ? .client : .server)
            }
            let loaded = Credential.load(
                certificate: certificate.value, privateKey: privateKey.value, roles: roles, now: now)
            report(loaded.problems) { $0 == privateKey.value ? privateKey.location : certificate.location }
            credentials[identity.name] = loaded.value
        case .preSharedKey(let name, let file):
            let loaded = PreSharedKey.load(identity: name.value, from: file.value)
            report(loaded.problems) { _ in file.location }
            ownKeys[identity.name] = loaded.value
        }
    }

    private mutating func load(_ trust: TrustSettings) {
        if let authorities = trust.authorities {
            let (path, location) =
                switch authorities {
                case .system: (TrustAnchors.system, nil as SourceLocation?)
                case .path(let path): (path.value, path.location)
                }
            let loaded = TrustAnchors.load(
                authorities: path, revocationLists: trust.revocationList?.value, now: now)
            report(loaded.problems) { problem in
                problem == trust.revocationList?.value
                    ? trust.revocationList?.location ?? SourceLocation(file: problem)
                    : location ?? SourceLocation(file: problem)
            }
            anchors[trust.name] = loaded.value
        }
        if let file = trust.preSharedKeys {
            let loaded = PreSharedKeys.load(file.value)
            report(loaded.problems) { _ in file.location }
            tables[trust.name] = loaded.value
        }
    }

    private mutating func report(_ problems: [CredentialProblem], at location: (String) -> SourceLocation) {
        for problem in problems where seen.insert("\(problem)").inserted {
            diagnostics.append(
                Diagnostic(
                    problem.severity == .error ? .error : .warning, "\(problem)", at: location(problem.path)))
        }
    }
}
